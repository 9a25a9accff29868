//! The numbers for `metrics`.

#![expect(clippy::float_cmp, reason = "they are whole numbers")]

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use topic_registry::{Interest, Key, TopicRegistry};

use crate::support::{Bomb, Log, OnDrop, gate, within};

type Topics = TopicRegistry<String, u32>;

/// What the recorder was told of topics, handlers and panics of the registry "bus".
struct Numbers(Snapshotter, [f64; 3]);

impl Numbers {
    /// The sums by now: each snapshot holds what came after the one before.
    fn read(&mut self) -> [f64; 3] {
        let added = bus(&self.0);
        for (sum, added) in self.1.iter_mut().zip(added) {
            *sum += added;
        }
        self.1
    }
}

fn bus(snapshotter: &Snapshotter) -> [f64; 3] {
    let mut values = [0.0; 3];
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let labels: Vec<_> = key.labels().map(|label| (label.key(), label.value())).collect();
        if labels != [("registry", "bus")] {
            continue;
        }
        let at = match key.name() {
            "topic_registry_topics" => 0,
            "topic_registry_handlers" => 1,
            "topic_registry_panics_total" => 2,
            other => panic!("unknown: {other}"),
        };
        values[at] = match value {
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Counter(value) => f64::from(u32::try_from(value).unwrap()),
            DebugValue::Histogram(_) => panic!("there is no histogram"),
        };
    }
    values
}

/// Topics with a name, whose numbers can be read.
fn measured<K: Key>() -> (TopicRegistry<K, u32>, Numbers) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let topics = metrics::with_local_recorder(&recorder, || {
        let other = Topics::builder().name("other").build();
        other.register("not counted here", |_| {});
        TopicRegistry::builder().name("bus").build()
    });
    (topics, Numbers(snapshotter, [0.0; 3]))
}

/// They may do anything, so the numbers are right before they run.
#[test]
fn destructors_find_what_is_removed_in_the_numbers() {
    let (topics, numbers) = measured::<String>();
    let (handle, log, numbers) = (
        topics.handle("a"),
        Log::new(),
        Arc::new(Mutex::new(numbers)),
    );
    let (told, read, weak) = (log.clone(), Arc::clone(&numbers), handle.downgrade());
    let on_drop = Mutex::new(OnDrop(move || {
        told.push(read.lock().unwrap().read()[1]);
        weak.upgrade().expect("it is there").clear();
        told.push(read.lock().unwrap().read()[1]);
    }));
    let old = handle.register(move |_| _ = &on_drop);
    handle.update(|batch| {
        batch.unregister(old);
        (0..5).for_each(|_| _ = batch.register(|_| {}));
    });
    assert_eq!(log.take(), [5.0, 0.0]);
    assert_eq!(numbers.lock().unwrap().read(), [1.0, 0.0, 0.0]);
}

/// A recorder that changes what it is told of, each time.
struct Busy {
    sums: Arc<[Mutex<f64>; 3]>,
    topics: OnceLock<Topics>,
    changes: AtomicUsize,
}

struct BusyNumber(Arc<Busy>, usize);

impl BusyNumber {
    fn add(&self, change: f64) {
        let Self(busy, at) = self;
        *busy.sums[*at].lock().unwrap() += change;
        let topics = busy.topics.get().expect("it is set");
        let n = busy.changes.fetch_add(1, Ordering::Relaxed);
        // Comes and goes, always; and the first ten times, something stays.
        drop(topics.register_guard("comes and goes", |_| {}));
        if n < 10 {
            topics.register(n.to_string(), |_| panic!("counted"));
            assert_eq!(topics.notify(&n.to_string(), &0).panicked(), 1);
        }
    }
}

impl GaugeFn for BusyNumber {
    fn increment(&self, change: f64) {
        self.add(change);
    }

    fn decrement(&self, change: f64) {
        self.add(-change);
    }

    fn set(&self, _: f64) {
        unreachable!("differences are told")
    }
}

impl CounterFn for BusyNumber {
    fn increment(&self, change: u64) {
        self.add(f64::from(u32::try_from(change).unwrap()));
    }

    fn absolute(&self, _: u64) {
        unreachable!("differences are told")
    }
}

struct BusyRecorder(Arc<Busy>);

