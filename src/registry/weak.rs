//! [`WeakRegistry`]: a weak reference to a registry.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::handler::flavor::Flavor;
use crate::registry::{Core, Registry};

/// A weak reference to a registry, which does not keep it alive.
///
/// For a handler that needs its own registry: if the handler owned a clone, the two would keep each
/// other alive. See the [guide](crate::guide#re-entrancy). Used through its aliases
/// [`WeakSyncRegistry`](crate::WeakSyncRegistry),
/// [`WeakHookRegistry`](crate::WeakHookRegistry) and `WeakAsyncRegistry`.
///
/// It never revives a topic that was removed: the registry that [`upgrade`](Self::upgrade) returns
/// is the one that the topic's key leads to, for as long as that registry is kept. A topic that is
/// created for the same key later is a different one, and the weak reference stays empty.
///
/// ```
/// use topic_registry::SyncRegistry;
///
/// let jobs = SyncRegistry::<u32>::new();
/// let weak = jobs.downgrade();
/// jobs.register(move |retries| {
///     if let Some(jobs) = weak.upgrade().filter(|_| *retries > 0) {
///         jobs.notify(&(retries - 1));
///     }
/// });
/// jobs.notify(&3);
/// ```
pub struct WeakRegistry<F: Flavor<E>, E: ?Sized + 'static> {
    core: Weak<Core<F, E>>,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Returns a weak reference to this registry, which keeps neither the registry nor, if it is
    /// one, the topic.
    #[must_use]
    pub fn downgrade(&self) -> WeakRegistry<F, E> {
        WeakRegistry {
            core: Arc::downgrade(self.core()),
        }
    }
}

impl<F: Flavor<E>, E: ?Sized> WeakRegistry<F, E> {
    /// Returns the registry, unless it is gone: its last clone was dropped or, for a topic, its
    /// last handle and its last handler are gone. While a guard of a handler is being dropped, the
    /// guard counts as a clone.
    ///
    /// A `register_once` handler is removed before its call. If it was the last handler of a topic
    /// without a handle, the topic is gone by then: such a handler needs a handle that somebody
    /// keeps, or a [`WeakTopics`](crate::WeakTopics).
    ///
    /// Takes no lock.
    ///
    /// # Panics
    ///
    /// If the registry has 2^30 owners.
    #[must_use]
    pub fn upgrade(&self) -> Option<Registry<F, E>> {
        Registry::of_live(self.core.upgrade()?)
    }
}

impl<F: Flavor<E>, E: ?Sized> Clone for WeakRegistry<F, E> {
    fn clone(&self) -> Self {
        Self {
            core: Weak::clone(&self.core),
        }
    }
}

impl<F: Flavor<E>, E: ?Sized> fmt::Debug for WeakRegistry<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(&format!("Weak{}Registry", F::REGISTRY_PREFIX))
            .finish_non_exhaustive()
    }
}
