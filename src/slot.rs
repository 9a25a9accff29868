//! One registered handler: its id, where it came from, whether it was removed, and the
//! closure, all in one allocation.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::guard::Registration;
use crate::id::{HandlerId, Rank};
use crate::list::Ranked;
use crate::panic::{Home, PanicOrigin, Payload, Source, catch};

/// A handler with its closure. The flavors call it through a trait object of their own,
/// so that the checks around the call are compiled together with the closure: one that
/// cannot panic costs two comparisons more than a plain call.
pub(crate) struct Slot<F> {
    head: Head,
    // `None` only while it is dropped.
    closure: Option<F>,
}

/// What is known of a handler whatever its closure is.
pub(crate) struct Head {
    source: Source,
    home: Arc<Home>,
    removed: AtomicBool,
}

/// What came of starting a handler: one byte, so that it is returned in a register.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    Called,
    Skipped,
    Panicked,
}

/// What all flavors' handlers have in common.
#[allow(
    private_interfaces,
    reason = "sealed: outside the crate nobody can name it"
)]
pub trait Handler: Send + Sync {
    /// The part that does not depend on the closure.
    fn head(&self) -> &Head;
}

impl<F> Slot<F> {
    pub(crate) fn new(
        id: HandlerId,
        location: &'static Location<'static>,
        home: &Arc<Home>,
        closure: F,
    ) -> Self {
        Self {
            head: Head {
                source: Source { id, location },
                home: Arc::clone(home),
                removed: AtomicBool::new(false),
            },
            closure: Some(closure),
        }
    }

    /// The closure, unless the handler was removed: then no dispatch may start it.
    #[inline]
    pub(crate) fn live(&self) -> Option<&F> {
        let closure = self.closure.as_ref();
        closure.filter(|_| !self.head.is_removed())
    }
}

impl<F: Send + Sync> Handler for Slot<F> {
    fn head(&self) -> &Head {
        &self.head
    }
}

impl Head {
    /// Acquire, for the release in [`retire`](Self::retire): whoever learned that the
    /// removal had returned learned it through some edge of its own, and coherence does
    /// the rest. It costs nothing more than a relaxed load where it matters.
    #[inline]
    fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Keeps dispatches that run over an older list from starting this handler.
    pub(crate) fn retire(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Drops something of this handler's, and reports its panic.
    pub(crate) fn discard<T>(&self, value: T) {
        if let Err(payload) = catch(|| drop(value)) {
            self.report(PanicOrigin::Destructor, payload);
        }
    }

    #[cold]
    pub(crate) fn report(&self, origin: PanicOrigin, payload: Payload) {
        self.home.report(self.source, origin, payload);
    }
}

impl<F> Drop for Slot<F> {
    fn drop(&mut self) {
        self.head.discard(self.closure.take());
    }
}

impl<H: Handler + ?Sized> Ranked for Arc<H> {
    fn rank(&self) -> Rank {
        self.head().source.id.rank()
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
