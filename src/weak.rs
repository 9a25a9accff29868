//! [`WeakRegistry`]: a registry that may be gone.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

use crate::registry::Core;
use crate::{Flavor, Registry};

/// A reference to a registry that does not keep it.
///
/// For a handler that needs its own registry: one that owned a clone would keep it alive, and
/// the registry the handler. Used through its aliases
/// [`WeakSyncRegistry`](crate::WeakSyncRegistry) and `WeakAsyncRegistry`.
///
/// Of a topic, it never brings back one that has gone: what [`upgrade`](Self::upgrade) returns is
/// the registry that its key leads to, for as long as it is kept. A topic that is made for the
/// same key later is another one, and this refers to none from then on.
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
    /// Returns a reference to this registry that does not keep it, nor the topic if it is one.
    #[must_use]
    pub fn downgrade(&self) -> WeakRegistry<F, E> {
        WeakRegistry {
            core: Arc::downgrade(self.core()),
        }
    }
}

impl<F: Flavor<E>, E: ?Sized> WeakRegistry<F, E> {
    /// Returns the registry, unless it is gone: the last clone was dropped, or, of a topic, the
    /// last handle and the last handler.
    ///
    /// Takes no lock.
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

// As the registry itself.
impl<F: Flavor<E>, E: ?Sized> UnwindSafe for WeakRegistry<F, E> {}
impl<F: Flavor<E>, E: ?Sized> RefUnwindSafe for WeakRegistry<F, E> {}

impl<F: Flavor<E>, E: ?Sized> fmt::Debug for WeakRegistry<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakRegistry").finish_non_exhaustive()
    }
}
