//! The events for `tracing`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use topic_registry::{SyncRegistry, TopicRegistry};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, subscriber};

use crate::support::Log;

type Topics = TopicRegistry<String, u32>;

type Fields = BTreeMap<&'static str, String>;

/// Writes down what it is told.
struct Listener(Log<(Level, Fields)>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // All of them: whatever has another target is not seen here.
        metadata.target() == "topic_registry"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("there are no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Visitor(Fields::new());
        event.record(&mut fields);
        self.0.push((*event.metadata().level(), fields.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Visitor(Fields);

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

fn told(f: impl FnOnce()) -> Vec<(Level, Fields)> {
    let log = Log::new();
    subscriber::with_default(Listener(log.clone()), f);
    log.take()
}

fn fields<const N: usize>(fields: [(&'static str, &str); N]) -> Fields {
    let owned = |(name, value): (_, &str)| (name, value.to_owned());
    fields.map(owned).into()
}

#[test]
fn a_panic_is_an_event_with_its_key_its_id_and_its_place() {
    let topics = Topics::builder().name("bus").build();
    let _kept = topics.handle("a");
    let here = Location::caller();
    let id = topics.register("a", |n| assert_eq!(*n, 1, "not one"));
    topics.register("a", |_| {});
    let events = told(|| {
        assert_eq!(topics.notify("a", &1).panicked(), 0);
        assert_eq!(topics.notify("a", &2).panicked(), 1);
    });
    let [(Level::ERROR, event)] = &events[..] else {
        panic!("{events:?}")
    };
    let message = &event["message"];
    assert!(message.contains("not one"), "{message}");
    let (file, line) = (here.file(), here.line() + 1);
    assert!(event["registered_at"].starts_with(&format!("{file}:{line}:")));
    let rest = [("id", &*id.as_u64().to_string()), ("key", "a")];
    for (name, value) in rest.into_iter().chain([("registry", "bus"), ("origin", "Call")]) {
        assert_eq!(event[name], value, "{name}");
    }
}

#[test]
fn a_slow_call_is_a_warning_with_its_key_its_id_its_place_and_its_time() {
    let build = |limit| Topics::builder().name("bus").on_slow(limit, |_, _, _| {}).build();
    let topics = build(Duration::ZERO);
    let _kept = topics.handle("a");
    let here = Location::caller();
    let id = topics.register("a", |_| {});
    let fast = build(Duration::from_secs(3600));
    let _kept_too = fast.handle("a");
    fast.register("a", |_| {});
    let events = told(|| {
        for topics in [&topics, &fast] {
            assert_eq!(topics.notify("a", &1).called(), 1);
        }
    });
    let [(Level::WARN, event)] = &events[..] else {
        panic!("{events:?}")
    };
    let place = format!("{}:{}:", here.file(), here.line() + 1);
    assert!(event["registered_at"].starts_with(&place));
    assert!(event["time"].ends_with('s'), "{}", event["time"]);
    let mut rest = event.clone();
    rest.retain(|name, _| !["registered_at", "time"].contains(name));
    let id = id.as_u64().to_string();
    let expected = [
        ("message", "slow handler"),
        ("id", &id),
        ("key", "a"),
        ("registry", "bus"),
    ];
    assert_eq!(rest, fields(expected));
}

#[test]
fn topics_that_come_and_go_are_events() {
    let events = told(|| {
        let topics = Topics::builder().name("bus").build();
        drop(topics.handle("a"));
        topics.notify("unknown", &0);
        let _kept = topics.handle("b");
        drop(topics);
    });
    let event = |message, key| {
        let fields = fields([("message", message), ("key", key), ("registry", "bus")]);
        (Level::DEBUG, fields)
    };
    let expected = [
        event("topic created", "a"),
        event("topic removed", "a"),
        event("topic created", "b"),
        event("topic removed", "b"),
    ];
    assert_eq!(events, expected);
}

#[test]
fn other_keys_are_shown_if_that_is_wanted() {
    let silent = TopicRegistry::<(u8, char), u32>::new();
    let shown = TopicRegistry::<(u8, char), u32>::builder().debug_keys().build();
    let literal = TopicRegistry::<&'static str, u32>::new();
    let number = TopicRegistry::<i64, u32>::new();
    let events = told(|| {
        drop(silent.handle((1, 'a')));
        drop(shown.handle((1, 'a')));
        drop(literal.handle("a"));
        drop(number.handle(-7i64));
    });
    let keys: Vec<_> = events.iter().map(|(_, fields)| fields.get("key")).collect();
    let keys: Vec<_> = keys.into_iter().map(|key| key.map(String::as_str)).collect();
    let expected = [None, Some("(1, 'a')"), Some("a"), Some("-7")].map(|key| [key; 2]);
    assert_eq!(keys, expected.concat());
}

#[test]
fn a_registry_without_a_key_has_its_panics_traced_too() {
    let registry = SyncRegistry::<u32>::new();
    registry.register(|_| std::panic::panic_any(0));
    let events = told(|| assert_eq!(registry.notify(&0).panicked(), 1));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].1["message"], "a panic without a message");
    assert!(!events[0].1.contains_key("key"));
}

/// It is the user's, and its panic goes no further.
/// Uses the topics that it hears of, and logs what it hears.
struct Busy;

thread_local! {
    // The subscriber is the program's: it only acts on the thread of its test.
    static BUSY: RefCell<Option<(Topics, Log<String>)>> = const { RefCell::new(None) };
}

impl Subscriber for Busy {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "topic_registry" && BUSY.with_borrow(Option::is_some)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("there are no spans")
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (topics, log) = BUSY.with_borrow(Clone::clone).expect("it is enabled");
        let mut fields = Visitor(Fields::new());
        event.record(&mut fields);
        log.push(format!("{} {}", fields.0["message"], fields.0["key"]));
        let handle = topics.handle("another");
        let _guard = handle.register_guard(|_| {});
        assert_eq!(handle.notify(&0).called(), 1);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// It does not hear of its own topics, or that would never end. Only the subscriber of the
/// whole program can: `tracing` keeps that of a thread from it.
#[test]
fn a_subscriber_may_use_the_topics_that_it_hears_of() {
    subscriber::set_global_default(Busy).expect("there is no other");
    let (topics, log) = (Topics::new(), Log::new());
    BUSY.set(Some((topics.clone(), log.clone())));
    for _ in 0..2 {
        drop(topics.register_guard("a", |_| {}));
        assert_eq!(log.take(), ["topic created a", "topic removed a"]);
    }
    BUSY.take();
    assert_eq!((topics.len(), topics.panic_count()), (0, 0));
}

#[test]
fn a_subscriber_may_notify_and_panic() {
    struct Hostile(Option<Topics>);
    impl Subscriber for Hostile {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            unreachable!("there are no spans")
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {
            if let Some(topics) = &self.0 {
                assert_eq!(topics.notify("a", &0).called(), 1);
            }
            panic!("a subscriber");
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let topics = Topics::new();
    topics.register("a", |_| panic!("a handler"));
    subscriber::with_default(Hostile(None), || drop(topics.handle("b")));
    subscriber::with_default(Hostile(Some(topics.clone())), || {
        assert_eq!(topics.notify("a", &0).panicked(), 1);
    });
    // Two events of the topic, and the handler's: nested, but not reported without end.
    assert_eq!(topics.panic_count(), 2 + 2 + 1);
    let timed = Topics::builder().on_slow(Duration::ZERO, |_, _, _| {}).build();
    timed.register("a", |_| {});
    subscriber::with_default(Hostile(Some(timed.clone())), || {
        assert_eq!(timed.notify("a", &0).called(), 1);
    });
    assert_eq!(timed.panic_count(), 1, "a subscriber's are counted, too");
}
