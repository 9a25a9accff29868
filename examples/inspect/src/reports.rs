//! [`Reports`]: the last panics and slow calls.

use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use topic_registry::{HandlerInfo, PanicInfo};

use crate::json::{Kind, Report};
use crate::sample::{cut, millis_since_1970, place_text};
use crate::watched::{nanos, shown, text_of};

/// How many reports are kept.
const KEPT: usize = 100;

/// Remembers the last 100 panics and slow calls, for an [`Inspector`](crate::Inspector) to show.
///
/// Topics have one callback for panics, and one for slow calls. They belong to the program: hand
/// them [`on_panic`](Self::on_panic) and [`on_slow`](Self::on_slow), or call
/// [`add_panic`](Self::add_panic) and [`add_slow_call`](Self::add_slow_call) in callbacks of your
/// own. Clones are references to the same reports.
///
/// ```
/// use std::time::Duration;
/// use topic_registry::TopicRegistry;
/// use topic_registry_inspect::{Inspector, Reports};
///
/// let reports = Reports::new();
/// let topics = TopicRegistry::<String, str>::builder()
///     .on_slow(Duration::from_millis(5), reports.on_slow())
///     .build();
/// topics.on_panic({
///     let reports = reports.clone();
///     move |key, info| {
///         eprintln!("{key}: {info:?}"); // what the program did anyway
///         reports.add_panic(key, info);
///     }
/// });
/// let inspector = Inspector::new().watch("bus", &topics).reports("bus", &reports);
/// # let _ = inspector;
/// ```
///
/// A report costs a few allocations and a lock, on the thread of the panic or of the slow call. The
/// same one again (of the same topic and place) is only counted, so that a handler that panics all
/// the time does not displace the others.
#[derive(Clone, Default)]
pub struct Reports {
    last: Arc<Mutex<VecDeque<Report>>>,
}

impl Reports {
    /// Creates an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a callback for [`Topics::on_panic`](topic_registry::Topics::on_panic), which shows
    /// keys by their `Debug`, and text as it is.
    #[must_use = "it is a callback: pass it to `on_panic`"]
    pub fn on_panic<K: Debug + 'static>(
        &self,
    ) -> impl Fn(&K, &PanicInfo<'_>) + Send + Sync + 'static {
        let reports = self.clone();
        move |key, info| reports.add_panic(&shown(|| text_of(key)), info)
    }

    /// Returns a callback for [`TopicsBuilder::on_slow`](topic_registry::TopicsBuilder::on_slow),
    /// which shows keys by their `Debug`, and text as it is.
    #[must_use = "it is a callback: pass it to `on_slow`"]
    pub fn on_slow<K: Debug + 'static>(
        &self,
    ) -> impl Fn(&K, &HandlerInfo, Duration) + Send + Sync + 'static {
        let reports = self.clone();
        move |key, handler, time| reports.add_slow_call(&shown(|| text_of(key)), handler, time)
    }

    /// Adds a panic in the topic of this key; for a registry without a key, of the empty one.
    pub fn add_panic(&self, key: &str, info: &PanicInfo<'_>) {
        let message = info.message().unwrap_or("(its payload is no text)");
        self.add(Report {
            name: info.name().map(cut),
            message: Some(cut(message)),
            ..report(Kind::Panic, key, info.registered_at())
        });
    }

    /// Adds a slow call in the topic of this key.
    pub fn add_slow_call(&self, key: &str, handler: &HandlerInfo, time: Duration) {
        self.add(Report {
            name: handler.name.as_deref().map(cut),
            nanos: Some(nanos(time)),
            ..report(Kind::SlowCall, key, handler.registered_at)
        });
    }

    /// Returns the reports, the newest first, under the name of a registry.
    pub(crate) fn list(&self, registry: &str) -> Vec<Report> {
        let named = |report: &Report| Report {
            registry: registry.to_owned(),
            ..report.clone()
        };
        self.lock().iter().map(named).collect()
    }

    fn add(&self, new: Report) {
        let mut last = self.lock();
        let is_it = |old: &Report| {
            (old.kind, &old.key, &old.place, &old.name)
                == (new.kind, &new.key, &new.place, &new.name)
        };
        let old = last.iter().position(is_it).and_then(|at| last.remove(at));
        let (times, slowest) = old.map_or((0, None), |old| (old.times, old.nanos));
        last.push_front(Report {
            times: times + 1,
            nanos: new.nanos.max(slowest),
            ..new
        });
        last.truncate(KEPT);
    }

    /// Nothing of the program runs under it, and nothing of it is dropped there.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("kept", &self.lock().len()).finish()
    }
}

fn report(kind: Kind, key: &str, place: &Location<'_>) -> Report {
    Report {
        kind,
        registry: String::new(),
        key: cut(key),
        place: place_text(place),
        name: None,
        message: None,
        nanos: None,
        times: 1,
        last: millis_since_1970(SystemTime::now()),
    }
}
