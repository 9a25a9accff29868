//! [`Event`] and [`Counts`]: what happens to a bridge, and how often.

use std::sync::{Mutex, PoisonError};

use topic_registry::SyncRegistry;

/// An event of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A report of the client: the connection is lost, or restored with all subscriptions, perhaps
    /// to another server; messages were discarded because too many were waiting for the handlers;
    /// an attempt to reconnect has failed, or a permission is missing.
    Client(async_nats::Event),
    /// This many messages that another bridge sent on this subject have not arrived.
    Missed(async_nats::Subject, u32),
    /// A message on this subject was discarded because the codec cannot decode it, for the given
    /// reason.
    Undecodable(async_nats::Subject, String),
}

/// Counts of what a bridge has done so far, and of what has happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages passed to the connection. Messages that are on their way when it breaks may be
    /// lost; bridges that miss them count them.
    pub sent: u64,
    /// Messages that were not sent.
    pub dropped: u64,
    /// Messages of which topics were notified.
    pub received: u64,
    /// Messages that other bridges sent while this bridge was subscribed to the subject, and that
    /// did not arrive, whatever the cause: slow handlers, a broken connection, a server failure.
    ///
    /// Detected when the next message of the same bridge and subject arrives, by its number.
    /// Messages of other programs have no number, so their loss is not detected.
    pub missed: u64,
    /// Messages that were discarded because the codec cannot decode them.
    pub undecodable: u64,
    /// Reports of the client that it has discarded messages because too many were waiting. When it
    /// discards many at once, it reports only some.
    pub slow_consumers: u64,
    /// How often the connection was established, including reconnects.
    pub connects: u64,
}

/// The counts of a bridge, and the callbacks for its events, which are also logged.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    pub(crate) events: SyncRegistry<Event>,
    counts: Mutex<Counts>,
}

impl Reports {
    pub(crate) fn count<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn report(&self, event: &Event) {
        self.count(|counts| match event {
            Event::Client(async_nats::Event::Connected) => counts.connects += 1,
            Event::Client(async_nats::Event::SlowConsumer(_)) => counts.slow_consumers += 1,
            Event::Missed(_, messages) => counts.missed += u64::from(*messages),
            Event::Undecodable(..) => counts.undecodable += 1,
            Event::Client(_) => {}
        });
        tracing::warn!(target: "topic_registry_nats", ?event);
        self.events.notify(event);
    }
}
