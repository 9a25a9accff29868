//! [`TopicsBuilder`]: topics with a name, with reports of slow handlers, or with counts of calls.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::handler::flavor::Flavor;
use crate::report::id::HandlerInfo;
use crate::report::panic::DropGuarded;
use crate::telemetry::{FmtKey, Telemetry};
use crate::topics::map::Slow;
use crate::topics::{Key, Topics};

/// A builder of [`Topics`] that have a name in logs and metrics, whose slow handlers are reported,
/// or whose calls are counted.
///
/// ```
/// use topic_registry::TopicRegistry;
///
/// let bus: TopicRegistry<u64, str> = TopicRegistry::builder().name("bus").debug_keys().build();
/// # let _ = bus;
/// ```
pub struct TopicsBuilder<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    name: Option<Box<str>>,
    show: Option<FmtKey<K>>,
    slow: Option<Slow<K>>,
    counts_calls: bool,
    build: PhantomData<fn() -> Topics<F, K, E>>,
}

impl<F: Flavor<E>, K: Key, E: ?Sized + 'static> Topics<F, K, E> {
    /// Returns a builder, for topics that have a name in logs and metrics, whose slow handlers are
    /// reported, or whose calls are counted. Two registries of the same name add up in the same
    /// metrics.
    #[must_use]
    pub fn builder() -> TopicsBuilder<F, K, E> {
        TopicsBuilder::new()
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> TopicsBuilder<F, K, E> {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            show: None,
            slow: None,
            counts_calls: false,
            build: PhantomData,
        }
    }

    /// Sets the name, which events carry as the field `registry`, and metrics as the label
    /// `registry`. Without a name there are no metrics. The metrics go to the recorder that is
    /// installed when the topics are built. The recorder may use the topics: what that changes is
    /// told when it has returned. See the [guide](crate::guide#observability).
    ///
    /// # Panics
    ///
    /// If the name is empty.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        assert!(!name.is_empty(), "the name of a topic registry is empty");
        self.name = Some(name.into());
        self
    }

    /// Shows keys in events by their `Debug`. Without this, only keys that are `String`,
    /// `&'static str` or integers are shown.
    #[must_use]
    pub fn debug_keys(mut self) -> Self
    where
        K: fmt::Debug,
    {
        self.show = Some(K::fmt);
        self
    }

    /// Times each call of a handler (of an async handler, its closure together with the first poll
    /// of the future, and then each further poll), and reports those that take `limit` or longer:
    /// to `callback`, with the key, the handler and the time; to `tracing`, as a warning; and to
    /// `metrics`, as a counter and a histogram. See the [guide](crate::guide#observability).
    ///
    /// Only the handler's closure and the polls are timed: not what the library does for the call,
    /// such as removing a handler that is called once, nor the callbacks and observers that this
    /// runs. A call that panics is timed, too. A call that is not made is not reported.
    ///
    /// The callback runs after the slow call, on the same thread, with no lock held; to join the
    /// handler there returns [`JoinError::Inside`](crate::JoinError::Inside). If it panics, that is
    /// [counted](Topics::panic_count) and not propagated. Slow calls are not reported while such a
    /// callback runs on this thread, so the callback may notify. With a limit of 0, every call is
    /// slow.
    ///
    /// The clock is read twice for each call: see `docs/PERFORMANCE.md` for the cost. Topics that
    /// are built without this option pay nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics: TopicRegistry<String, str> = TopicRegistry::builder()
    ///     .on_slow(Duration::from_millis(5), |key, handler, time| {
    ///         eprintln!("{key}: the handler from {} took {time:?}", handler.registered_at);
    ///     })
    ///     .build();
    /// # let _ = topics;
    /// ```
    #[must_use]
    pub fn on_slow(
        mut self,
        limit: Duration,
        callback: impl Fn(&K, &HandlerInfo, Duration) + Send + Sync + 'static,
    ) -> Self {
        let callback = DropGuarded::new(Box::new(callback) as Box<_>);
        self.slow = Some(Slow { limit, callback });
        self
    }

    /// Counts the calls of each handler, and the time that they take:
    /// [`handlers`](crate::Registry::handlers) then lists them with their
    /// [`calls`](HandlerInfo::calls).
    ///
    /// What is timed is what [`on_slow`](Self::on_slow) times, by the same clock: the handler's
    /// closure and, if it is async, each poll of its futures. A call that panics is counted, too. A
    /// call that is not made, because the handler is paused or was removed, is not.
    ///
    /// The clock is read twice for each call, and threads that call the same handler write the same
    /// memory. Each handler takes 80 bytes more, in one more allocation.
    /// Topics that are built without this option pay nothing.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics: TopicRegistry<String, str> = TopicRegistry::builder().count_calls().build();
    /// let saved = topics.handle("saved");
    /// saved.options().name("indexer").register(|path| println!("{path}"));
    /// saved.notify("app.toml");
    ///
    /// let handler = &saved.handlers()[0];
    /// assert_eq!(handler.name.as_deref(), Some("indexer"));
    /// assert_eq!(handler.calls.expect("they are counted").count, 1);
    /// ```
    #[must_use]
    pub fn count_calls(mut self) -> Self {
        self.counts_calls = true;
        self
    }

    /// Builds the registry of topics.
    #[must_use]
    pub fn build(self) -> Topics<F, K, E> {
        let telemetry = Telemetry::new(self.name, self.show, self.slow.is_some());
        Topics::with(telemetry, self.slow, self.counts_calls)
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> fmt::Debug for TopicsBuilder<F, K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicsBuilder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
