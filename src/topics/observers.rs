//! [`Observers`]: the callbacks of which topics may have several. Each is independent of the
//! others, and ends with its [`ObserverGuard`].
//!
//! A thread that has something to report calls one observer after the other, with no lock held. It
//! holds a reference to the observer that it is calling, and to no other: so a slow call delays the
//! drop of no other observer. Observers that are added meanwhile are left out. The thread that adds
//! an observer deals with the existing state itself, and a thread that also called the observers
//! that are added while it calls might never finish.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, PoisonError, Weak};

use crate::primitive::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard, Serials};
use crate::report::panic::{Payload, catch};

/// A guard that ends its observer when dropped.
///
/// One type serves all kinds of observers, and topics of every flavor. The guard does not keep the
/// topics alive; once they are gone, and the observers with them, dropping it does nothing.
///
/// Once the drop has returned, no call of the observer starts. A call that has begun may still run:
/// it begins when its thread has checked that the observer has not ended, just before it calls the
/// closure. The drop also drops the closure, unless another thread is calling the observer or about
/// to, or the guard is dropped inside such a call: then that thread drops the closure after the
/// call. A panic of its destructor is [counted](crate::Topics::panic_count). So a guard can be
/// dropped anywhere: in a call of its own observer, or while the thread unwinds.
#[must_use = "dropping the guard ends the observer at once: bind it, `let _guard = ...`"]
pub struct ObserverGuard {
    pub(super) serial: u64,
    // Empty in a guard that was forgotten.
    pub(super) observed: Option<Weak<dyn Observed>>,
}

/// The topics of an observer, of any type.
pub(super) trait Observed: Send + Sync + RefUnwindSafe {
    /// Ends an observer, unless it has ended with the topics.
    fn end(&self, serial: u64);
}

impl ObserverGuard {
    /// Keeps the observer for as long as the topics live.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let users = TopicRegistry::<u64, str>::new();
    /// let observer = users.observe_handler_limit(100, |user, n| eprintln!("{user}: {n}"));
    /// observer.forget();
    /// ```
    pub fn forget(mut self) {
        self.observed = None;
    }
}

impl Drop for ObserverGuard {
    fn drop(&mut self) {
        if let Some(observed) = self.observed.as_ref().and_then(Weak::upgrade) {
            observed.end(self.serial);
        }
    }
}

impl fmt::Debug for ObserverGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserverGuard").finish_non_exhaustive()
    }
}

/// All observers of one kind, in the order in which they were added. Their functions pass on each
/// payload that an observer throws, to `thrown`, as soon as it is thrown.
pub(super) struct Observers<T> {
    // The smallest number of handlers that concerns any observer, so that topics with fewer take no
    // shared lock; `usize::MAX` if there is no observer. Changed under the lock.
    least: AtomicUsize,
    all: Mutex<All<T>>,
}

struct All<T> {
    observers: BTreeMap<u64, Arc<Observer<T>>>,
    /// For each number of handlers from which on a topic concerns an observer, how many such
    /// observers there are.
    leasts: BTreeMap<usize, usize>,
}

/// An observer: its callback, with the state that belongs to its kind.
pub(super) struct Observer<T> {
    pub(super) serial: u64,
    pub(super) kind: T,
    least: usize,
    has_ended: AtomicBool,
}

impl<T> Observers<T> {
    pub(super) fn new() -> Self {
        Self {
            least: AtomicUsize::new(usize::MAX),
            all: Mutex::new(All {
                observers: BTreeMap::new(),
                leasts: BTreeMap::new(),
            }),
        }
    }

    /// Adds an observer of topics that have at least `least` handlers.
    pub(super) fn add(&self, least: usize, kind: T) -> Arc<Observer<T>> {
        static SERIALS: Serials = Serials::new();
        let observer = Arc::new(Observer {
            serial: SERIALS.next(),
            kind,
            least,
            has_ended: AtomicBool::new(false),
        });
        let mut all = self.lock();
        all.observers.insert(observer.serial, Arc::clone(&observer));
        *all.leasts.entry(least).or_default() += 1;
        // Release, for the acquire in `are_concerned`.
        self.least.fetch_min(least, Ordering::Release);
        drop(all);
        observer
    }

    /// Ends an observer. Returns whether it was one of these.
    pub(super) fn end(&self, serial: u64, thrown: &dyn Fn(Payload)) -> bool {
        let mut all = self.lock();
        let Some(ended) = all.observers.remove(&serial) else {
            return false;
        };
        if let Entry::Occupied(mut same) = all.leasts.entry(ended.least) {
            *same.get_mut() -= 1;
            if *same.get() == 0 {
                same.remove();
                let least = all.leasts.first_key_value().map_or(usize::MAX, |(least, _)| *least);
                // Release, as in `add`.
                self.least.store(least, Ordering::Release);
            }
        }
        // For threads that found the observer before. Under the lock, so that a guard that finds
        // its observer ended, with the topics, also returns after this.
        ended.has_ended.store(true, Ordering::Release);
        drop(all);
        drop_share(ended, thrown);
        true
    }

    pub(super) fn end_all(&self, thrown: &dyn Fn(Payload)) {
        self.for_each(|observer| _ = self.end(observer.serial, thrown), thrown);
    }

    /// Returns whether a topic with this many handlers concerns any observer.
    ///
    /// Acquire, for the release in `add`: see `Topics::observe_interest`.
    pub(super) fn are_concerned(&self, handlers: usize) -> bool {
        handlers >= self.least.load(Ordering::Acquire)
    }

    /// Calls `f` with each observer, under the lock: it must run no user code.
    pub(super) fn for_each_locked(&self, f: impl Fn(&Observer<T>)) {
        self.lock().observers.values().for_each(|observer| f(observer));
    }

    /// Calls `f` with each observer that exists now, with no lock held.
    pub(super) fn for_each(&self, f: impl Fn(&Observer<T>), thrown: &dyn Fn(Payload)) {
        let newest = self.lock().observers.last_key_value().map(|(serial, _)| *serial);
        let Some(newest) = newest else {
            return;
        };
        let mut after = Unbounded;
        while let Some(observer) = self.first_of((after, Included(newest))) {
            after = Excluded(observer.serial);
            f(&observer);
            drop_share(observer, thrown);
        }
    }

    fn first_of(&self, serials: impl RangeBounds<u64>) -> Option<Arc<Observer<T>>> {
        let all = self.lock();
        let first = all.observers.range(serials).next();
        first.map(|(_, observer)| Arc::clone(observer))
    }

    fn lock(&self) -> MutexGuard<'_, All<T>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Observer<T> {
    /// Makes a call, unless the observer has ended.
    ///
    /// The load is an acquire, for the release in `end`. A thread that knows that the guard's drop
    /// has returned knows it through some happens-before edge of its own; coherence does the rest.
    pub(super) fn call(&self, call: impl FnOnce(&T), thrown: &dyn Fn(Payload)) {
        if self.has_ended.load(Ordering::Acquire) {
            return;
        }
        if let Err(payload) = catch(|| call(&self.kind)) {
            thrown(payload);
        }
    }
}

/// Drops a reference to an observer, which may be the last.
fn drop_share<T>(observer: Arc<Observer<T>>, thrown: &dyn Fn(Payload)) {
    if let Err(payload) = catch(|| drop(observer)) {
        thrown(payload);
    }
}