impl Recorder for BusyRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &metrics::Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(BusyNumber(Arc::clone(&self.0), 2)))
    }

    fn register_gauge(&self, key: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        let at = usize::from(key.name() == "topic_registry_handlers");
        Gauge::from_arc(Arc::new(BusyNumber(Arc::clone(&self.0), at)))
    }

    fn register_histogram(&self, _: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        unreachable!("there is no histogram")
    }
}

#[test]
fn a_recorder_may_use_the_topics_that_it_is_told_of() {
    let busy = Arc::new(Busy {
        sums: Arc::default(),
        topics: OnceLock::new(),
        changes: AtomicUsize::new(0),
    });
    let topics = metrics::with_local_recorder(&BusyRecorder(Arc::clone(&busy)), || {
        Topics::builder().name("bus").build()
    });
    assert!(busy.topics.set(topics.clone()).is_ok());
    drop(topics.register_guard("a", |_| {}));
    assert_eq!((topics.len(), topics.panic_count()), (10, 10));
    let sums = busy.sums.each_ref().map(|sum| *sum.lock().unwrap());
    assert_eq!(sums, [10.0, 10.0, 10.0], "topics, handlers, panics");
}

/// Runs a hook when a gauge of the registry of that name is told, and keeps the sums.
#[derive(Clone)]
struct Hooked {
    sums: Arc<Mutex<HashMap<String, f64>>>,
    hook: Arc<Hook>,
}

type Hook = dyn Fn(&str, f64) + Send + Sync;

struct HookedGauge(Hooked, String);

impl HookedGauge {
    fn add(&self, change: f64) {
        (self.0.hook)(&self.1, change);
        *self.0.sums.lock().unwrap().entry(self.1.clone()).or_default() += change;
    }
}

impl GaugeFn for HookedGauge {
    fn increment(&self, change: f64) {
        self.add(change);
    }

    fn decrement(&self, change: f64) {
        self.add(-change);
    }

    fn set(&self, _: f64) {
        unreachable!("differences are told")
    }
}

impl Recorder for Hooked {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &metrics::Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        let registry = key.labels().next().expect("each has a label").value();
        let name = format!("{} of {registry}", key.name());
        Gauge::from_arc(Arc::new(HookedGauge(self.clone(), name)))
    }

    fn register_histogram(&self, _: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn hooked(hook: impl Fn(&str, f64) + Send + Sync + 'static) -> Hooked {
    Hooked {
        sums: Arc::default(),
        hook: Arc::new(hook),
    }
}

#[test]
fn registries_that_end_while_another_one_is_told_of_leave_no_numbers() {
    let slot = Arc::new(Mutex::new(None::<Topics>));
    let other = Arc::clone(&slot);
    let recorder = hooked(move |name, _| {
        if name.ends_with("of one") {
            let other = other.lock().unwrap().take();
            drop(other);
        }
    });
    let [one, other] = metrics::with_local_recorder(&recorder, || {
        ["one", "other"].map(|name| Topics::builder().name(name).build())
    });
    other.register("b", |_| {});
    *slot.lock().unwrap() = Some(other);
    one.register("a", |_| {});
    drop(one);
    let sums = recorder.sums.lock().unwrap();
    assert!(
        sums.len() == 4 && sums.values().all(|sum| *sum == 0.0),
        "{sums:?}"
    );
}

/// A change is counted where it is made, and told by one thread after the other.
#[test]
fn no_gauge_goes_below_zero_beside_a_slow_recorder() {
    within("a change beside a slow recorder", || {
        let (arrive, come) = gate("the recorder");
        let (go_on, told_to_go_on) = gate("the other change");
        let is_first = AtomicUsize::new(0);
        let recorder = hooked(move |name, change| {
            if name.contains("handlers")
                && change > 1.0
                && is_first.fetch_add(1, Ordering::Relaxed) == 0
            {
                arrive();
                told_to_go_on();
            }
        });
        let topics =
            metrics::with_local_recorder(&recorder, || Topics::builder().name("bus").build());
        let handle = topics.handle("a");
        let sum = || {
            let sums = recorder.sums.lock().unwrap();
            sums.get("topic_registry_handlers of bus").copied().unwrap_or_default()
        };
        let adding = topics.clone();
        let adds = thread::spawn(move || {
            adding.update("a", |batch| (0..5).for_each(|_| _ = batch.register(|_| {})));
        });
        come();
        handle.clear();
        assert_eq!(sum(), 0.0, "the other thread tells it");
        go_on();
        adds.join().unwrap();
        assert_eq!(sum(), 0.0);
    });
}

/// A recorder that changes something each time that it is told of a change is left alone.
#[test]
fn a_recorder_that_never_comes_to_an_end_does_not_hold_up_the_caller() {
    struct Endless(Arc<OnceLock<Topics>>);
    impl GaugeFn for Endless {
        fn increment(&self, _: f64) {
            self.0.get().expect("it is set").register("more", |_| {});
        }
        fn decrement(&self, _: f64) {}
        fn set(&self, _: f64) {}
    }
    struct Records(Arc<OnceLock<Topics>>);
    impl Recorder for Records {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &metrics::Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }
        fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Endless(Arc::clone(&self.0))))
        }
        fn register_histogram(&self, _: &metrics::Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
    within("a recorder that never comes to an end", || {
        let slot = Arc::new(OnceLock::new());
        let topics = metrics::with_local_recorder(&Records(Arc::clone(&slot)), || {
            Topics::builder().name("bus").build()
        });
        assert!(slot.set(topics.clone()).is_ok());
        topics.register("a", |_| {});
        topics.clear();
    });
}

