//! What the topics tell `metrics` and `tracing`: as many topics and handlers go as have come.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

use crate::ledger::{Count, Ledger, expect};

/// The metrics of some registries of topics, together.
#[derive(Clone, Default)]
pub(crate) struct Gauges {
    topics: Arc<AtomicU64>,
    handlers: Arc<AtomicU64>,
    panics: Arc<AtomicU64>,
    slow_calls: Arc<AtomicU64>,
}

impl Gauges {
    /// Builds something that reports to these.
    pub(crate) fn receive<R>(&self, build: impl FnOnce() -> R) -> R {
        metrics::with_local_recorder(self, build)
    }

    /// Nothing is left.
    pub(crate) fn settle(&self, ledger: &Ledger) {
        let gauge = |gauge: &AtomicU64| f64::from_bits(gauge.load(SeqCst));
        expect(
            "topics, as metrics say",
            "0",
            &gauge(&self.topics).to_string(),
        );
        expect(
            "handlers, as metrics say",
            "0",
            &gauge(&self.handlers).to_string(),
        );
        let (thrown, slow) = (ledger.thrown.get(), ledger.slow_called.get());
        expect("panics, as metrics say", thrown, self.panics.load(SeqCst));
        expect(
            "slow calls, as metrics say",
            slow,
            self.slow_calls.load(SeqCst),
        );
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(match key.name() {
            "topic_registry_panics_total" => &self.panics,
            _ => &self.slow_calls,
        }))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(match key.name() {
            "topic_registry_topics" => &self.topics,
            _ => &self.handlers,
        }))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

static CREATED: Count = Count::new();
static REMOVED: Count = Count::new();

/// Counts the topics that are created and removed, as `tracing` hears of them.
struct Listener;

pub(crate) fn listen() {
    tracing::subscriber::set_global_default(Listener).expect("there is no other one");
}

/// All topics of all runs are gone.
pub(crate) fn settle() {
    expect("topics removed, as traced", CREATED.get(), REMOVED.get());
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("the library makes no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            match format!("{value:?}").as_str() {
                "topic created" => _ = CREATED.add(1),
                "topic removed" => _ = REMOVED.add(1),
                other => expect("a known message", "", other),
            }
        }
    }
}
