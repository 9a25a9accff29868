//! [`Interest`]: whether a topic has handlers, reported edge by edge.
//!
//! A topic gains its first handler and loses its last one under its writer lock. There, the topic's
//! new state is recorded with each observer. The observers are called after the lock is released. A
//! thread calls an observer only if no other thread is calling it for the same topic. It repeats
//! the call until the state that it reported last is the current one. So the calls of an observer
//! for a topic alternate and do not overlap. The calling thread is an owner of the topic, so when
//! the last owner is dropped, the current state has been reported to each observer. No observer
//! waits for another.
//!
//! Nothing is queued: an edge and its opposite cancel out if neither was reported yet. Otherwise a
//! slow observer would keep one thread busy with the edges of all other threads.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use ahash::RandomState;

use crate::primitive::{Mutex, MutexGuard};
use crate::report::panic::Payload;
use crate::topics::observers::{Observer, Observers};

/// A change in whether a topic has handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Its first handler was registered.
    Gained,
    /// Its last handler was removed.
    Lost,
}

impl Interest {
    pub(super) fn of(handlers: usize) -> Self {
        match handlers {
            0 => Self::Lost,
            _ => Self::Gained,
        }
    }
}

/// An observer's callback for all topics, and what it knows of each.
pub(super) struct Watch<K> {
    callback: Box<dyn Fn(&K, Interest) + Send + Sync>,
    // By the topic's address. Edges are kept only for topics that have handlers or are being
    // reported, so no other topic can take over the address meanwhile.
    edges: Mutex<HashMap<usize, Edges, RandomState>>,
}

/// The current state of a topic, and the reported one. A topic without an entry has no handlers,
/// and the observer knows of none.
struct Edges {
    heard: Interest,
    now: Interest,
    is_calling: bool,
}

impl<K> Observers<Watch<K>> {
    pub(super) fn is_watched(&self) -> bool {
        self.are_concerned(0)
    }

    pub(super) fn watch(
        &self,
        callback: Box<dyn Fn(&K, Interest) + Send + Sync>,
    ) -> Arc<Observer<Watch<K>>> {
        let edges = Mutex::new(HashMap::default());
        self.add(0, Watch { callback, edges })
    }

    /// Notes a topic's new state with each observer. Called under the topic's writer lock.
    pub(super) fn note(&self, topic: usize, now: Interest) {
        if self.is_watched() {
            self.for_each_locked(|observer| observer.note(topic, now));
        }
    }

    /// Reports a topic's state to each observer.
    pub(super) fn tell(&self, topic: usize, key: &K, thrown: &dyn Fn(Payload)) {
        if self.is_watched() {
            self.for_each(|observer| observer.tell(topic, key, thrown), thrown);
        }
    }
}

impl<K> Observer<Watch<K>> {
    /// Notes a topic's new state. Called under the topic's writer lock.
    pub(super) fn note(&self, topic: usize, now: Interest) {
        let mut edges = self.kind.edges();
        let edges = edges.entry(topic).or_insert(Edges {
            heard: Interest::Lost,
            now,
            is_calling: false,
        });
        edges.now = now;
    }

    /// Calls the callback until a topic's current state has been reported, unless another thread is
    /// doing so.
    pub(super) fn tell(&self, topic: usize, key: &K, thrown: &dyn Fn(Payload)) {
        let mut is_calling = false;
        while let Some(interest) = self.kind.next(topic, is_calling) {
            is_calling = true;
            self.call(|watch| (watch.callback)(key, interest), thrown);
        }
    }
}

impl<K> Watch<K> {
    /// Returns the next call to make. `is_calling` is whether the caller is already the thread that
    /// makes the calls for this topic.
    fn next(&self, topic: usize, is_calling: bool) -> Option<Interest> {
        let mut edges = self.edges();
        let known = edges.get_mut(&topic)?;
        if known.is_calling && !is_calling {
            return None;
        }
        if known.heard == known.now {
            known.is_calling = false;
            if known.now == Interest::Lost {
                edges.remove(&topic);
                // Otherwise, memory for many topics at once would be kept after they are gone.
                if edges.capacity() > 4 * edges.len() + 1024 {
                    edges.shrink_to_fit();
                }
            }
            return None;
        }
        known.heard = known.now;
        known.is_calling = true;
        Some(known.now)
    }

    fn edges(&self) -> MutexGuard<'_, HashMap<usize, Edges, RandomState>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
