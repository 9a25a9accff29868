//! One registered handler: its id, where it came from, whether it was removed, and the
//! closure, all in one allocation.

use std::panic::Location;
use std::sync::{Arc, PoisonError};

use crate::delivery::Outcome;
use crate::guard::Registration;
use crate::id::{HandlerId, Rank};
use crate::panic::{PanicOrigin, Payload, Registrant, catch};
use crate::primitive::Mutex;
use crate::primitive::atomic::{AtomicBool, Ordering};
use crate::scope::Scope;
use crate::snapshot::list::Ranked;

/// A handler with its closure. The flavors call it through a trait object of their own,
/// so that the checks around the call are compiled together with the closure: one that
/// cannot panic costs little more than a plain call.
// In this order: what a dispatch touches is side by side.
#[repr(C)]
pub(crate) struct Slot<C: Stored> {
    pub(crate) header: Header,
    closure: C,
}

/// What is known of a handler whatever its closure is.
#[repr(C)]
pub(crate) struct Header {
    scope: Arc<Scope>,
    location: &'static Location<'static>,
    id: HandlerId,
    removed: AtomicBool,
    is_interceptor: bool,
}

/// A closure as it is kept. Its destructor can only be caught if the closure can be taken
/// out, which takes an `Option`, and a check for each call.
pub(crate) trait Stored {
    type Closure;

    /// The closure; `None` once it was taken out.
    fn get(&self) -> Option<&Self::Closure>;

    fn take(&mut self) -> Option<Self::Closure>;
}

impl<F> Stored for Option<F> {
    type Closure = F;

    #[inline]
    fn get(&self) -> Option<&F> {
        self.as_ref()
    }

    fn take(&mut self) -> Option<F> {
        self.take()
    }
}

/// A closure that runs no code when it is dropped, and so costs no check.
pub(crate) struct NeedsNoDrop<F>(pub(crate) F);

impl<F> Stored for NeedsNoDrop<F> {
    type Closure = F;

    #[inline]
    fn get(&self) -> Option<&F> {
        Some(&self.0)
    }

    fn take(&mut self) -> Option<F> {
        None
    }
}

/// What all flavors' handlers have in common.
#[allow(
    private_interfaces,
    reason = "sealed: outside the crate nobody can name it"
)]
pub trait Handler: Send + Sync {
    /// The part that does not depend on the closure.
    fn header(&self) -> &Header;
}

impl<C: Stored> Slot<C> {
    pub(crate) fn new(header: Header, closure: C) -> Self {
        Self { header, closure }
    }

    /// The closure, unless the handler was removed: then no dispatch may start it.
    #[inline]
    pub(crate) fn live(&self) -> Option<&C::Closure> {
        if self.header.is_removed() {
            return removed();
        }
        self.closure.get()
    }
}

/// Where the compiler is told that this is not what usually happens.
#[cold]
fn removed<T>() -> Option<T> {
    None
}

impl<C: Stored + Send + Sync> Handler for Slot<C> {
    fn header(&self) -> &Header {
        &self.header
    }
}

impl Header {
    pub(crate) fn new(
        id: HandlerId,
        location: &'static Location<'static>,
        scope: &Arc<Scope>,
    ) -> Self {
        Self {
            scope: Arc::clone(scope),
            location,
            id,
            removed: AtomicBool::new(false),
            is_interceptor: false,
        }
    }

    /// Returns a header for the same handler, which is not removed.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
            removed: AtomicBool::new(false),
            ..*self
        }
    }

    /// The header of a handler that may stop a dispatch.
    pub(crate) fn interceptor(self) -> Self {
        Self {
            is_interceptor: true,
            ..self
        }
    }

    pub(crate) fn id(&self) -> HandlerId {
        self.id
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Acquire, for the release in [`mark_removed`](Self::mark_removed): a thread that learned that the
    /// removal had returned learned it through some edge of its own, and coherence does
    /// the rest. It costs nothing more than a relaxed load where it matters.
    #[inline]
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Keeps dispatches that run over an older list from starting this handler.
    pub(crate) fn mark_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Drops something of this handler's, and reports its panic.
    #[inline]
    pub(crate) fn discard<T>(&self, value: T) {
        if let Err(payload) = catch(|| drop(value)) {
            self.report(PanicOrigin::Destructor, payload);
        }
    }

    /// Reports a panic of a call; returns what came of the call. An interceptor that panics stops the
    /// dispatch: it may have been about to.
    #[cold]
    pub(crate) fn panicked(&self, payload: Payload) -> Outcome {
        self.report(PanicOrigin::Call, payload);
        if self.is_interceptor {
            Outcome::StoppedByPanic
        } else {
            Outcome::Panicked
        }
    }

    #[cold]
    pub(crate) fn report(&self, origin: PanicOrigin, payload: Payload) {
        let (id, location) = (self.id, self.location);
        self.scope.report(Registrant { id, location }, origin, payload);
    }
}

impl<C: Stored> Drop for Slot<C> {
    fn drop(&mut self) {
        self.header.discard(self.closure.take());
    }
}

impl<H: Handler + ?Sized> Ranked for Arc<H> {
    fn rank(&self) -> Rank {
        self.header().id().rank()
    }

    fn is_interceptor(&self) -> bool {
        self.header().is_interceptor
    }
}

/// A closure for one call ever. Whichever dispatch removes the handler makes the call:
/// a registration is removed exactly once, whatever else removes it at the same time.
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

    /// The closure, if this call is the one. The handler is removed by then.
    pub(crate) fn claim(&self) -> Option<F> {
        if !self.registration.remove() {
            return None;
        }
        let mut closure = self.closure.lock().unwrap_or_else(PoisonError::into_inner);
        closure.take()
    }
}
