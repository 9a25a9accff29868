//! [`Builder`]: topics with a name.

use std::fmt;
use std::marker::PhantomData;

use crate::telemetry::{FmtKey, Telemetry};
use crate::{Flavor, Key, Topics};

/// Makes [`Topics`] that logs and metrics know by name.
///
/// ```
/// use topic_registry::TopicRegistry;
///
/// let bus: TopicRegistry<u64, str> = TopicRegistry::builder().name("bus").debug_keys().build();
/// # let _ = bus;
/// ```
pub struct Builder<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    name: Option<Box<str>>,
    show: Option<FmtKey<K>>,
    build: PhantomData<Build<F, K, E>>,
}

type Build<F, K, E> = fn() -> Topics<F, K, E>;

impl<F: Flavor<E>, K: Key, E: ?Sized> Builder<F, K, E> {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            show: None,
            build: PhantomData,
        }
    }

    /// The name that events bear as the field `registry`, and metrics as the label `registry`.
    /// Without a name there are no metrics. The metrics go to the recorder that is installed
    /// when the topics are made. It must not notify anything whose handlers panic.
    ///
    /// # Panics
    ///
    /// If it is empty.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        assert!(!name.is_empty(), "the name of a topic registry is empty");
        self.name = Some(name.into());
        self
    }

    /// Shows keys in events by their `Debug`. Otherwise `String` and `&'static str` are shown,
    /// and other keys are not.
    #[must_use]
    pub fn debug_keys(mut self) -> Self
    where
        K: fmt::Debug,
    {
        self.show = Some(K::fmt);
        self
    }

    /// Makes them.
    #[must_use]
    pub fn build(self) -> Topics<F, K, E> {
        Topics::with(Telemetry::new(self.name, self.show))
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> fmt::Debug for Builder<F, K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).finish_non_exhaustive()
    }
}
