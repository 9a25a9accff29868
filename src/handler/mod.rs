//! A registered handler: its id, where it was registered, whether it was removed, and the closure,
//! all in one allocation.

pub(crate) mod awaited;
pub(crate) mod counted;
pub(crate) mod delivery;
pub(crate) mod flavor;
pub(crate) mod guard;
mod origin;
pub(crate) mod registration;
pub(crate) mod room;
pub(crate) mod stopwatch;
pub(crate) mod wrapped;

use std::any::TypeId;
use std::panic::{Location, RefUnwindSafe};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::handler::delivery::Outcome;
use crate::handler::origin::{Counts, Origin};
use crate::handler::registration::Registration;
use crate::primitive::Mutex;
use crate::primitive::atomic::{AtomicU16, Ordering};
use crate::report::id::{HandlerId, HandlerInfo};
use crate::report::panic::{PanicOrigin, Payload, Registrant, catch};
use crate::report::scope::{Reporter, Scope};

/// A handler with its closure. The flavors call it through a trait object of their own, so that the
/// checks around the call are compiled together with the closure: a closure that cannot panic costs
/// little more than a plain call.
// In this order, so that the fields that a dispatch accesses are adjacent.
#[repr(C)]
pub(crate) struct Callable<C: Stored> {
    pub(crate) header: Header,
    closure: C,
}

/// The part of a handler that does not depend on its closure.
#[repr(C)]
pub(crate) struct Header {
    origin: Origin,
    location: &'static Location<'static>,
    id: HandlerId,
    /// 0 while dispatches may start the handler; otherwise `REMOVED`, plus how often it is paused.
    stops: AtomicU16,
    is_interceptor: bool,
    is_timed: bool,
}

const REMOVED: u16 = 1 << 15;

/// A closure as it is stored. A panic of its destructor can only be caught if the closure can be
/// dropped before the rest, which requires an `Option`, and a check for each call.
pub(crate) trait Stored {
    type Closure;

    /// Returns the closure, or `None` once it was dropped.
    fn get(&self) -> Option<&Self::Closure>;

    /// Drops the closure.
    fn clear(&mut self);
}

impl<F> Stored for Option<F> {
    type Closure = F;

    #[inline]
    fn get(&self) -> Option<&F> {
        self.as_ref()
    }

    fn clear(&mut self) {
        *self = None;
    }
}

/// Returns whether values of this type are kept in a box: moves of large ones may overflow the
/// stack.
pub(crate) const fn is_large<T>() -> bool {
    size_of::<T>() > 1024
}

/// A closure that runs no code when it is dropped, and so costs no check.
pub(crate) struct NeedsNoDrop<F>(pub(crate) F);

impl<F> Stored for NeedsNoDrop<F> {
    type Closure = F;

    #[inline]
    fn get(&self) -> Option<&F> {
        Some(&self.0)
    }

    fn clear(&mut self) {}
}

/// The common interface of all flavors' handlers.
pub trait Handler: Send + Sync + RefUnwindSafe + 'static {
    /// Returns the part that does not depend on the closure.
    fn header(&self) -> &Header;

    /// Returns the concrete type of the handler.
    fn kind(&self) -> TypeId {
        TypeId::of::<Self>()
    }

    /// Handles the removal of the handler. Called by the thread that removed it, with no lock held.
    fn removed(&self) {}
}

impl<C: Stored> Callable<C> {
    pub(crate) fn new(header: Header, closure: C) -> Self {
        Self { header, closure }
    }

    /// Returns the closure, unless the handler was removed or is paused: then no dispatch may start
    /// it.
    #[inline]
    pub(crate) fn live(&self) -> Option<&C::Closure> {
        if !self.header.may_start() {
            return not_started();
        }
        self.closure.get()
    }
}

/// Returns `None`. Cold, so that the compiler expects the other branch.
#[cold]
fn not_started<T>() -> Option<T> {
    None
}

// Every panic of the closure is caught; what it does to the user's own state is the user's to
// handle.
impl<C: Stored> RefUnwindSafe for Callable<C> {}

impl<C: Stored + Send + Sync + 'static> Handler for Callable<C> {
    fn header(&self) -> &Header {
        &self.header
    }
}

impl Header {
    pub(crate) fn new(
        id: HandlerId,
        location: &'static Location<'static>,
        scope: &Arc<Scope>,
        name: Option<Arc<str>>,
    ) -> Self {
        Self {
            origin: Origin::new(scope, name),
            location,
            id,
            stops: AtomicU16::new(0),
            is_interceptor: false,
            is_timed: scope.parent.slow_limit().is_some() || scope.parent.counts_calls(),
        }
    }

