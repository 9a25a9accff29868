//! [`Event`] and [`Counts`]: what a bridge notices, and how often.

use std::sync::{Mutex, PoisonError};

use topic_registry::SyncRegistry;

/// What has happened to a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// What the client says: the connection is gone, or there again with all subscriptions, perhaps
    /// through another server; messages were discarded because too many waited for the handlers; an
    /// attempt to reconnect has failed, or a permission is missing.
    Client(async_nats::Event),
    /// So many messages that another bridge sent on this subject have not arrived.
    Missed(async_nats::Subject, u32),
    /// A message on this subject was discarded because the codec, which says why, cannot read it.
    Undecodable(async_nats::Subject, String),
}

/// What a bridge has done so far, and how often something has happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages handed to the connection. Those on their way when it breaks are lost, or not; the
    /// bridges that missed them count them.
    pub sent: u64,
    /// Messages that were not sent.
    pub dropped: u64,
    /// Messages that topics were notified of.
    pub received: u64,
    /// Messages that other bridges sent while this one had the subject subscribed, and that did not
    /// arrive, whatever the cause: slow handlers, a broken connection, a server that went down.
    ///
    /// Noticed when the next message of the same bridge and subject arrives, by its number.
    /// Messages of other programs have none, and are not missed.
    pub missed: u64,
    /// Messages that were discarded because the codec cannot read them.
    pub undecodable: u64,
    /// Reports of the client that it has discarded messages because too many waited. When it
    /// discards many at once, it reports only some.
    pub slow_consumers: u64,
    /// How often the connection was made: the first time, and each time that it came back.
    pub connects: u64,
}

/// Counts, logs and reports.
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
