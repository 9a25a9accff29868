//! [`Interest`]: whether anybody listens to a topic at all, told edge by edge.
//!
//! A topic gains its first handler and loses its last one under its writer lock, where it is
//! recorded which of the two holds now. The callback is called after the lock is released, by
//! whoever finds nobody calling it for the same topic. That one calls again as long as what the
//! callback heard last is not what holds. So the calls for a topic alternate and do not overlap,
//! and when the last owner of the topic goes, the callback has heard what is true: who calls is
//! an owner.
//!
//! Nothing queues: an edge and its opposite that the callback has not heard of cancel out.
//! Otherwise a slow callback would keep one thread calling for the edges of all others.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError};

use ahash::RandomState;

use crate::panic::{Payload, catch};
use crate::primitive::atomic::{AtomicBool, Ordering};
use crate::primitive::{Mutex, MutexGuard};

/// Whether a topic has come to have handlers, or to have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Its first handler was registered.
    Gained,
    /// Its last handler was removed.
    Lost,
}

impl Interest {
    pub(crate) fn of(handlers: usize) -> Self {
        match handlers {
            0 => Self::Lost,
            _ => Self::Gained,
        }
    }
}

pub(crate) type InterestCallback<K> = Box<dyn Fn(&K, Interest) + Send + Sync>;

/// The callback for the interest in all topics, if there is one, and what it was not told yet.
pub(crate) struct Interests<K> {
    // So that topics that nobody watches take no lock in common.
    is_watched: AtomicBool,
    watch: Mutex<Option<Watch<K>>>,
}

struct Watch<K> {
    callback: Arc<InterestCallback<K>>,
    edges: HashMap<Address, Edges, RandomState>,
}

/// Which topic: where it is. Edges are kept only for topics that have handlers or are being
/// told of, and so cannot move out for another one.
pub(crate) type Address = usize;

/// What is known of a topic. One that is not in the map has no handlers, and the callback has
/// heard of none.
struct Edges {
    heard: Interest,
    now: Interest,
    is_calling: bool,
}

impl<K> Interests<K> {
    pub(crate) fn new() -> Self {
        Self {
            is_watched: AtomicBool::new(false),
            watch: Mutex::new(None),
        }
    }

    /// Replaces the callback; returns what the destructor of the old one threw.
    ///
    /// Afterwards, the new one is to be told of all topics that have handlers already. A topic
    /// whose writer does not see yet that it is watched is found by that: its writer lock is
    /// taken after the flag is set.
    pub(crate) fn set(&self, callback: Option<InterestCallback<K>>) -> Result<(), Payload> {
        let is_watched = callback.is_some();
        let watch = callback.map(|callback| Watch {
            callback: Arc::new(callback),
            edges: HashMap::default(),
        });
        let old = {
            let mut current = self.lock();
            self.is_watched.store(is_watched, Ordering::Release);
            mem::replace(&mut *current, watch)
        };
        catch(|| drop(old))
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    /// Records what holds for a topic from now on. Called under the topic's writer lock.
    pub(crate) fn record(&self, topic: Address, now: Interest) {
        if !self.is_watched() {
            return;
        }
        let mut watch = self.lock();
        let Some(watch) = &mut *watch else {
            return;
        };
        let edges = watch.edges.entry(topic).or_insert(Edges {
            heard: Interest::Lost,
            now,
            is_calling: false,
        });
        edges.now = now;
    }

    /// Calls the callback until it has heard what holds for a topic, unless another thread is
    /// about to; hands over what it throws.
    pub(crate) fn tell(&self, topic: Address, key: &K, mut thrown: impl FnMut(Payload)) {
        let mut last = None;
        while let Some((callback, interest)) = self.next(topic, last.as_ref()) {
            if let Err(payload) = catch(|| callback(key, interest)) {
                thrown(payload);
            }
            last = Some(callback);
        }
        // The last share, if the callback was replaced meanwhile.
        if let Err(payload) = catch(|| drop(last)) {
            thrown(payload);
        }
    }

    /// The next call to make, after one of `last`.
    fn next(
        &self,
        topic: Address,
        last: Option<&Arc<InterestCallback<K>>>,
    ) -> Option<(Arc<InterestCallback<K>>, Interest)> {
        let mut watch = self.lock();
        let Watch { callback, edges } = watch.as_mut()?;
        if last.is_some_and(|last| !Arc::ptr_eq(last, callback)) {
            // Replaced. Whoever replaced it calls the new one.
            return None;
        }
        let known = edges.get_mut(&topic)?;
        if known.is_calling && last.is_none() {
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
        Some((Arc::clone(callback), known.now))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watch<K>>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