#[test]
fn a_callback_finds_what_it_is_told_in_the_numbers() {
    let (topics, numbers) = measured::<String>();
    let (log, numbers) = (Log::new(), Mutex::new(numbers));
    let told = log.clone();
    let _observer = topics.observe_interest(move |_, interest| {
        told.push((interest, numbers.lock().unwrap().read()[1]));
    });
    drop(topics.register_guard("a", |_| {}));
    assert_eq!(log.take(), [(Interest::Gained, 1.0), (Interest::Lost, 0.0)]);
}

/// As the topics themselves count them.
#[test]
fn panics_of_callbacks_are_counted_too() {
    let (topics, mut numbers) = measured::<String>();
    topics.on_panic(|_, _| panic!("on_panic"));
    let _observers = [
        topics.observe_interest(|_, _| panic!("of interest")),
        topics.observe_handler_limit(1, |_, _| panic!("of a handler limit")),
    ];
    for _ in 0..2 {
        topics.register("a", |_| panic!("a handler"));
    }
    assert_eq!((topics.panic_count(), numbers.read()[2]), (2, 2.0));
    topics.notify("a", &0);
    assert_eq!((topics.panic_count(), numbers.read()[2]), (6, 6.0));
}

#[test]
fn topics_handlers_and_panics_are_counted() {
    let (topics, mut numbers) = measured::<String>();
    let _kept = topics.handle("kept");
    let guard = topics.register_guard("a", |n| assert_eq!(*n, 0));
    topics.update("a", |batch| {
        for _ in 0..9 {
            batch.register(|_| {});
        }
    });
    assert_eq!(numbers.read(), [2.0, 10.0, 0.0]);
    topics.notify("a", &1);
    assert_eq!(numbers.read(), [2.0, 10.0, 1.0]);
    drop(guard);
    assert_eq!(numbers.read()[..2], [2.0, 9.0]);
    topics.remove("a");
    assert_eq!(numbers.read()[..2], [1.0, 0.0]);
    let bomb = Bomb("a destructor");
    drop(topics.register_guard("a", move |_| {
        let _ = &bomb;
    }));
    assert_eq!(numbers.read(), [1.0, 0.0, 2.0]);
}

/// Takes its time to be looked up, so that others come in between.
#[derive(Clone, PartialEq, Eq)]
struct Slow;

impl Hash for Slow {
    fn hash<H: Hasher>(&self, _: &mut H) {
        thread::sleep(Duration::from_micros(100));
    }
}

/// Of those who make it at once, one does.
#[test]
fn a_topic_comes_once_however_many_make_it() {
    let (topics, mut numbers) = measured::<Slow>();
    for _ in 0..20 {
        let start = Barrier::new(4);
        let make = || {
            start.wait();
            topics.handle(Slow)
        };
        let handles = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(make));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(numbers.read()[0], 1.0);
        drop(handles);
        assert_eq!(numbers.read()[0], 0.0);
    }
}

