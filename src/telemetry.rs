//! Reports about topics to other crates: events for `tracing`, gauges and counters for `metrics`.
//!
//! `count` always counts a panic of a subscriber or a recorder, which is not reported to it.
//!
//! None of it is on the path of a notification, unless a handler panics, is slow, or removes
//! itself. Subscribers and recorders are user code: their panics are caught.
#![cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(
        unused_variables,
        clippy::unused_self,
        reason = "each feature uses some of it"
    )
)]

use std::fmt;
use std::time::Duration;

use crate::report::id::HandlerInfo;
use crate::report::panic::PanicInfo;

/// A function that formats a key.
pub(crate) type FmtKey<K> = fn(&K, &mut fmt::Formatter<'_>) -> fmt::Result;

/// The telemetry of one registry of topics.
pub(crate) struct Telemetry<K> {
    name: Option<Box<str>>,
    #[cfg(feature = "tracing")]
    show: Option<FmtKey<K>>,
    // Only if there is a name: without one, registries could not be told apart.
    #[cfg(feature = "metrics")]
    metrics: Option<measured::Metrics>,
    #[cfg(not(feature = "tracing"))]
    keys: std::marker::PhantomData<FmtKey<K>>,
}

impl<K: 'static> Telemetry<K> {
    pub(crate) fn new(name: Option<Box<str>>, show: Option<FmtKey<K>>, times_calls: bool) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            metrics: name.as_deref().and_then(|name| measured::Metrics::new(name, times_calls)),
            name,
            #[cfg(feature = "tracing")]
            show,
            #[cfg(not(feature = "tracing"))]
            keys: std::marker::PhantomData,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Counts a topic that is being created. Called under a lock.
    pub(crate) fn count_created(&self) {
        #[cfg(feature = "metrics")]
        measured::with(self.metrics.as_ref(), |metrics| metrics.add_topics(1));
    }

    /// Reports a topic that was created, and counted.
    pub(crate) fn topic_created(&self, key: &K, count: &dyn Fn()) {
        self.tell_numbers(count);
        #[cfg(feature = "tracing")]
        traced::topic(
            "topic created",
            self.name(),
            &traced::Key(key, self.show),
            count,
        );
    }

    /// Counts and reports a topic that was removed.
    pub(crate) fn topic_removed(&self, key: &K, count: &dyn Fn()) {
        #[cfg(feature = "metrics")]
        measured::with(self.metrics.as_ref(), |metrics| metrics.add_topics(-1));
        self.tell_numbers(count);
        #[cfg(feature = "tracing")]
        traced::topic(
            "topic removed",
            self.name(),
            &traced::Key(key, self.show),
            count,
        );
    }

    /// Counts a change of a topic's number of handlers. Called under a lock.
    pub(crate) fn count_handlers(&self, from: usize, to: usize) {
        #[cfg(feature = "metrics")]
        measured::with(self.metrics.as_ref(), |metrics| {
            metrics.add_handlers(from, to);
        });
    }

    /// Counts and reports a panic, as a number.
    pub(crate) fn count_panic(&self, count: &dyn Fn()) {
        #[cfg(feature = "metrics")]
        measured::with(self.metrics.as_ref(), measured::Metrics::add_panic);
        self.tell_numbers(count);
    }

    /// Reports what was counted.
    pub(crate) fn tell_numbers(&self, count: &dyn Fn()) {
        #[cfg(feature = "metrics")]
        measured::with(self.metrics.as_ref(), |metrics| metrics.tell(count));
    }

    /// Reports a panic.
    pub(crate) fn panicked(&self, key: &K, info: &PanicInfo<'_>, count: &dyn Fn()) {
        #[cfg(feature = "tracing")]
        traced::panic(self.name(), &traced::Key(key, self.show), info, count);
    }

    /// Reports a slow call.
    pub(crate) fn slow(&self, key: &K, info: &HandlerInfo, time: Duration, count: &dyn Fn()) {
        #[cfg(feature = "metrics")]
        measured::with(self.metrics.as_ref(), |metrics| {
            metrics.slow(time, count);
        });
        #[cfg(feature = "tracing")]
        traced::slow(self.name(), &traced::Key(key, self.show), info, time, count);
    }
}

/// Reports a panic in a registry without a key.
pub(crate) fn panicked(info: &PanicInfo<'_>, count: &dyn Fn()) {
    #[cfg(feature = "tracing")]
    traced::panic(None, &traced::Key(&(), None), info, count);
}

#[cfg(feature = "tracing")]
#[expect(clippy::disallowed_methods, reason = "the only user of `tracing`")]
mod traced {
    use std::any::Any;
    use std::fmt;
    use std::time::Duration;

