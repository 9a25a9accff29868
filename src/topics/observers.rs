//! [`Observers`]: callbacks of topics of which there may be several. Each is on its own, and ends with
//! its [`ObserverGuard`].
//!
//! A thread that has something to report calls one observer after the other, with no lock held. It owns
//! a share of the one that it is calling, and of no other: so a call that takes its time keeps no other
//! observer from being dropped. Those that are added meanwhile are left out. Who adds one looks for itself
//! at what there is already; and a thread that also had to call all that are added while it
//! calls might never come to an end.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, PoisonError};

use crate::HandlerId;
use crate::guard::Registration;
use crate::panic::{Payload, catch};
use crate::primitive::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard};

/// Ends its observer when it is dropped.
///
/// One type for observers of everything and of topics of every flavor. It does not keep the topics alive;
/// once they are gone, and the observers with them, dropping the guard does nothing.
///
/// Once its drop has returned, no call of the observer starts. One that has begun may go on: a call begins
/// when the thread has looked whether the observer has ended, just before it calls the closure. The
/// closure is dropped here, unless another thread is calling the observer, or about to, or the guard is
/// dropped from inside of such a call: then that thread drops it, after the call. What its destructor
/// throws is [counted](crate::Topics::panic_count). So a guard can be dropped anywhere: in a call of its own
/// observer, or while the thread unwinds.
#[must_use = "dropping the guard ends the observer at once: bind it, `let _guard = ...`"]
pub struct ObserverGuard {
    registration: Registration,
}

impl ObserverGuard {
    pub(super) fn new(registration: Registration) -> Self {
        Self { registration }
    }

    /// Leaves the observer for as long as the topics live.
    pub fn forget(mut self) {
        self.registration.registry = None;
    }
}

// It is a weak share and an id, whatever a panic leaves behind.
impl UnwindSafe for ObserverGuard {}
impl RefUnwindSafe for ObserverGuard {}

impl Drop for ObserverGuard {
    fn drop(&mut self) {
        self.registration.remove();
    }
}

impl fmt::Debug for ObserverGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserverGuard").finish_non_exhaustive()
    }
}

/// Where what observers throw goes, as soon as it was thrown.
pub(super) type Thrown<'a> = &'a dyn Fn(Payload);

/// The observers of one thing, in the order in which they were added.
pub(super) struct Observers<T> {
    // For how many handlers at least a topic concerns anybody, so that the others take no lock in common;
    // `usize::MAX` if there is no observer. It is changed under the lock.
    least: AtomicUsize,
    observers: Mutex<BTreeMap<HandlerId, Arc<Observer<T>>>>,
}

/// One of them: its callback, and what it has to know for that.
pub(super) struct Observer<T> {
    // Unique in the process, as that of a handler.
    pub(super) id: HandlerId,
    pub(super) kind: T,
    least: usize,
    has_ended: AtomicBool,
}

impl<T> Observers<T> {
    pub(super) fn new() -> Self {
        Self {
            least: AtomicUsize::new(usize::MAX),
            observers: Mutex::new(BTreeMap::new()),
        }
    }

    /// Adds an observer of topics that have so many handlers at least.
    pub(super) fn add(&self, least: usize, kind: T) -> Arc<Observer<T>> {
        let observer = Arc::new(Observer {
            id: HandlerId::next(0),
            kind,
            least,
            has_ended: AtomicBool::new(false),
        });
        let mut observers = self.lock();
        observers.insert(observer.id, Arc::clone(&observer));
        self.least.fetch_min(least, Ordering::Release);
        drop(observers);
        observer
    }

    /// Ends an observer; whether it was one of these.
    pub(super) fn end(&self, id: HandlerId, thrown: Thrown<'_>) -> bool {
        let mut observers = self.lock();
        let Some(ended) = observers.remove(&id) else {
            return false;
        };
        let leasts = observers.values().map(|observer| observer.least);
        // As a rule the first one says that nothing changes.
        if !leasts.clone().any(|other| other == ended.least) {
            let least = leasts.min().unwrap_or(usize::MAX);
            self.least.store(least, Ordering::Release);
        }
        drop(observers);
        // For those who have found it before.
        ended.has_ended.store(true, Ordering::Release);
        drop_share(ended, thrown);
        true
    }

    pub(super) fn end_all(&self, thrown: Thrown<'_>) {
        self.for_each(|observer| _ = self.end(observer.id, thrown), thrown);
    }

    /// Whether a topic with so many handlers concerns anybody.
    ///
    /// Acquire, for the release in `add`: see `Topics::observe_interest`.
    pub(super) fn are_concerned(&self, handlers: usize) -> bool {
        handlers >= self.least.load(Ordering::Acquire)
    }

    /// Looks at all observers under the lock: `look` must run nothing of the user's.
    pub(super) fn look(&self, look: impl Fn(&Observer<T>)) {
        self.lock().values().for_each(|observer| look(observer));
    }

    /// Runs `f` with each observer that there is now, and no lock held.
    pub(super) fn for_each(&self, f: impl Fn(&Observer<T>), thrown: Thrown<'_>) {
        let newest = self.lock().last_key_value().map(|(id, _)| *id);
        let Some(newest) = newest else {
            return;
        };
        let mut after = Unbounded;
        while let Some(observer) = self.first_of((after, Included(newest))) {
            after = Excluded(observer.id);
            f(&observer);
            drop_share(observer, thrown);
        }
    }

    fn first_of(&self, ids: impl RangeBounds<HandlerId>) -> Option<Arc<Observer<T>>> {
        let observers = self.lock();
        let first = observers.range(ids).next();
        first.map(|(_, observer)| Arc::clone(observer))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HandlerId, Arc<Observer<T>>>> {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Observer<T> {
    /// Makes a call, unless the observer has ended.
    ///
    /// Acquire, for the release in `end`: a thread that learned that the guard's drop had returned learned
    /// it through some edge of its own, and coherence does the rest.
    pub(super) fn call(&self, call: impl FnOnce(&T), thrown: Thrown<'_>) {
        if self.has_ended.load(Ordering::Acquire) {
            return;
        }
        if let Err(payload) = catch(|| call(&self.kind)) {
            thrown(payload);
        }
    }
}

/// Lets go of an observer, perhaps as the last.
fn drop_share<T>(observer: Arc<Observer<T>>, thrown: Thrown<'_>) {
    if let Err(payload) = catch(|| drop(observer)) {
        thrown(payload);
    }
}
