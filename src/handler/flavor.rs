//! [`Flavor`]: what a handler is, and how it is passed the event.

use crate::handler::counted::Counted;
use crate::handler::delivery::Outcome;
use crate::handler::wrapped::Wrapped;
use crate::handler::{Handler, Header};

/// The kind of a registry's handlers; sealed.
pub trait Flavor<E: ?Sized>: for<'a, 'e> Passes<'a, 'e, E> + Sized + 'static {
    /// How the aliases of its registries begin; for `Debug`.
    #[doc(hidden)]
    const REGISTRY_PREFIX: &'static str;

    /// How the aliases of its topics begin; for `Debug`.
    #[doc(hidden)]
    const TOPIC_PREFIX: &'static str;

    /// A registered handler.
    #[doc(hidden)]
    type Handler: Handler + ?Sized;

    /// Makes a handler whose call does all its work before it returns. The call receives the header
    /// of its own handler.
    #[doc(hidden)]
    fn inline<C>(header: Header, call: C) -> HandlerArc<Self, E>
    where
        C: Fn(EventRef<'_, '_, Self, E>, &Header) -> Outcome + Send + Sync + 'static;

    /// Makes a handler around another one.
    #[doc(hidden)]
    fn wrap(wrapped: Wrapped<Self::Handler>) -> HandlerArc<Self, E>;
}

/// The way in which a flavor passes an event to a handler; sealed.
///
/// It is not an associated type of [`Flavor`] with two lifetimes: `&'a mut Event<'e>` is a type
/// only if `'e` outlives `'a`, and the bound of a closure, which is for all lifetimes, cannot say
/// so. The type of the last parameter says it.
pub trait Passes<'a, 'e, E: ?Sized, Outlives = &'a &'e ()> {
    /// What a handler is called with.
    type Event;
}

/// What a handler is called with: `&'a E`, or if it is a hook, `&'a mut E::Event<'e>`.
pub(crate) type EventRef<'a, 'e, F, E> = <F as Passes<'a, 'e, E>>::Event;

/// A flavor whose handlers share the event, as `&E`: sync or async; sealed.
pub trait SharedFlavor<E: ?Sized>:
    Flavor<E> + Shares + for<'a, 'e> Passes<'a, 'e, E, Event = &'a E>
{
}

/// A handler of a flavor, shared by the lists that contain it.
pub(crate) type HandlerArc<F, E> = Counted<<F as Flavor<E>>::Handler>;

/// A supertrait without parameters, so that the compiler knows that hooks do not have it.
pub trait Shares {}
