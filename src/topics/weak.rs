//! [`WeakTopics`]: a weak reference to topics.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::handler::flavor::Flavor;
use crate::topics::map::Map;
use crate::topics::{Key, Topics};

/// A weak reference to topics, which does not keep them alive.
///
/// For a handler or a callback that needs the topics it belongs to. Used through its aliases
/// [`WeakTopicRegistry`](crate::WeakTopicRegistry),
/// [`WeakHookTopicRegistry`](crate::WeakHookTopicRegistry) and `WeakAsyncTopicRegistry`.
///
/// ```
/// use topic_registry::TopicRegistry;
///
/// let topics = TopicRegistry::<String, str>::new();
/// let weak = topics.downgrade();
/// topics.register("saved", move |path| {
///     if let Some(topics) = weak.upgrade() {
///         topics.notify("index", path);
///     }
/// });
/// assert_eq!(topics.notify("saved", "app.toml").called(), 1);
/// ```
pub struct WeakTopics<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    map: Weak<Map<F, K, E>>,
}

impl<F: Flavor<E>, K: Key, E: ?Sized + 'static> Topics<F, K, E> {
    /// Returns a weak reference to these topics, which does not keep them alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakTopics<F, K, E> {
        WeakTopics {
            map: Arc::downgrade(&self.map),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> WeakTopics<F, K, E> {
    /// Returns the topics, unless the last clone was dropped, or is being dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Topics<F, K, E>> {
        let map = self.map.upgrade()?;
        map.add_user().then(|| Topics { map })
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Clone for WeakTopics<F, K, E> {
    fn clone(&self) -> Self {
        Self {
            map: Weak::clone(&self.map),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> fmt::Debug for WeakTopics<F, K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(&format!("Weak{}TopicRegistry", F::TOPIC_PREFIX))
            .finish_non_exhaustive()
    }
}
