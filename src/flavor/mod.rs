//! [`Flavor`]: what a handler is, sync or async.

#[cfg(feature = "async")]
pub(crate) mod future;
pub(crate) mod pin;
#[cfg(feature = "async")]
mod poll;
pub(crate) mod sync;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::Registry;
use crate::handler::{Handler, Header};

/// What a handler is; sealed.
pub trait Flavor<E: ?Sized>: sealed::Sealed + Sized + 'static {
    /// A registered handler.
    #[doc(hidden)]
    type Handler: Handler + ?Sized;

    /// What stands for a [joinable](crate::RegisterOptions::joinable) registration.
    type JoinGuard;

    /// A handler that may stop the dispatch.
    #[doc(hidden)]
    #[allow(
        private_interfaces,
        reason = "sealed: outside the crate nobody can name it"
    )]
    fn interceptor<I>(header: Header, interceptor: I) -> Arc<Self::Handler>
    where
        I: Fn(&E) -> ControlFlow<()> + Send + Sync + 'static;

    /// Adds a handler whose calls go through a gate.
    #[doc(hidden)]
    fn add_joinable(registry: &Registry<Self, E>, handler: Arc<Self::Handler>) -> Self::JoinGuard
    where
        E: 'static;
}

/// A handler of a flavor, shared by the lists that it is in.
pub(crate) type HandlerArc<F, E> = Arc<<F as Flavor<E>>::Handler>;

pub(crate) mod sealed {
    /// Nobody else can be a flavor.
    pub trait Sealed {}
}
