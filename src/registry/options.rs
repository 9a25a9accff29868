//! [`RegisterOptions`]: the priority and the name of a registration, and what it returns.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::Location;
use std::sync::{Arc, Weak};

use crate::handler::delivery::Outcome;
use crate::handler::flavor::{EventRef, Flavor, HandlerArc, SharedFlavor};
use crate::handler::guard::HandlerGuard;
use crate::handler::room::Room;
use crate::handler::wrapped::{Around, Wrapped};
use crate::handler::{Handler, Header, stopwatch};
use crate::join::JoinGuard;
use crate::registry::Registry;
use crate::registry::batch::Batch;
use crate::report::id::HandlerId;

/// Options for registering a handler: first the options, then one call that takes the closure.
///
/// Returned by [`Registry::options`] (so also by `handle.options()`), by
/// [`Topics::options`](crate::Topics::options) and by [`Batch::options`]. See the
/// [guide](crate::guide#priorities).
///
/// | after | a `register...` call returns |
/// |---|---|
/// | nothing, [`priority`](Self::priority), or [`name`](Self::name) | a [`HandlerId`] |
/// | [`guard`](Self::guard) | a [`HandlerGuard`], which removes the handler when it is dropped |
/// | [`joinable`](Self::joinable) | a [`JoinGuard`](crate::JoinGuard), which can also be joined |
///
/// The default priority is 0. The order of the options makes no difference. Of two priorities or
/// names, the last one counts.
///
/// ```
/// use topic_registry::TopicRegistry;
///
/// let files = TopicRegistry::<String, str>::new();
/// let saved = files.handle("saved");
/// let _guard = saved.options().priority(10).guard().register(|path| println!("first: {path}"));
/// let once = saved.options().priority(-1).register_once(|path| println!("last: {path}"));
///
/// assert_eq!(saved.notify("app.toml").called(), 2);
/// assert!(!saved.contains(once));
/// ```
///
/// A batch is published after its closure has returned, so a guard could be dropped or joined
/// before its handler exists. Therefore a batch has neither option.
///
/// ```compile_fail,E0599
/// use topic_registry::SyncRegistry;
///
/// let saves = SyncRegistry::<str>::new();
/// saves.update(|batch| batch.options().guard().register(|path| println!("{path}")));
/// ```
///
/// Create the guard from the id, after the batch:
///
/// ```
/// use topic_registry::SyncRegistry;
///
/// let saves = SyncRegistry::<str>::new();
/// let id = saves.update(|batch| batch.options().priority(1).register(|path| println!("{path}")));
/// let _guard = saves.guard(id);
/// ```
#[must_use = "options register nothing: end with a `register...` call"]
pub struct RegisterOptions<'r, F, E, R = PhantomData<HandlerId>>
where
    F: Flavor<E>,
    E: ?Sized + 'static,
{
    // Owned where the topic was found by its key.
    pub(crate) registry: Cow<'r, Registry<F, E>>,
    priority: i32,
    name: Option<Arc<str>>,
    returns: R,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Returns options for a registration: a priority, a name, a guard, or a guard that can be
    /// joined.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let _guard = saves.options().priority(10).guard().register(|path| println!("{path}"));
    /// ```
    pub fn options(&self) -> RegisterOptions<'_, F, E> {
        RegisterOptions::new(Cow::Borrowed(self), PhantomData)
    }
}

impl<'r, F: Flavor<E>, E: ?Sized + 'static> Batch<'r, F, E> {
    /// Returns options for a registration in this batch: a priority, a name.
    pub fn options<'b>(&'b mut self) -> RegisterOptions<'r, F, E, &'b mut Batch<'r, F, E>> {
        RegisterOptions::new(Cow::Borrowed(self.registry), self)
    }
}

impl<'r, F: Flavor<E>, E: ?Sized + 'static> RegisterOptions<'r, F, E> {
    /// Makes the registration return a guard, which removes the handler when it is dropped.
    pub fn guard(self) -> RegisterOptions<'r, F, E, PhantomData<HandlerGuard>> {
        self.returning()
    }

    /// Makes the registration return a guard that can also wait until no call of the handler is
    /// running and its closure has been dropped. See [`JoinGuard`](crate::JoinGuard), also for the
    /// cost.
    pub fn joinable(self) -> RegisterOptions<'r, F, E, PhantomData<JoinGuard>> {
        self.returning()
    }

    fn returning<T>(self) -> RegisterOptions<'r, F, E, PhantomData<T>> {
        RegisterOptions {
            priority: self.priority,
            name: self.name,
            ..RegisterOptions::new(self.registry, PhantomData)
        }
    }
}

impl<'r, F: Flavor<E>, E: ?Sized + 'static, R> RegisterOptions<'r, F, E, R> {
    pub(crate) fn new(registry: Cow<'r, Registry<F, E>>, returns: R) -> Self {
        Self {
            registry,
            priority: 0,
            name: None,
            returns,
        }
    }
}