/// Panics when it is asked for a number, or later when it is told of one.
struct Hostile {
    early: bool,
}

struct HostileNumber;

impl Drop for HostileNumber {
    fn drop(&mut self) {
        panic!("a number's end");
    }
}

impl CounterFn for HostileNumber {
    fn increment(&self, _: u64) {
        panic!("a counter");
    }

    fn absolute(&self, _: u64) {
        panic!("a counter");
    }
}

impl GaugeFn for HostileNumber {
    fn increment(&self, _: f64) {
        panic!("a gauge");
    }

    fn decrement(&self, _: f64) {
        panic!("a gauge");
    }

    fn set(&self, _: f64) {
        panic!("a gauge");
    }
}

impl HistogramFn for HostileNumber {
    fn record(&self, _: f64) {
        panic!("a histogram");
    }
}

impl Recorder for Hostile {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &metrics::Key, _: &Metadata<'_>) -> Counter {
        assert!(!self.early, "a recorder");
        Counter::from_arc(Arc::new(HostileNumber))
    }

    fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        assert!(!self.early, "a recorder");
        Gauge::from_arc(Arc::new(HostileNumber))
    }

    fn register_histogram(&self, _: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        assert!(!self.early, "a recorder");
        Histogram::from_arc(Arc::new(HostileNumber))
    }
}

#[test]
fn a_recorder_may_panic() {
    for early in [true, false] {
        let topics = metrics::with_local_recorder(&Hostile { early }, || {
            Topics::builder().name("bus").on_slow(Duration::ZERO, |_, _, _| {}).build()
        });
        let guard = topics.register_guard("a", |_| panic!("a handler"));
        assert_eq!(topics.notify("a", &0).panicked(), 1);
        drop(guard);
        // The handler's, and one for each number that was told.
        let panics = if early { 1 } else { 1 + 7 };
        assert_eq!((topics.len(), topics.panic_count()), (0, panics));
    }
}

/// There is a counter and a histogram of slow calls where calls are timed, and only there.
#[test]
fn slow_calls_are_counted_and_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let [slow, fast] = metrics::with_local_recorder(&recorder, || {
        [
            ("slow", Duration::ZERO),
            ("fast", Duration::from_secs(3600)),
        ]
        .map(|(name, limit)| {
            Topics::builder().name(name).on_slow(limit, |_, _, _| panic!("on_slow")).build()
        })
    });
    for topics in [&slow, &fast] {
        topics.register("a", |_| {});
        (0..3).for_each(|event| _ = topics.notify("a", &event));
    }
    let (mut counts, mut measured) = (Vec::new(), Vec::new());
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let registry = key.labels().next().expect("each has a label").value().to_owned();
        match (key.name(), value) {
            ("topic_registry_slow_calls_total", DebugValue::Counter(count)) => {
                counts.push((registry, count));
            }
            ("topic_registry_slow_call_seconds", DebugValue::Histogram(times)) => {
                assert!(times.iter().all(|time| (0.0..3600.0).contains(&time.into_inner())));
                measured.push((registry, times.len()));
            }
            (name, _) => assert!(!name.contains("slow"), "{name}"),
        }
    }
    counts.sort();
    measured.sort();
    assert_eq!(counts, [("fast".to_owned(), 0), ("slow".to_owned(), 3)]);
    measured.retain(|(_, times)| *times != 0);
    assert_eq!(measured, [("slow".to_owned(), 3)]);
    assert_eq!((slow.panic_count(), fast.panic_count()), (3, 0));
}

#[test]
fn without_a_name_nothing_is_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        Topics::new().register("a", |_| {});
    });
    assert!(snapshotter.snapshot().into_vec().is_empty());
}

#[test]
fn what_goes_with_the_topics_is_not_counted_any_more() {
    let (topics, mut numbers) = measured::<String>();
    topics.register("a", |_| {});
    let handle = topics.handle("b");
    handle.register(|_| {});
    assert_eq!(numbers.read()[..2], [2.0, 2.0]);
    drop(topics);
    assert_eq!(numbers.read()[..2], [0.0, 1.0], "the handle goes on");
    handle.register(|_| {});
    assert_eq!(numbers.read()[..2], [0.0, 2.0]);
    drop(handle);
    assert_eq!(numbers.read()[..2], [0.0, 0.0]);
}
