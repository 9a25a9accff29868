//! [`Flavor`]: what a handler is, sync or async.
#![allow(
    private_bounds,
    private_interfaces,
    reason = "the traits are sealed: outside the crate nobody can name what is in them"
)]

#[cfg(feature = "async")]
pub(crate) mod future;
pub(crate) mod pin;
#[cfg(feature = "async")]
mod poll;
pub(crate) mod sync;

use crate::counted::Counted;
use crate::delivery::Outcome;
use crate::handler::{Handler, Header};
use crate::join::Gateway;
use crate::wrapper::{Wrapped, Wrapper};

/// The kind of a registry's handlers; sealed.
pub trait Flavor<E: ?Sized>: sealed::Sealed + Sized + 'static {
    /// A registered handler.
    #[doc(hidden)]
    type Handler: Handler + ?Sized;

    /// The guard of a [joinable](crate::RegisterOptions::joinable) registration.
    type JoinGuard: From<Gateway>;

    /// Makes a handler whose call does all its work before it returns. The call receives the header
    /// of its own handler.
    #[doc(hidden)]
    fn inline<C>(header: Header, call: C) -> HandlerArc<Self, E>
    where
        C: Fn(&E, &Header) -> Outcome + Send + Sync + 'static;

    /// Makes a handler whose calls are made by a wrapper.
    #[doc(hidden)]
    fn wrap<W>(wrapped: Wrapped<W>) -> HandlerArc<Self, E>
    where
        W: Wrapper<Handler = Self::Handler>;
}

/// A handler of a flavor, shared by the lists that contain it.
pub(crate) type HandlerArc<F, E> = Counted<<F as Flavor<E>>::Handler>;

pub(crate) mod sealed {
    /// A supertrait that other crates cannot implement.
    pub trait Sealed {}
}