    use tracing::field::{DisplayValue, display};

    use super::FmtKey;
    use crate::report::id::{HandlerId, HandlerInfo};
    use crate::report::panic::{PanicInfo, catch_and_count};
    use crate::report::reporting::{Report, Reporting};

    /// The target of all events, wherever they are in the code.
    const TARGET: &str = "topic_registry";

    /// A key, and how to format it if it is neither a string nor a number.
    pub(super) struct Key<'k, K>(pub(super) &'k K, pub(super) Option<FmtKey<K>>);

    impl<K: 'static> Key<'_, K> {
        fn shown(&self) -> Option<DisplayValue<&Self>> {
            let is_shown = self.1.is_some() || self.plain().is_some();
            is_shown.then(|| display(self))
        }

        /// Returns the key for display, if its type is a string or a number.
        fn plain(&self) -> Option<&dyn fmt::Display> {
            READABLE.iter().find_map(|as_readable| as_readable(self.0))
        }
    }

    const READABLE: [fn(&dyn Any) -> Option<&dyn fmt::Display>; 14] = [
        readable::<String>,
        readable::<&'static str>,
        readable::<u8>,
        readable::<u16>,
        readable::<u32>,
        readable::<u64>,
        readable::<u128>,
        readable::<usize>,
        readable::<i8>,
        readable::<i16>,
        readable::<i32>,
        readable::<i64>,
        readable::<i128>,
        readable::<isize>,
    ];

    fn readable<T: fmt::Display + 'static>(key: &dyn Any) -> Option<&dyn fmt::Display> {
        key.downcast_ref::<T>().map(|key| key as _)
    }

    impl<K: 'static> fmt::Display for Key<'_, K> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match (self.1, self.plain()) {
                (Some(show), _) => show(self.0, f),
                (None, Some(key)) => key.fmt(f),
                (None, None) => Ok(()),
            }
        }
    }

    pub(super) fn topic<K: 'static>(
        message: &str,
        registry: Option<&str>,
        key: &Key<'_, K>,
        count: &dyn Fn(),
    ) {
        // The subscriber may create and remove topics in turn.
        let Some(_reporting) = Reporting::begin(Report::Topic) else {
            return;
        };
        let emit = || tracing::debug!(target: TARGET, registry, key = key.shown(), "{message}");
        catch_and_count(emit, count);
    }

    pub(super) fn panic<K: 'static>(
        registry: Option<&str>,
        key: &Key<'_, K>,
        info: &PanicInfo<'_>,
        count: &dyn Fn(),
    ) {
        let id = info.handler_id().map(HandlerId::as_u64);
        let registered_at = display(info.registered_at());
        let message = info.message().unwrap_or("a panic without a message");
        let emit = || {
            tracing::error!(
                target: TARGET,
                registry,
                key = key.shown(),
                id,
                handler = info.name(),
                registered_at,
                origin = ?info.origin(),
                message,
            );
        };
        catch_and_count(emit, count);
    }

    pub(super) fn slow<K: 'static>(
        registry: Option<&str>,
        key: &Key<'_, K>,
        info: &HandlerInfo,
        time: Duration,
        count: &dyn Fn(),
    ) {
        let id = info.id.as_u64();
        let registered_at = display(info.registered_at);
        let emit = || {
            tracing::warn!(
                target: TARGET,
                registry,
                key = key.shown(),
                id,
                handler = info.name.as_deref(),
                registered_at,
                ?time,
                "slow handler",
            );
        };
        catch_and_count(emit, count);
    }
}

#[cfg(feature = "metrics")]
#[expect(clippy::disallowed_macros, reason = "the only user of `metrics`")]
mod measured {
    use std::time::Duration;

    use metrics::{
        Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge,
        describe_histogram, gauge, histogram,
    };

    use crate::primitive::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
    use crate::report::panic::{DropGuarded, catch, catch_and_count, count_and_drop};

    const TOPICS: &str = "topic_registry_topics";
    const HANDLERS: &str = "topic_registry_handlers";
    const PANICS: &str = "topic_registry_panics_total";
    const SLOW_CALLS: &str = "topic_registry_slow_calls_total";
    const SLOW_CALL_SECONDS: &str = "topic_registry_slow_call_seconds";

    pub(super) struct Metrics {
        topics: DropGuarded<Gauge>,
        handlers: DropGuarded<Gauge>,
        panics: DropGuarded<Counter>,
        /// How many calls were slow, and how long they took.
        slow: Option<(DropGuarded<Counter>, DropGuarded<Histogram>)>,
        untold: Untold,
        /// Whether a thread is telling the recorder, so that it is not told in what it is told.
        is_telling: AtomicBool,
    }

