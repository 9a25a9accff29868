//! Contains panics of user code: catches them, drops their payloads, and describes them. The only
//! user of `catch_unwind`.
//!
//! User code is every handler and callback, and the destructor of every user value: closures,
//! futures, keys, and the payloads of panics. Any of them may panic, re-enter the library, or drop
//! the last owner of anything.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::{fmt, mem, thread};

use crate::report::id::HandlerId;

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// A caught panic, as passed to an `on_panic` callback.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use topic_registry::{PanicOrigin, SyncRegistry};
///
/// let (saves, log) = (SyncRegistry::<str>::new(), Arc::new(Mutex::new(Vec::new())));
/// let lines = Arc::clone(&log);
/// saves.on_panic(move |info| {
///     // A `panic!` with text has a message, `panic_any` a payload of any type.
///     let code = info.payload().downcast_ref::<i32>().copied();
///     let text = info.message().map(str::to_owned);
///     lines.lock().unwrap().push((text, code, info.origin()));
/// });
/// saves.register(|path| panic!("{path} is full"));
/// saves.register(|_| std::panic::panic_any(28));
/// saves.notify("/tmp");
/// let expected = [(Some("/tmp is full".to_owned()), None), (None, Some(28))];
/// let expected = expected.map(|(text, code)| (text, code, PanicOrigin::Call));
/// assert_eq!(*log.lock().unwrap(), expected);
/// ```
pub struct PanicInfo<'a> {
    registrant: Registrant,
    name: Option<&'a str>,
    origin: PanicOrigin,
    payload: &'a (dyn Any + Send),
}

/// The kind of user code that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicOrigin {
    /// A call of the handler.
    Call,
    /// The destructor of a closure, of a future, of a recorded value, of the waker of a task, or of
    /// the payload of another panic.
    Destructor,
    /// The destructor of a callback of [`on_panic`](crate::Registry::on_panic) that was replaced or
    /// removed.
    Callback,
    /// The waker of a task that waits for an event, or for the handler to end.
    Waker,
}

impl<'a> PanicInfo<'a> {
    pub(crate) fn new(
        registrant: Registrant,
        name: Option<&'a str>,
        origin: PanicOrigin,
        payload: &'a (dyn Any + Send),
    ) -> Self {
        Self {
            registrant,
            name,
            origin,
            payload,
        }
    }

    /// Returns the id of the handler that panicked, or that owned the value whose destructor
    /// panicked; `None` if that was a [callback](PanicOrigin::Callback).
    #[must_use]
    pub fn handler_id(&self) -> Option<HandlerId> {
        self.registrant.id
    }

    /// Returns the [name](crate::RegisterOptions::name) that the handler was given; `None` if what
    /// panicked is the executor's [waker](PanicOrigin::Waker).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name
    }

    /// Returns where the handler was registered: the caller of the `register` method.
    ///
    /// For a [callback](PanicOrigin::Callback), this is the call that replaced it.
    #[must_use]
    pub fn registered_at(&self) -> &'static Location<'static> {
        self.registrant.location
    }

    /// Returns what kind of user code panicked.
    #[must_use]
    pub fn origin(&self) -> PanicOrigin {
        self.origin
    }

    /// Returns the payload of the panic.
    #[must_use]
    pub fn payload(&self) -> &(dyn Any + Send) {
        self.payload
    }

    /// Returns the message of a `panic!` with text; `None` for any other payload.
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
            .field("name", &self.name())
            .field("message", &self.message())
            .field("registered_at", &self.registered_at())
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

/// Runs `f`, which may be user code, and catches its panic.
///
/// Unwind safety is asserted: the library's own state is consistent while `f` runs, and state that
/// handlers share is the user's responsibility.
#[inline]
#[expect(clippy::disallowed_methods, reason = "the only user")]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Drops a payload. Returns what its destructor threw, if it panicked.
pub(crate) fn drop_payload(payload: Payload) -> Option<Payload> {
    catch(|| drop(payload)).err()
}

/// Counts and drops payloads that are not reported. A destructor that panics in turn counts as
/// another panic; its payload is leaked, because its destructor might panic as well, without end.
pub(crate) fn count_and_drop(thrown: impl IntoIterator<Item = Payload>, count: impl Fn()) {
    for payload in thrown {
        count();
        if let Some(second) = drop_payload(payload) {
            count();
            mem::forget(second);
        }
    }
}

/// Runs `f`, which may be user code, and counts its panic instead of reporting it.
#[cfg(any(feature = "tracing", feature = "metrics"))]
pub(crate) fn catch_and_count(f: impl FnOnce(), count: impl Fn()) {
    count_and_drop(catch(f).err(), count);
}

/// A user value whose destructor cannot unwind out of the library's.
pub(crate) struct DropGuarded<T>(Option<T>);

// It is only lent and dropped.
impl<T> UnwindSafe for DropGuarded<T> {}
impl<T> RefUnwindSafe for DropGuarded<T> {}

impl<T> DropGuarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Drops the value, and returns what its destructor threw.
    pub(crate) fn clear(&mut self) -> Result<(), Payload> {
        catch(|| self.0 = None)
    }
}

impl<T> Deref for DropGuarded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("cleared only before its end")
    }
}

/// Drops the value, if it was not cleared. There is nothing left that could count a panic.
impl<T> Drop for DropGuarded<T> {
    fn drop(&mut self) {
        count_and_drop(self.clear().err(), || {});
    }
}

/// A user value that is held while other user code runs. If that code panics, a second panic, of
/// the value's destructor, would abort the process: so it is caught then. Otherwise the value is
/// dropped like any other.
pub(crate) struct Held<T>(Option<T>);

impl<T> Held<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    #[cfg(feature = "async")]
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    #[cfg(feature = "async")]
    pub(crate) fn insert(&mut self, value: T) -> &T {
        self.0.insert(value)
    }

    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect("taken only here")
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken only at its end")
    }
}

impl<T> DerefMut for Held<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("taken only at its end")
    }
}

impl<T> Drop for Held<T> {
    #[inline]
    fn drop(&mut self) {
        if mem::needs_drop::<T>() && thread::panicking() {
            count_and_drop(catch(|| self.0 = None).err(), || {});
        }
    }
}

/// The handler that panicked, and where it was registered.
#[derive(Clone, Copy)]
pub(crate) struct Registrant {
    // `None` for a callback.
    pub(crate) id: Option<HandlerId>,
    pub(crate) location: &'static Location<'static>,
}
