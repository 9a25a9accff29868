//! [`Outbox`]: what the threads of a process leave for the bridge's network task.
//!
//! Nothing in here grows with time while the server is away or hangs: edges collapse where they are
//! made, messages have a limit, and who no longer waits is forgotten.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use topic_registry::{Interest, Key};

/// A call of `settled`, which gets an answer when all that was left before is at the server.
pub(crate) type Waiter = oneshot::Sender<Result<(), String>>;

/// A subject and a payload.
pub(crate) type Outgoing = (String, Vec<u8>);

#[derive(Debug)]
pub(crate) struct Outbox<K> {
    contents: Mutex<Contents<K>>,
    news: Notify,
    end: Notify,
    capacity: usize,
}

#[derive(Debug)]
struct Contents<K> {
    edges: HashMap<K, Interest>,
    messages: VecDeque<Outgoing>,
    waiters: Vec<Waiter>,
    is_closed: bool,
}

impl<K: Key> Outbox<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        assert_ne!(capacity, 0, "a queue of no messages");
        let contents = Mutex::new(Contents {
            edges: HashMap::new(),
            messages: VecDeque::new(),
            waiters: Vec::new(),
            is_closed: false,
        });
        Self {
            contents,
            news: Notify::new(),
            end: Notify::new(),
            capacity,
        }
    }

    /// Leaves an edge. For one key, edges alternate, so a second one cancels the first: topics that
    /// come and go while nobody takes their edges cost no memory.
    pub(crate) fn note(&self, key: K, interest: Interest) {
        let mut contents = self.contents();
        // Keys are dropped after the unlock.
        let _cancelled = match contents.edges.remove_entry(&key) {
            Some((own, _)) => Some((own, Some(key))),
            None if contents.is_closed => Some((key, None)),
            None => {
                contents.edges.insert(key, interest);
                None
            }
        };
        drop(contents);
        self.news.notify_one();
    }

    /// Leaves a message, or returns `false` if there is no room.
    pub(crate) fn push(&self, message: Outgoing) -> bool {
        let mut contents = self.contents();
        let has_room = !contents.is_closed && contents.messages.len() < self.capacity;
        if has_room {
            contents.messages.push_back(message);
        }
        drop(contents);
        self.news.notify_one();
        has_room
    }

    /// Leaves a waiter, which is dropped if the bridge has ended.
    pub(crate) fn ask(&self, waiter: Waiter) {
        let mut contents = self.contents();
        if !contents.is_closed {
            contents.waiters.retain(|waiter| !waiter.is_closed());
            contents.waiters.push(waiter);
        }
        drop(contents);
        self.news.notify_one();
    }

    /// Lets nothing else in. The last waiter has the network task wait until the server has the
    /// rest.
    pub(crate) fn close(&self) {
        let (last, _) = oneshot::channel();
        self.ask(last);
        self.contents().is_closed = true;
        self.end.notify_one();
        self.news.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.contents().is_closed
    }

    pub(crate) async fn closed(&self) {
        self.end.notified().await;
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        let contents = self.contents();
        let (edges, messages) = (contents.edges.is_empty(), contents.messages.is_empty());
        edges && messages && contents.waiters.is_empty()
    }

    /// Waits until there is something in it. For one task.
    pub(crate) async fn news(&self) {
        while self.is_empty() {
            self.news.notified().await;
        }
    }

    /// Takes the edges and the waiters, and returns how many messages were left before them.
    pub(crate) fn take(&self) -> (HashMap<K, Interest>, usize, Vec<Waiter>) {
        let mut contents = self.contents();
        let edges = mem::take(&mut contents.edges);
        let waiters = mem::take(&mut contents.waiters);
        (edges, contents.messages.len(), waiters)
    }

    pub(crate) fn pop(&self) -> Option<Outgoing> {
        self.contents().messages.pop_front()
    }

    fn contents(&self) -> MutexGuard<'_, Contents<K>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
