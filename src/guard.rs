//! [`HandlerGuard`] and [`Paused`]: registrations, and pauses, that end with their owner.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

use crate::HandlerId;

/// Removes its handler when it is dropped.
///
/// One type for registries and topics of every flavor and every event, so that a
/// component keeps all of its guards in one `Vec`. It does not keep the registry
/// alive; once the registry is gone, dropping the guard does nothing.
///
/// Dropping it gives what [`unregister`](crate::Registry::unregister) gives: no dispatch
/// starts the handler afterwards. It does not panic, not even while the thread
/// unwinds; but it owns the topic for a moment, and more than 2^30 owners panic.
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
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.registration.id
    }

    /// Removes the handler, as dropping the guard does.
    pub(crate) fn remove(&self) {
        self.registration.remove();
    }

    /// Leaves the handler registered, until it is removed by its id or otherwise.
    pub fn forget(mut self) -> HandlerId {
        self.registration.registry = None;
        self.id()
    }
}

// It is a weak share and an id, whatever a panic leaves behind.
impl UnwindSafe for HandlerGuard {}
impl RefUnwindSafe for HandlerGuard {}

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

/// Keeps a handler paused as long as it lives; see [`Registry::pause`](crate::Registry::pause).
///
/// A handler runs again when the last of its pauses is dropped. It does not keep the registry alive.
#[must_use = "dropping it resumes the handler at once: bind it, `let paused = ...`"]
pub struct Paused {
    id: HandlerId,
    registry: Weak<dyn Resume>,
}

impl Paused {
    pub(crate) fn new(id: HandlerId, registry: Weak<dyn Resume>) -> Self {
        Self { id, registry }
    }

    /// Returns the handler's id.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.id
    }
}

// As a guard.
impl UnwindSafe for Paused {}
impl RefUnwindSafe for Paused {}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.resume(self.id);
        }
    }
}

impl fmt::Debug for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paused").field(&self.id()).finish()
    }
}

/// A handler and the registry that it is in, or an observer and the topics that it observes, of whatever
/// type.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) id: HandlerId,
    // `None` in a guard that was forgotten.
    pub(crate) registry: Option<Weak<dyn Remove>>,
}

/// What a registration points at.
pub(crate) trait Remove: Send + Sync {
    /// Removes the handler, and the topic if it was the last, or the observer; takes the caller's
    /// share, because a topic stays as long as somebody owns it.
    fn remove(self: Arc<Self>, id: HandlerId) -> bool;
}

/// Where a paused handler is.
pub(crate) trait Resume: Send + Sync {
    /// Takes one pause of the handler back.
    fn resume(self: Arc<Self>, id: HandlerId);
}

impl Registration {
    /// Removes the handler. Returns whether this call removed it.
    pub(crate) fn remove(&self) -> bool {
        let registry = self.registry.as_ref().and_then(Weak::upgrade);
        registry.is_some_and(|registry| registry.remove(self.id))
    }
}
