//! Keeps panics of user code inside: runs it, drops it, and reports what it threw.
//! The only user of `catch_unwind`.
//!
//! User code is a handler, a callback, and the destructor of anything the user gave:
//! closures, futures, keys, and the payloads that panics throw. Any of them may
//! panic, re-enter the library, or drop the last owner of anything.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, PoisonError};

use crate::concurrency::atomic::{AtomicU64, Ordering};
use crate::concurrency::{Mutex, MutexGuard, thread_own};
use crate::{HandlerId, telemetry};

/// What a panic threw.
pub(crate) type Payload = Box<dyn Any + Send>;

/// A panic that was caught, as an `on_panic` callback sees it.
pub struct PanicInfo<'a> {
    source: Source,
    origin: PanicOrigin,
    payload: &'a (dyn Any + Send),
}

/// Which of the user's code panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicOrigin {
    /// A call of the handler.
    Call,
    /// The destructor of a closure, of a future, of a callback that was replaced, or
    /// of the payload of another panic.
    Destructor,
}

impl PanicInfo<'_> {
    /// The handler that panicked, or that owned what panicked when it was dropped.
    ///
    /// For the destructor of a replaced callback it is an id that names no handler.
    #[must_use]
    pub fn handler_id(&self) -> HandlerId {
        self.source.id
    }

    /// Where that handler was registered: the caller of the `register` method.
    ///
    /// For the destructor of a replaced callback it is the call that replaced it.
    #[must_use]
    pub fn registered_at(&self) -> &'static Location<'static> {
        self.source.location
    }

    /// Whether a call or a destructor panicked.
    #[must_use]
    pub fn origin(&self) -> PanicOrigin {
        self.origin
    }

    /// What the panic threw.
    #[must_use]
    pub fn payload(&self) -> &(dyn Any + Send) {
        self.payload
    }

    /// The message of a `panic!` with text; `None` for any other payload.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let text = self.payload.downcast_ref::<&'static str>().copied();
        text.or_else(|| self.payload.downcast_ref::<String>().map(String::as_str))
    }
}

impl fmt::Debug for PanicInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PanicInfo")
            .field("handler_id", &self.handler_id())
            .field("message", &self.message())
            .field("registered_at", &self.registered_at())
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

/// Runs `f`, which may be user code, and catches what it throws.
///
/// Unwind safety is asserted because nothing of ours is half changed while `f` runs,
/// and what the user shares between handlers is the user's to keep whole.
#[inline]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a payload, and returns what its destructor threw, if it did.
fn bury(payload: Payload) -> Option<Payload> {
    catch(|| drop(payload)).err()
}

/// Drops a payload that nobody is told of. What its destructor throws is leaked: that
/// one's destructor may throw in turn, without end.
fn bury_unseen(payload: Payload) {
    mem::forget(bury(payload));
}

/// Counts and drops what callbacks threw: nobody can be told of it.
pub(crate) fn absorb(thrown: impl IntoIterator<Item = Payload>, count: impl Fn()) {
    for payload in thrown {
        count();
        bury_unseen(payload);
    }
}

/// Runs what may be user code, and of which nobody is told if it throws.
pub(crate) fn contain(f: impl FnOnce()) {
    if let Err(payload) = catch(f) {
        bury_unseen(payload);
    }
}

/// A value of the user's whose destructor cannot unwind out of ours.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Deref for Contained<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken only by its own destructor")
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        contain(|| drop(value));
    }
}

/// Who registered what panicked.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) id: HandlerId,
    pub(crate) location: &'static Location<'static>,
}

/// A callback that can be replaced while it is called.
pub(crate) struct Listener<C>(Mutex<Option<Arc<C>>>);

