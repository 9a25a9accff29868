//! Contains panics of user code: catches them, drops their payloads, and describes them. The only
//! user of `catch_unwind`.
//!
//! User code is every handler and callback, and the destructor of every user value: closures,
//! futures, keys, and the payloads of panics. Any of them may panic, re-enter the library, or drop
//! the last owner of anything.

use std::any::Any;
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use crate::HandlerId;

/// The payload of a panic.
pub(crate) type Payload = Box<dyn Any + Send>;

/// A caught panic, as passed to an `on_panic` callback.
pub struct PanicInfo<'a> {
    registrant: Registrant,
    origin: PanicOrigin,
    payload: &'a (dyn Any + Send),
}

/// The kind of user code that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicOrigin {
    /// A call of the handler.
    Call,
    /// The destructor of a closure, of a future, of a replaced callback, or of the payload of
    /// another panic.
    Destructor,
}

impl<'a> PanicInfo<'a> {
    pub(crate) fn new(
        registrant: Registrant,
        origin: PanicOrigin,
        payload: &'a (dyn Any + Send),
    ) -> Self {
        Self {
            registrant,
            origin,
            payload,
        }
    }

    /// Returns the id of the handler that panicked, or that owned the value whose destructor
    /// panicked.
    ///
    /// For the destructor of a replaced callback, the id belongs to no handler.
    #[must_use]
    pub fn handler_id(&self) -> HandlerId {
        self.registrant.id
    }

    /// Returns where the handler was registered: the caller of the `register` method.
    ///
    /// For the destructor of a replaced callback, this is the call that replaced it.
    #[must_use]
    pub fn registered_at(&self) -> &'static Location<'static> {
        self.registrant.location
    }

    /// Returns whether a call or a destructor panicked.
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

/// Drops a payload that is not reported. What its destructor throws is leaked: the destructor of
/// that payload could throw in turn, without end.
fn drop_payload_silently(payload: Payload) {
    mem::forget(drop_payload(payload));
}

/// Counts and drops payloads that callbacks threw, which cannot be reported.
pub(crate) fn count_and_drop(thrown: impl IntoIterator<Item = Payload>, count: impl Fn()) {
    for payload in thrown {
        count();
        drop_payload_silently(payload);
    }
}

/// Runs `f`, which may be user code, and discards its panic.
pub(crate) fn catch_and_discard(f: impl FnOnce()) {
    if let Err(payload) = catch(f) {
        drop_payload_silently(payload);
    }
}

/// A user value whose destructor cannot unwind out of the library's.
pub(crate) struct DropGuarded<T>(Option<T>);

impl<T> DropGuarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Deref for DropGuarded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("taken only by its own destructor")
    }
}

impl<T> Drop for DropGuarded<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        catch_and_discard(|| drop(value));
    }
}

/// The handler that panicked, and where it was registered.
#[derive(Clone, Copy)]
pub(crate) struct Registrant {
    pub(crate) id: HandlerId,
    pub(crate) location: &'static Location<'static>,
}
