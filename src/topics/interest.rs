//! [`Interest`]: whether anybody listens to a topic at all, told edge by edge.
//!
//! A topic gains its first handler and loses its last one under its writer lock, where each observer
//! records which of the two holds now. The observers are called after the lock is released. Each of
//! them is called by whoever finds nobody calling it for the same topic. That one calls again as long as
//! what the observer heard last is not what holds. So the calls of an observer for a topic alternate and
//! do not overlap, and when the last owner of the topic goes, each observer has heard what is true: who
//! calls is an owner. None of them waits for another one.
//!
//! Nothing queues: an edge and its opposite that an observer has not heard of cancel out.
//! Otherwise a slow observer would keep one thread calling for the edges of all others.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use ahash::RandomState;

use crate::primitive::{Mutex, MutexGuard};
use crate::topics::observers::{Observer, Observers, Thrown};

/// Whether a topic has come to have handlers, or to have none.
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

pub(super) type InterestCallback<K> = Box<dyn Fn(&K, Interest) + Send + Sync>;

/// An observer's callback for the interest in all topics, and what it was not told yet.
pub(super) struct Watch<K> {
    callback: InterestCallback<K>,
    edges: Mutex<HashMap<Address, Edges, RandomState>>,
}

/// Which topic: where it is. Edges are kept only for topics that have handlers or are being
/// told of, and so cannot move out for another one.
pub(super) type Address = usize;

/// What is known of a topic. One that is not in the map has no handlers, and the observer has
/// heard of none.
struct Edges {
    heard: Interest,
    now: Interest,
    is_calling: bool,
}

impl<K> Observers<Watch<K>> {
    pub(super) fn is_watched(&self) -> bool {
        self.are_concerned(0)
    }

    pub(super) fn watch(&self, callback: InterestCallback<K>) -> Arc<Observer<Watch<K>>> {
        let edges = Mutex::new(HashMap::default());
        self.add(0, Watch { callback, edges })
    }

    /// Records what holds for a topic from now on. Called under the topic's writer lock.
    pub(super) fn record(&self, topic: Address, now: Interest) {
        if self.is_watched() {
            self.look(|observer| observer.record(topic, now));
        }
    }

    /// Tells each observer what holds for a topic.
    pub(super) fn tell(&self, topic: Address, key: &K, thrown: Thrown<'_>) {
        if self.is_watched() {
            self.for_each(|observer| observer.tell(topic, key, thrown), thrown);
        }
    }
}

impl<K> Observer<Watch<K>> {
    /// As that of all observers. Called under the topic's writer lock.
    pub(super) fn record(&self, topic: Address, now: Interest) {
        let mut edges = self.kind.edges();
        let edges = edges.entry(topic).or_insert(Edges {
            heard: Interest::Lost,
            now,
            is_calling: false,
        });
        edges.now = now;
    }

    /// Calls the callback until it has heard what holds for a topic, unless another thread is
    /// about to.
    pub(super) fn tell(&self, topic: Address, key: &K, thrown: Thrown<'_>) {
        let mut is_calling = false;
        while let Some(interest) = self.kind.next(topic, is_calling) {
            is_calling = true;
            self.call(|watch| (watch.callback)(key, interest), thrown);
        }
    }
}

impl<K> Watch<K> {
    /// The next call to make, by the thread that makes the calls for this topic already or by another one.
    fn next(&self, topic: Address, is_calling: bool) -> Option<Interest> {
        let mut edges = self.edges();
        let known = edges.get_mut(&topic)?;
        if known.is_calling && !is_calling {
            return None;
        }
        if known.heard == known.now {
            known.is_calling = false;
            if known.now == Interest::Lost {
                edges.remove(&topic);
                // Topics of which there were many at once would leave their places behind.
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

    fn edges(&self) -> MutexGuard<'_, HashMap<Address, Edges, RandomState>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
