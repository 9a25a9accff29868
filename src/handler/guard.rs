//! [`HandlerGuard`] and [`Paused`]: registrations and pauses that end with a guard.

use std::fmt;

use crate::handler::registration::Registration;
use crate::report::id::HandlerId;

/// A guard that removes its handler when dropped.
///
/// One type serves registries and topics of every flavor and event type, so a component can keep
/// all its guards in one `Vec`. A guard does not keep the registry alive; once the registry is
/// gone, dropping the guard does nothing.
///
/// Dropping it has the same guarantee as [`unregister`](crate::Registry::unregister): no dispatch
/// starts the handler afterwards. The drop does not panic, not even while the thread unwinds; but
/// it owns the topic for a moment, and more than 2^30 owners panic.
///
/// Each drop is a change of its own. To drop the guards of many handlers of one topic, remove the
/// handlers at once before, by [`update`](crate::Registry::update) or
/// [`clear`](crate::Registry::clear): see the [guide](crate::guide#guards-and-removal).
///
/// ```
/// use topic_registry::{HandlerGuard, SyncRegistry, TopicRegistry};
///
/// struct Cache {
///     _guards: Vec<HandlerGuard>,
/// }
///
/// let reloads = SyncRegistry::<str>::new();
/// let users = TopicRegistry::<u64, str>::new();
/// let cache = Cache {
///     _guards: vec![
///         reloads.register_guard(|path| println!("{path} changed")),
///         users.register_guard(7u64, |name| println!("user 7 is now {name}")),
///     ],
/// };
/// drop(cache);
/// assert!(reloads.is_empty() && users.is_empty());
/// ```
#[must_use = "dropping it removes the handler at once: bind it, `let _guard = ...`"]
pub struct HandlerGuard {
    registration: Registration,
}

impl HandlerGuard {
    pub(crate) fn new(registration: Registration) -> Self {
        Self { registration }
    }

    /// Returns the handler's id.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let guard = saves.register_guard(|path| println!("{path} was saved"));
    /// assert!(saves.contains(guard.id()));
    /// ```
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.registration.id
    }

    /// Removes the handler now, as dropping the guard does. Returns whether this call removed it.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let guard = saves.register_guard(|path| println!("{path} was saved"));
    /// assert!(guard.remove());
    /// assert!(saves.is_empty() && !guard.remove());
    /// ```
    pub fn remove(&self) -> bool {
        self.registration.remove()
    }

    /// Pauses the handler, as [`Registry::pause`](crate::Registry::pause) does. Returns `None` if
    /// it is not registered any more.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let guard = saves.register_guard(|path| println!("{path} was saved"));
    /// let paused = guard.pause();
    /// assert_eq!(saves.notify("one.toml").called(), 0);
    /// drop(paused);
    /// assert_eq!(saves.notify("two.toml").called(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If the handler is already paused 32,767 times.
    #[must_use = "dropping it resumes the handler at once: bind it, `let paused = ...`"]
    pub fn pause(&self) -> Option<Paused> {
        Paused::new(self.registration.clone())
    }

    /// Keeps the handler registered until it is removed in some other way, for example by its id.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.register_guard(|path| println!("{path} was saved")).forget();
    /// assert!(saves.unregister(id));
    /// ```
    pub fn forget(mut self) -> HandlerId {
        self.registration.registry = None;
        self.id()
    }
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        self.remove();
    }
}

impl fmt::Debug for HandlerGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandlerGuard").field(&self.id()).finish()
    }
}

/// A guard that keeps a handler paused until dropped; see
/// [`Registry::pause`](crate::Registry::pause).
///
/// A handler runs again when the last of its pauses is dropped. A `Paused` does not keep the
/// registry alive.
#[must_use = "dropping it resumes the handler at once: bind it, `let paused = ...`"]
pub struct Paused {
    registration: Registration,
}

impl Paused {
    /// Pauses a handler, if it is registered.
    pub(crate) fn new(registration: Registration) -> Option<Self> {
        registration.pause().then_some(Self { registration })
    }

    /// Returns the handler's id.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.registration.id
    }

    /// Keeps the handler paused for as long as it is registered.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.register(|path| println!("{path} was saved"));
    /// saves.pause(id).expect("it is registered").forget();
    /// assert_eq!(saves.notify("app.toml").called(), 0);
    /// assert!(saves.handlers()[0].paused);
    /// ```
    pub fn forget(mut self) -> HandlerId {
        self.registration.registry = None;
        self.id()
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.registration.resume();
    }
}

impl fmt::Debug for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paused").field(&self.id()).finish()
    }
}