impl<C> Listener<C> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Replaces the callback; returns what the destructor of the old one threw.
    pub(crate) fn set(&self, callback: Option<C>) -> Result<(), Payload> {
        self.set_with(callback, || ())
    }

    /// As [`set`](Self::set); runs `with` under the same lock.
    pub(crate) fn set_with(&self, callback: Option<C>, with: impl FnOnce()) -> Result<(), Payload> {
        let callback = callback.map(Arc::new);
        let old = {
            let mut current = self.lock();
            with();
            mem::replace(&mut *current, callback)
        };
        catch(|| drop(old))
    }

    /// Calls the callback, if there is one; what that threw, and what its destructor threw,
    /// which runs here if it was replaced meanwhile.
    pub(crate) fn call(&self, f: impl FnOnce(&C)) -> Vec<Payload> {
        let mut thrown = Vec::new();
        let callback = self.lock().clone();
        if let Some(callback) = callback {
            thrown.extend(catch(|| f(&callback)).err());
            thrown.extend(catch(|| drop(callback)).err());
        }
        thrown
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callback may go with it; nobody is left who could count what its destructor throws.
impl<C> Drop for Listener<C> {
    fn drop(&mut self) {
        let callback = self.lock().take();
        contain(|| drop(callback));
    }
}

/// A panic count and the callback that is told of each panic.
pub(crate) struct Reports<C> {
    count: AtomicU64,
    pub(crate) listener: Listener<C>,
}

impl<C> Reports<C> {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            listener: Listener::new(),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) type Callback = Box<dyn Fn(&PanicInfo<'_>) + Send + Sync>;

/// What the handlers of a registry share and what outlives the registry as long as one
/// of them does: where their panics go, and the topic they belong to.
pub(crate) struct Home<T: Topic + ?Sized = dyn Topic> {
    pub(crate) reports: Reports<Callback>,
    pub(crate) topic: T,
}

/// What a registry knows of the topic that it serves; `()` if it serves none.
pub(crate) trait Topic: Send + Sync {
    /// Counts a panic for all topics.
    fn count(&self) {}

    /// Tells the callback of all topics of a panic.
    fn tell(&self, _info: &PanicInfo<'_>) {}

    /// Tells other crates of a panic.
    fn report(&self, info: &PanicInfo<'_>) {
        telemetry::reported(info);
    }

    /// Records a change of how many handlers there are; called under the writer lock.
    fn record(&self, _from: usize, _to: usize) {}

    /// Tells others of that change; called after the lock was released, by an owner.
    fn follow(&self, _from: usize, _to: usize) {}

    /// Tells others that so many handlers go with their registry.
    fn end(&self, _handlers: usize) {}

    /// Removes the topic if it is idle; called after its last owner has let go of it.
    fn prune(&self) {}

    /// Waits until the look-ups of this topic that have begun have ended.
    fn settle(&self) {}
}

impl Topic for () {}

impl<T: Topic> Home<T> {
    pub(crate) fn new(topic: T) -> Self {
        Self {
            reports: Reports::new(),
            topic,
        }
    }
}

impl<T: Topic + ?Sized> Home<T> {
    /// Counts and reports a panic, then drops its payload. If that panics too, it is
    /// one more panic; what it threw is leaked, because its destructor may do the same.
    #[cold]
    pub(crate) fn report(&self, source: Source, origin: PanicOrigin, payload: Payload) {
        self.tell(source, origin, &*payload);
        if let Some(second) = bury(payload) {
            self.tell(source, PanicOrigin::Destructor, &*second);
            mem::forget(second);
        }
    }

    /// Removes the topic if it is idle. `Hash` and `Eq` of its key run here, possibly in a
    /// destructor: what they throw leaves the topic where it is.
    pub(crate) fn prune(&self) {
        contain(|| self.topic.prune());
    }

    /// As [`prune`](Self::prune), `Hash` and `Eq` of the key run here.
    pub(crate) fn settle(&self) {
        contain(|| self.topic.settle());
    }

    fn count(&self) {
        self.reports.add();
        self.topic.count();
    }

    fn tell(&self, source: Source, origin: PanicOrigin, payload: &(dyn Any + Send)) {
        thread_own!(IN_CALLBACK: Cell<bool> = Cell::new(false));
        self.count();
        // A callback may notify whatever it likes. The panics that it meets are not
        // reported, or a registry that reports to itself would never come to an end.
        if IN_CALLBACK.with(|inside| inside.replace(true)) {
            return;
        }
        let info = PanicInfo {
            source,
            origin,
            payload,
        };
        let thrown = self.reports.listener.call(|callback| callback(&info));
        absorb(thrown, || self.count());
        self.topic.tell(&info);
        self.topic.report(&info);
        IN_CALLBACK.with(|inside| inside.set(false));
    }
}

impl<T: Topic + ?Sized> Drop for Home<T> {
    fn drop(&mut self) {
        let outcome = self.reports.listener.set(None);
        absorb(outcome.err(), || self.count());
    }
}