    /// Returns a header for the same handler, neither removed nor paused.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            stops: AtomicU16::new(0),
            ..*self
        }
    }

    /// Makes this the header of a handler whose calls are not timed.
    pub(crate) fn untimed(self) -> Self {
        Self {
            is_timed: false,
            ..self
        }
    }

    /// Makes this the header of a handler that can stop a dispatch.
    pub(crate) fn interceptor(self) -> Self {
        Self {
            is_interceptor: true,
            ..self
        }
    }

    #[inline]
    pub(crate) fn is_interceptor(&self) -> bool {
        self.is_interceptor
    }

    pub(crate) fn id(&self) -> HandlerId {
        self.id
    }

    /// Returns whether slow calls are reported, or calls counted.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// Returns whether a dispatch may start the handler.
    ///
    /// The load is an acquire, for the release in [`mark_removed`](Self::mark_removed) and
    /// [`pause`](Self::pause). A thread that knows that the removal has returned knows it through
    /// some happens-before edge of its own; coherence does the rest. Where it matters, the acquire
    /// costs no more than a relaxed load.
    #[inline]
    pub(crate) fn may_start(&self) -> bool {
        // Step start of tests/protocols/topics.tla.
        self.stops.load(Ordering::Acquire) == 0
    }

    /// Keeps dispatches that run over an older list from starting this handler.
    pub(crate) fn mark_removed(&self) {
        self.stops.fetch_or(REMOVED, Ordering::Release);
    }

    /// Keeps dispatches from starting this handler until [`resume`](Self::resume). Returns `false`
    /// if it is paused too often.
    pub(crate) fn pause(&self) -> bool {
        let pause = |stops: u16| (stops % REMOVED < REMOVED - 1).then(|| stops + 1);
        self.stops.fetch_update(Ordering::Release, Ordering::Relaxed, pause).is_ok()
    }

    /// Takes back one pause.
    pub(crate) fn resume(&self) {
        self.stops.fetch_sub(1, Ordering::Release);
    }

    /// Returns whether the handler is paused. Relaxed: this is information for the caller, and may
    /// be outdated by the time it is seen.
    fn is_paused(&self) -> bool {
        self.stops.load(Ordering::Relaxed) % REMOVED != 0
    }

    pub(crate) fn info(&self) -> HandlerInfo {
        HandlerInfo {
            id: self.id,
            priority: self.id.priority(),
            registered_at: self.location,
            paused: self.is_paused(),
            name: self.origin.name().cloned(),
            calls: self.origin.counts().map(Counts::get),
        }
    }

    /// Runs a destructor of this handler, and reports its panic.
    #[inline]
    pub(crate) fn guard_drop(&self, drop: impl FnOnce()) {
        if let Err(payload) = catch(drop) {
            self.report(PanicOrigin::Destructor, payload);
        }
    }

    /// Reports a panic of a call, and returns the outcome of the call. An interceptor that panics
    /// stops the dispatch, because it may have been about to.
    #[cold]
    pub(crate) fn panicked(&self, payload: Payload) -> Outcome {
        self.report(PanicOrigin::Call, payload);
        if self.is_interceptor {
            Outcome::StoppedByPanic
        } else {
            Outcome::Panicked
        }
    }

    /// Counts a call that took `time`, if calls are counted, and reports it if it was slow. If it
    /// is not a new one, it is a further poll of its future.
    #[cold]
    pub(crate) fn took(&self, time: Duration, is_new: bool) {
        if let Some(counts) = self.origin.counts() {
            counts.add(time, is_new);
        }
        let limit = self.scope().parent.slow_limit();
        if limit.is_some_and(|limit| time >= limit) {
            self.scope().report_slow(&self.info(), time);
        }
    }

    #[cold]
    pub(crate) fn report(&self, origin: PanicOrigin, payload: Payload) {
        let name = self.origin.name().map(|name| &**name);
        self.scope().report(self.registrant(), name, origin, payload);
    }

    /// Returns what a part of the handler that may outlive it reports to.
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter::new(self.scope(), self.registrant())
    }

    fn scope(&self) -> &Arc<Scope> {
        self.origin.scope()
    }

    fn registrant(&self) -> Registrant {
        Registrant {
            id: Some(self.id),
            location: self.location,
        }
    }
}

impl<C: Stored> Drop for Callable<C> {
    fn drop(&mut self) {
        let Self { header, closure } = self;
        header.guard_drop(|| closure.clear());
    }
}

/// A closure for a single call. The dispatch that removes the handler makes the call: a
/// registration is removed exactly once, even if others try to remove it at the same time.
pub(crate) struct Once<F> {
    registration: Registration,
    closure: Mutex<Option<F>>,
}

impl<F> Once<F> {
    pub(crate) fn new(registration: Registration, closure: F) -> Self {
        Self {
            registration,
            closure: Mutex::new(Some(closure)),
        }
    }

    /// Removes the handler, and takes the closure if this call was the one that removed it.
    pub(crate) fn take(&self) -> Option<F> {
        if !self.registration.remove() {
            return None;
        }
        let mut closure = self.closure.lock().unwrap_or_else(PoisonError::into_inner);
        closure.take()
    }
}