impl<F: Flavor<E>, E: ?Sized + 'static, R: Returns<F, E>> RegisterOptions<'_, F, E, R> {
    /// Sets the priority. Handlers with a higher priority run first; handlers with the same
    /// priority run in the order of their registration.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Gives the handler a name, for people: [`handlers`](Registry::handlers),
    /// [`PanicInfo`](crate::PanicInfo), reports of slow calls, and events of `tracing` show it. For
    /// a host, for example, all of whose plugins are registered by one line.
    ///
    /// Names need not be unique. An empty name is no name. A handler with a name takes one more
    /// allocation, of 80 bytes and the name; others pay nothing.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// saves.on_panic(|info| eprintln!("{} panicked", info.name().unwrap_or("a handler")));
    /// saves.options().name("spell checker").register(|path| assert!(path.is_ascii()));
    /// assert_eq!(saves.handlers()[0].name.as_deref(), Some("spell checker"));
    /// assert_eq!(saves.notify("naïve.txt").panicked(), 1);
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Makes the header of a handler, for the caller to register.
    #[track_caller]
    pub(crate) fn header(&self) -> Header {
        let id = HandlerId::next(self.priority);
        Header::new(
            id,
            Location::caller(),
            self.registry.scope(),
            self.name.clone(),
        )
    }

    pub(crate) fn add(self, handler: HandlerArc<F, E>) -> R::Registered {
        self.returns.add(&self.registry, handler)
    }

    /// Adds a handler that can stop the dispatch.
    #[track_caller]
    pub(crate) fn add_interceptor<C>(self, interceptor: C) -> R::Registered
    where
        C: Fn(EventRef<'_, '_, F, E>) -> ControlFlow<()> + Send + Sync + 'static,
    {
        let header = self.header().interceptor();
        let outcome = |flow| match flow {
            ControlFlow::Continue(()) => Outcome::Called,
            ControlFlow::Break(()) => Outcome::Stopped,
        };
        self.add(stopwatch::inline::<F, E, _>(header, interceptor, outcome))
    }
}

impl<F: SharedFlavor<E>, E: ?Sized + 'static, R: Returns<F, E>> RegisterOptions<'_, F, E, R> {
    /// Registers a handler that can stop the dispatch that calls it: after it has returned `Break`,
    /// the dispatch calls no other handler, and [`Delivery::stopped`](crate::Delivery::stopped)
    /// returns true. See the [guide](crate::guide#stopping-a-dispatch) and [transaction hooks with
    /// a veto](crate::patterns#transaction-hooks-with-a-veto).
    ///
    /// An interceptor runs in order of priority like any other handler. The exception is a
    /// concurrent async dispatch, where no handler waits for another: there, all interceptors run
    /// first, in their order. An interceptor that panics also stops the dispatch: a veto that fails
    /// must not let through what it was there to stop. [`Delivery`](crate::Delivery) then shows
    /// both, `stopped` and `panicked`. To pass on why it stopped, give the event a
    /// [`Cell`](std::cell::Cell) for the reason.
    ///
    /// In all other respects it is an ordinary handler: it is counted, listed and removed like any
    /// other. Dispatches without interceptors pay nothing.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use topic_registry::SyncRegistry;
    ///
    /// let keys = SyncRegistry::<char>::new();
    /// keys.register(|key| println!("{key}"));
    /// keys.options().priority(10).register_interceptor(|key| match key {
    ///     'q' => ControlFlow::Break(()),
    ///     _ => ControlFlow::Continue(()),
    /// });
    /// assert!(!keys.notify(&'a').stopped());
    /// assert!(keys.notify(&'q').stopped());
    /// ```
    #[track_caller]
    pub fn register_interceptor<I>(self, interceptor: I) -> R::Registered
    where
        I: Fn(&E) -> ControlFlow<()> + Send + Sync + 'static,
    {
        self.add_interceptor(interceptor)
    }
}

impl<F: Flavor<E>, E: ?Sized, R> fmt::Debug for RegisterOptions<'_, F, E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterOptions")
            .field("priority", &self.priority)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a registration returns, and the way in which it adds its handler; sealed.
///
/// It is implemented for `PhantomData` of what is returned: of [`HandlerId`], [`HandlerGuard`] and
/// [`JoinGuard`]. For `&mut Batch`, it adds the handler to the batch, and returns the id.
pub trait Returns<F: Flavor<E>, E: ?Sized + 'static> {
    /// The returned type: an id or a guard.
    type Registered;

    #[doc(hidden)]
    fn add(self, registry: &Registry<F, E>, handler: HandlerArc<F, E>) -> Self::Registered;
}

impl<F: Flavor<E>, E: ?Sized + 'static> Returns<F, E> for PhantomData<HandlerId> {
    type Registered = HandlerId;

    fn add(self, registry: &Registry<F, E>, handler: HandlerArc<F, E>) -> HandlerId {
        registry.add(handler)
    }
}

impl<F: Flavor<E>, E: ?Sized + 'static> Returns<F, E> for PhantomData<HandlerGuard> {
    type Registered = HandlerGuard;

    fn add(self, registry: &Registry<F, E>, handler: HandlerArc<F, E>) -> HandlerGuard {
        registry.guard(registry.add(handler))
    }
}

impl<F: Flavor<E>, E: ?Sized + 'static> Returns<F, E> for PhantomData<JoinGuard> {
    type Registered = JoinGuard;

    fn add(self, registry: &Registry<F, E>, handler: HandlerArc<F, E>) -> JoinGuard {
        let header = handler.header().duplicate();
        let room = Arc::new(Room::new(handler));
        let weak: Weak<Room<F::Handler>> = Arc::downgrade(&room);
        let id = registry.add(F::wrap(Wrapped::new(header, Around::Room(room))));
        JoinGuard::new(registry.guard(id), weak)
    }
}

impl<F: Flavor<E>, E: ?Sized> Returns<F, E> for &mut Batch<'_, F, E> {
    type Registered = HandlerId;

    fn add(self, _: &Registry<F, E>, handler: HandlerArc<F, E>) -> HandlerId {
        Batch::add(self, handler)
    }
}
