//! [`Interest`]: whether anybody listens to a topic at all, told edge by edge.
//!
//! A topic gains its first handler and loses its last one under its writer lock, where the edge
//! is recorded. It is told after the lock is released, by whoever finds nobody telling edges of
//! the same topic: that one goes on until it has told all of them, also those that others record
//! meanwhile. So the edges of a topic are told one after the other, in their order, and none is
//! left when the last owner of the topic goes: who tells is an owner.
//!
//! Edges alternate, so it is enough to count those that are not told yet.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError};

use ahash::RandomState;

use crate::concurrency::atomic::{AtomicBool, Ordering};
use crate::concurrency::{Mutex, MutexGuard};
use crate::panic::{Payload, catch};

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

    fn next(self) -> Self {
        match self {
            Self::Gained => Self::Lost,
            Self::Lost => Self::Gained,
        }
    }
}

pub(crate) type Callback<K> = Box<dyn Fn(&K, Interest) + Send + Sync>;

/// The callback for the interest in all topics, if there is one, and what it was not told yet.
pub(crate) struct Interests<K> {
    // So that topics that nobody watches take no lock in common.
    is_watched: AtomicBool,
    watch: Mutex<Option<Watch<K>>>,
}

struct Watch<K> {
    callback: Arc<Callback<K>>,
    edges: HashMap<Address, Edges, RandomState>,
}

/// Which topic: where it is. Edges are kept only for topics that have handlers or are being
/// told of, and so cannot move out for another one.
pub(crate) type Address = usize;

/// What is known of a topic; one that is not known has no handlers.
struct Edges {
    untold: usize,
    told: Interest,
    is_telling: bool,
}

impl Edges {
    fn recorded(&self) -> Interest {
        match self.untold % 2 {
            0 => self.told,
            _ => self.told.next(),
        }
    }
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
    pub(crate) fn set(&self, callback: Option<Callback<K>>) -> Result<(), Payload> {
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
            untold: 0,
            told: Interest::Lost,
            is_telling: false,
        });
        if edges.recorded() != now {
            edges.untold += 1;
        }
    }

    /// Tells what was recorded of a topic, unless somebody is about to; returns what the
    /// callback threw.
    pub(crate) fn tell(&self, topic: Address, key: &K) -> Vec<Payload> {
        let (mut thrown, mut last) = (Vec::new(), None);
        while let Some((callback, interest)) = self.next(topic, last.as_ref()) {
            thrown.extend(catch(|| callback(key, interest)).err());
            last = Some(callback);
        }
        // The last share, if the callback was replaced meanwhile.
        thrown.extend(catch(|| drop(last)).err());
        thrown
    }

    /// The next edge to tell, and to whom, after it was told of the last one by `last`.
    fn next(
        &self,
        topic: Address,
        last: Option<&Arc<Callback<K>>>,
    ) -> Option<(Arc<Callback<K>>, Interest)> {
        let mut watch = self.lock();
        let Watch { callback, edges } = watch.as_mut()?;
        if last.is_some_and(|last| !Arc::ptr_eq(last, callback)) {
            // Replaced. What the new one is to be told, others tell.
            return None;
        }
        let known = edges.get_mut(&topic)?;
        if known.is_telling && last.is_none() {
            return None;
        }
        if known.untold == 0 {
            known.is_telling = false;
            if known.told == Interest::Lost {
                edges.remove(&topic);
                // Topics of which there were many at once would leave their places for ever.
                if edges.capacity() > 4 * edges.len() + 1024 {
                    edges.shrink_to_fit();
                }
            }
            return None;
        }
        known.untold -= 1;
        known.told = known.told.next();
        known.is_telling = true;
        Some((Arc::clone(callback), known.told))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watch<K>>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
