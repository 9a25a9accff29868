//! [`Event`] and [`Counts`]: what happens to a bridge, and how often.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_nats::{Event as Client, ServerError, Subject};
use tokio::sync::Notify;
use topic_registry::SyncRegistry;

use crate::inbox::guarded;

/// An event of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A report of the client: the connection is lost, or restored with all subscriptions, perhaps
    /// to another server; messages were discarded because too many were in its buffer; or an
    /// attempt to reconnect has failed. When there are many at once, it skips some.
    Client(Client),
    /// This many messages on this subject have not arrived, or were discarded because too much was
    /// waiting for the handlers.
    ///
    /// Messages that are discarded one after the other are reported together, before the next one
    /// that is not. They are [counted](Counts::missed) at once.
    Missed(Subject, u32),
    /// A message on this subject was discarded because the codec cannot decode it, for the given
    /// reason.
    Undecodable(Subject, String),
    /// A topic has handlers, but this subject is not subscribed for it, or a message on this
    /// subject was not sent. The reason tells who refused it: the bridge, the client, or the
    /// server.
    ///
    /// If the server names no subject, it is empty: it may complain of something else, too.
    Refused(Subject, String),
}

/// Counts of what a bridge has done so far, and of what has happened to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages passed to the connection. Messages that are on their way when it breaks may be
    /// lost; bridges that miss them count them.
    pub sent: u64,
    /// Messages that were not sent, because the queue was full or their subject was refused.
    pub dropped: u64,
    /// Messages of which topics were notified, or are being notified.
    pub received: u64,
    /// Messages that other bridges sent while this bridge was subscribed to the subject, and that
    /// did not arrive, whatever the cause: a broken connection, a server failure, or too many bytes
    /// that wait for the handlers.
    ///
    /// Detected when the next message of the same bridge and subject arrives, by its number: so the
    /// first messages of a bridge are not counted, nor are the last. The numbers of the last
    /// 65,536 subjects and senders are remembered. Messages of other programs have no number, so
    /// they are only counted when they are discarded here.
    pub missed: u64,
    /// Messages that were discarded because the codec cannot decode them.
    pub undecodable: u64,
    /// How often the connection was established, including reconnects.
    pub connects: u64,
    /// How often a subject was [refused](Event::Refused).
    pub refused: u64,
}

/// A subject on which nobody can listen, because it has an empty token.
pub(crate) const NOBODY: &str = "topic-registry..settled";

/// What the threads of a bridge share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) events: SyncRegistry<Event>,
    pub(crate) counts: Mutex<Counts>,
    /// What the server refuses on this connection, by subject: subscriptions, and [`NOBODY`].
    pub(crate) refused: Mutex<HashMap<String, String>>,
    /// Rung when there is something to do for the network.
    pub(crate) bell: Notify,
}

impl Shared {
    /// Reports an event, which is also logged, and counts it, but for what is missed: that was
    /// counted before.
    pub(crate) fn report(&self, event: &Event) {
        let mut counts = lock(&self.counts);
        match event {
            Event::Client(Client::Connected) => counts.connects += 1,
            Event::Undecodable(..) => counts.undecodable += 1,
            // That is an answer, and nobody's business.
            Event::Refused(subject, _) if **subject == *NOBODY => return,
            Event::Refused(..) => counts.refused += 1,
            Event::Client(_) | Event::Missed(..) => {}
        }
        drop(counts);
        // The subscriber, and the text of an error, may panic.
        guarded(|| tracing::warn!(target: "topic_registry_nats", ?event));
        self.events.notify(event);
    }

    /// Reports an event of the client, and keeps in mind what the server refuses.
    pub(crate) fn heed(&self, event: Client) -> Ready<()> {
        if event == Client::Connected {
            // With a new connection, the server says it again.
            lock(&self.refused).clear();
        }
        let Client::ServerError(ServerError::Other(why)) = event else {
            self.report(&Event::Client(event));
            return ready(());
        };
        // As in `Permissions Violation for Subscription to "news"`.
        let subject = why.split('"').nth(1).unwrap_or_default();
        if subject == NOBODY || !why.contains(" Publish to \"") {
            lock(&self.refused).insert(subject.to_owned(), why.clone());
        }
        self.report(&Event::Refused(subject.into(), why));
        ready(())
    }
}

/// Locks. No code of the user but that of keys runs under a lock here, so a panic has left nothing
/// half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
