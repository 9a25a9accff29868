//! [`Pinned`]: a producer that caches the list of handlers.

use std::borrow::Borrow;
use std::fmt;

use super::inline::{dispatch, dispatch_created};
use super::sync::share;
use crate::flavor::sync::{SyncFlavor, SyncRegistry, TopicHandle};
use crate::handler::delivery::Delivery;
use crate::snapshot::cell::CachedList;
use crate::topics::table::Key;

/// A [`SyncRegistry`] with its handlers as of the last call, for a producer that notifies in a
/// tight loop. See the [guide](crate::guide#handles-and-pins).
///
/// One relaxed load tells it whether the handlers have changed, and only then does it load them. So
/// it sees every change that happened before the call, as [`notify`](SyncRegistry::notify) does,
/// but it is not ordered with anything else.
///
/// An idle pin keeps alive the closures that were removed since its last call, and what they own.
/// They are not called any more. [`refresh`](Self::refresh) releases them.
///
/// ```
/// use topic_registry::SyncRegistry;
///
/// let ticks = SyncRegistry::<u64>::new();
/// ticks.register(|n| println!("{n}"));
/// let mut pinned = ticks.pin();
/// for n in 0..3 {
///     pinned.notify(&n);
/// }
/// ```
pub struct Pinned<E: ?Sized + 'static> {
    list: CachedList<SyncRegistry<E>>,
}

impl<E: ?Sized> SyncRegistry<E> {
    /// Returns an even faster way to notify, for a producer in a tight loop: each thread creates
    /// its own pin. It keeps the registry alive, or the topic if it is one, as a handle does.
    #[must_use]
    pub fn pin(&self) -> Pinned<E> {
        Pinned {
            list: CachedList::new(self.clone()),
        }
    }
}

impl<K: Key, E: ?Sized> TopicHandle<K, E> {
    /// Returns an even faster way to notify, for a thread in a tight loop: [`SyncRegistry::pin`].
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, u64>::new();
    /// topics.register("tick", |n| println!("{n}"));
    /// let mut ticks = topics.handle("tick").pin();
    /// for n in 0..3 {
    ///     ticks.notify(&n);
    /// }
    /// ```
    #[must_use]
    pub fn pin(&self) -> Pinned<E> {
        SyncRegistry::pin(self)
    }
}

impl<E: ?Sized> Pinned<E> {
    /// Notifies, as [`SyncRegistry::notify`] does, at about the cost of a loop over a `Vec` of
    /// closures.
    ///
    /// If the handlers have changed since the last call, it also drops the previous list, with the
    /// closures that nothing else holds.
    #[inline]
    pub fn notify(&mut self, event: &E) -> Delivery {
        self.list.load().map_or_else(Delivery::default, |list| {
            dispatch::<SyncFlavor, E>(list, event)
        })
    }

    /// Notifies, as [`notify`](Self::notify) does, with an event that is created only if there are
    /// handlers.
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    #[inline]
    pub fn notify_with<T: Borrow<E>>(&mut self, event: impl FnOnce() -> T) -> Delivery {
        self.list.load().map_or_else(Delivery::default, |list| {
            dispatch_created::<SyncFlavor, E, T>(list, event(), share)
        })
    }

    /// Releases closures that were removed since the last call.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use topic_registry::SyncRegistry;
    ///
    /// let (ticks, owned) = (SyncRegistry::<u64>::new(), Arc::new(()));
    /// let mut pinned = ticks.pin();
    /// let in_closure = Arc::clone(&owned);
    /// let guard = ticks.register_guard(move |_| _ = &in_closure);
    /// pinned.notify(&1);
    /// drop(guard);
    /// assert_eq!(Arc::strong_count(&owned), 2, "the pin still holds the closure");
    /// pinned.refresh();
    /// assert_eq!(Arc::strong_count(&owned), 1);
    /// ```
    pub fn refresh(&mut self) {
        self.list.load();
    }
}

impl<E: ?Sized> fmt::Debug for Pinned<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
}