    /// What the recorder has not been told yet: the changes of the gauges, as differences because
    /// topics change concurrently, and the panics.
    #[derive(Default)]
    struct Untold {
        topics: AtomicIsize,
        handlers: AtomicIsize,
        panics: AtomicUsize,
    }

    fn slow_calls(
        labels: &[(&'static str, String); 1],
    ) -> (DropGuarded<Counter>, DropGuarded<Histogram>) {
        describe_counter!(
            SLOW_CALLS,
            "Calls of handlers that took as long as the limit."
        );
        describe_histogram!(
            SLOW_CALL_SECONDS,
            Unit::Seconds,
            "How long these calls took."
        );
        (
            DropGuarded::new(counter!(SLOW_CALLS, labels)),
            DropGuarded::new(histogram!(SLOW_CALL_SECONDS, labels)),
        )
    }

    impl Metrics {
        /// Registers the metrics. Returns `None` if the recorder panics.
        pub(super) fn new(name: &str, times_calls: bool) -> Option<Self> {
            let labels = [("registry", name.to_owned())];
            let register = || {
                describe_gauge!(TOPICS, "Topics that have a handler or a handle.");
                describe_gauge!(HANDLERS, "Registered handlers of all topics.");
                describe_counter!(PANICS, "Panics of handlers, destructors and callbacks.");
                Self {
                    topics: DropGuarded::new(gauge!(TOPICS, &labels)),
                    handlers: DropGuarded::new(gauge!(HANDLERS, &labels)),
                    panics: DropGuarded::new(counter!(PANICS, &labels)),
                    slow: times_calls.then(|| slow_calls(&labels)),
                    untold: Untold::default(),
                    is_telling: AtomicBool::new(false),
                }
            };
            let registered = catch(register);
            // There is nothing yet that could count it.
            registered.map_err(|payload| count_and_drop([payload], || {})).ok()
        }

        pub(super) fn add_topics(&self, change: isize) {
            self.untold.topics.fetch_add(change, Ordering::SeqCst);
        }

        pub(super) fn add_handlers(&self, from: usize, to: usize) {
            #[expect(clippy::cast_possible_wrap, reason = "there are not 2^31 handlers")]
            let change = to as isize - from as isize;
            self.untold.handlers.fetch_add(change, Ordering::SeqCst);
        }

        pub(super) fn add_panic(&self) {
            self.untold.panics.fetch_add(1, Ordering::SeqCst);
        }

        pub(super) fn slow(&self, time: Duration, count: &dyn Fn()) {
            if let Some((calls, seconds)) = &self.slow {
                catch_and_count(|| calls.increment(1), count);
                catch_and_count(|| seconds.record(time), count);
            }
        }

        /// Tells the recorder what it has not been told yet, unless a thread is telling it: that
        /// thread then goes on with this. So a recorder may use the topics, and hears of each
        /// change once. If it makes a change each time, the last one is told later, with the next
        /// one from elsewhere.
        pub(super) fn tell(&self, count: &dyn Fn()) {
            const AT_ONCE: usize = 64;
            for _ in 0..AT_ONCE {
                // All steps are in one total order. Whoever finds another one telling has added
                // before, and so the other one sees it when it looks again after it has told.
                if !self.untold.is_any() || self.is_telling.swap(true, Ordering::SeqCst) {
                    return;
                }
                self.tell_once(count);
                self.is_telling.store(false, Ordering::SeqCst);
            }
        }

        fn tell_once(&self, count: &dyn Fn()) {
            let Untold {
                topics,
                handlers,
                panics,
            } = &self.untold;
            let take = |number: &AtomicIsize| number.swap(0, Ordering::SeqCst);
            catch_and_count(|| add(&self.topics, take(topics)), count);
            catch_and_count(|| add(&self.handlers, take(handlers)), count);
            let panics = panics.swap(0, Ordering::SeqCst);
            if panics != 0 {
                catch_and_count(|| self.panics.increment(panics as u64), count);
            }
        }
    }

    impl Untold {
        fn is_any(&self) -> bool {
            let changed = |number: &AtomicIsize| number.load(Ordering::SeqCst) != 0;
            changed(&self.topics)
                || changed(&self.handlers)
                || self.panics.load(Ordering::SeqCst) != 0
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 handlers")]
    fn add(gauge: &Gauge, change: isize) {
        match change {
            0 => {}
            1.. => gauge.increment(change as f64),
            _ => gauge.decrement(-(change as f64)),
        }
    }

    pub(super) fn with(metrics: Option<&Metrics>, tell: impl FnOnce(&Metrics)) {
        if let Some(metrics) = metrics {
            tell(metrics);
        }
    }
}
