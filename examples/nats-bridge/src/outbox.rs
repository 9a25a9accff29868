//! [`Outbox`]: what the threads of a process leave for the bridge's network task.
//!
//! Nothing in here grows with time while the server is away or hangs: edges collapse where they are
//! made, messages have a limit, and who no longer waits is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};
use topic_registry::{Interest, Key};

/// A call of `settled`, which gets an answer when all that was left before is at the server.
pub(crate) type Waiter = oneshot::Sender<Result<(), String>>;

#[derive(Debug)]
pub(crate) struct Contents<K> {
    pub(crate) edges: HashMap<K, Interest>,
    /// Subjects and payloads.
    pub(crate) messages: VecDeque<(String, Vec<u8>)>,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) is_closed: bool,
}

/// The contents, and a bell that is rung when they may have changed.
#[derive(Debug)]
pub(crate) struct Outbox<K>(Mutex<Contents<K>>, Notify);

impl<K: Key> Outbox<K> {
    pub(crate) fn new() -> Self {
        let (edges, messages, waiters, is_closed) = Default::default();
        let contents = Contents {
            edges,
            messages,
            waiters,
            is_closed,
        };
        Self(Mutex::new(contents), Notify::new())
    }

    /// Changes the contents. Runs no code of the user but that of keys, for look-ups.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Contents<K>) -> R) -> R {
        let outcome = change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.1.notify_one();
        outcome
    }

    /// Leaves an edge. For one key, edges alternate, so a second one cancels the first: topics that
    /// come and go while nobody takes their edges cost no memory.
    pub(crate) fn note(&self, key: K, interest: Interest) {
        // Keys are dropped after the unlock.
        let cancelled = self.change(|contents| {
            let Some(first) = contents.edges.remove_entry(&key) else {
                contents.edges.insert(key, interest);
                return None;
            };
            Some((first, key))
        });
        drop(cancelled);
    }

    /// Waits until there is something for the network in it. For one task.
    pub(crate) async fn news(&self) {
        while self.is_empty() {
            self.1.notified().await;
        }
    }

    /// Lets no message in any more. The last waiter has the network task wait until the server has
    /// the rest.
    pub(crate) fn close(&self) {
        self.change(|it| {
            it.is_closed = true;
            it.waiters.push(oneshot::channel().0);
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_closed
    }

    pub(crate) fn is_empty(&self) -> bool {
        let it = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        it.edges.is_empty() && it.messages.is_empty() && it.waiters.is_empty()
    }
}
