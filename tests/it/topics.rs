//! One live topic a key, for as long as it has a handler or a handle (G10).

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;

use topic_registry::{Delivery, SyncRegistry, TopicHandle, TopicRegistry};

use crate::support::{Log, OnDrop, owning};

type Topics = TopicRegistry<String, u32>;

#[test]
fn every_way_to_a_key_reaches_the_same_handlers() {
    let (topics, log) = (Topics::new(), Log::new());
    let (one, two) = (topics.handle("a"), topics.get("a").unwrap());
    let bare: SyncRegistry<u32> = SyncRegistry::clone(&one);
    let handler = |name| {
        let log = log.clone();
        move |event: &u32| log.push((name, *event))
    };
    topics.register("a", handler("key"));
    one.register(handler("handle"));
    bare.register(handler("bare"));
    let ways: [&dyn Fn(&u32) -> Delivery; 5] = [
        &|event| topics.notify("a", event),
        &|event| one.notify(event),
        &|event| two.notify(event),
        &|event| bare.notify(event),
        &|event| two.pin().notify(event),
    ];
    for (event, notify) in (0..).zip(ways) {
        assert_eq!(notify(&event).called(), 3);
        assert_eq!(
            log.take(),
            ["key", "handle", "bare"].map(|name| (name, event))
        );
    }
    assert_eq!(topics.notify("b", &0).called(), 0);
    assert_eq!(one.key(), "a");
}

#[test]
fn what_is_the_same_compares_equal_and_nothing_else_does() {
    let (topics, others) = (Topics::new(), Topics::new());
    assert!(topics.ptr_eq(&topics.clone()) && !topics.ptr_eq(&others));
    let (handle, other) = (topics.handle("a"), topics.handle("b"));
    assert!(handle.ptr_eq(&topics.handle("a")) && handle.ptr_eq(&handle.clone()));
    assert!(!handle.ptr_eq(&other) && !handle.ptr_eq(&others.handle("a")));
}

#[test]
fn asking_makes_nothing() {
    let topics = Topics::new();
    let id = topics.register("known", |_| {});
    assert!(topics.get("unknown").is_none());
    assert!(!topics.contains_key("unknown"));
    assert!(!topics.unregister("unknown", id));
    assert!(!topics.remove("unknown"));
    assert_eq!(topics.notify("unknown", &0).called(), 0);
    assert_eq!(topics.keys(), ["known"]);
    assert_eq!(topics.len(), 1);
    assert!(topics.unregister("known", id));
    assert!(topics.is_empty());
}

#[test]
fn keys_names_them_all() {
    let topics = TopicRegistry::<u64, u32>::new();
    let handles: Vec<_> = (0..100u64).map(|key| topics.handle(key)).collect();
    assert_eq!(
        topics.keys().into_iter().collect::<BTreeSet<_>>(),
        (0..100).collect()
    );
    assert!(topics.len() == 100 && !topics.is_empty());
    drop(handles);
    assert!(topics.keys().is_empty() && topics.is_empty());
}

/// Whatever can be the last owner of a topic takes the topic with it.
#[test]
fn a_topic_goes_with_its_last_owner() {
    type Way = (&'static str, fn(&Topics));
    let ways: [Way; 14] = [
        ("a handle", |topics| drop(topics.handle("a"))),
        ("two handles", |topics| {
            drop([topics.handle("a"), topics.handle("a")]);
        }),
        ("a clone of a handle", |topics| {
            let handle = topics.handle("a");
            let clone = handle.clone();
            drop(handle);
            assert!(topics.contains_key("a"));
            drop(clone);
        }),
        ("a bare registry", |topics| {
            drop(SyncRegistry::clone(&topics.handle("a")));
        }),
        ("a pin", |topics| drop(topics.handle("a").pin())),
        ("a guard", |topics| drop(topics.register_guard("a", |_| {}))),
        ("a guard with a priority", |topics| {
            drop(topics.handle("a").options().priority(1).guard().register(|_| {}));
        }),
        ("a guard made through a handle", |topics| {
            let guard = topics.handle("a").register_guard(|_| {});
            assert!(topics.contains_key("a"));
            drop(guard);
        }),
        ("a guard that outlives the handle's clear", |topics| {
            let guard = topics.register_guard("a", |_| {});
            topics.handle("a").clear();
            assert!(!topics.contains_key("a"));
            drop(guard);
        }),
        ("an id", |topics| {
            let id = topics.register("a", |_| {});
            assert!(topics.unregister("a", id));
        }),
        ("a removal", |topics| {
            topics.register_with_priority("a", 1, |_| {});
            assert!(topics.remove("a"));
        }),
        ("a handler that ran once, by key", |topics| {
            topics.register_once("a", |_| {});
            assert_eq!(topics.notify("a", &0).called(), 1);
        }),
        ("a handler that ran once, by handle", |topics| {
            topics.register_once("a", |_| {});
            assert_eq!(topics.handle("a").notify(&0).called(), 1);
        }),
        ("a handler that removes the last one, by key", |topics| {
            let same = topics.clone();
            topics.register("a", move |_| assert!(same.remove("a")));
            assert_eq!(topics.notify("a", &0).called(), 1);
        }),
    ];
    for (way, run) in ways {
        let topics = Topics::new();
        run(&topics);
        assert_eq!(topics.len(), 0, "the last owner was {way}");
    }
}

#[test]
fn a_handler_keeps_its_topic_without_a_handle() {
    let topics = Topics::new();
    let id = topics.register("a", |_| {});
    assert_eq!(topics.notify("a", &0).called(), 1);
    topics.shrink_to_fit();
    assert!(topics.contains_key("a"));
    assert!(topics.unregister("a", id));
    assert!(!topics.contains_key("a"));
}

#[test]
fn a_handle_is_never_orphaned() {
    let topics = Topics::new();
    let handle = topics.handle("a");
    let id = topics.register("a", |_| {});
    topics.remove("a");
    topics.clear();
    drop(topics.handle("a"));
    assert!(!topics.unregister("a", id));
    topics.register("a", |_| {});
    assert_eq!(handle.notify(&0).called(), 1);
    assert_eq!(topics.len(), 1);
}

/// A handler that was registered through a handle, or by key, is reached by key, and one
/// that was just made is not lost to another thread's prune.
#[test]
fn no_registration_is_lost_to_a_prune() {
    let (topics, start) = (Topics::new(), Barrier::new(4));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (topics, start) = (&topics, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..20_000 {
                    let guard = match (thread + round) % 3 {
                        0 => topics.register_guard("a", |_| {}),
                        1 => topics.handle("a").register_guard(|_| {}),
                        _ => SyncRegistry::clone(&topics.handle("a")).register_guard(|_| {}),
                    };
                    assert!(topics.notify("a", &0).called() >= 1);
                    assert!(topics.get("a").is_some_and(|topic| topic.contains(guard.id())));
                }
            });
        }
    });
    assert_eq!(topics.len(), 0);
}

#[test]
fn two_handles_that_are_dropped_together_take_the_topic_along() {
    for _ in 0..2_000 {
        let (topics, start) = (Topics::new(), Barrier::new(2));
        let handles = [topics.handle("a"), topics.handle("a")];
        thread::scope(|scope| {
            for handle in handles {
                scope.spawn(|| {
                    start.wait();
                    drop(handle);
                });
            }
        });
        assert_eq!(topics.len(), 0);
    }
}

#[test]
fn threads_that_make_the_same_topic_get_the_same_one() {
    for _ in 0..500 {
        let (topics, start) = (Topics::new(), Barrier::new(4));
        let make = || {
            start.wait();
            topics.handle("a")
        };
        let handles: Vec<TopicHandle<String, u32>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for handle in &handles {
            handle.register(|_| {});
        }
        assert!(handles.iter().all(|handle| handle.notify(&0).called() == 4));
        assert_eq!(topics.len(), 1);
    }
}

#[test]
fn handles_go_on_without_the_topics() {
    let topics = Topics::new();
    let handle = topics.handle("a");
    drop(topics);
    let guard = handle.register_guard(|_| {});
    assert_eq!(handle.notify(&0).called(), 1);
    drop(guard);
    assert!(handle.is_empty());
    assert_eq!(handle.key(), "a");
}

#[test]
fn what_a_topic_owns_goes_with_the_topics() {
    let (topics, log) = (Topics::new(), Log::new());
    for key in ["a", "b"] {
        let (log, handle) = (log.clone(), topics.handle("other"));
        let last = OnDrop(move || log.push((key, handle.handler_count())));
        topics.register(key, owning(last));
    }
    drop(topics);
    let mut dropped = log.take();
    dropped.sort_unstable();
    assert_eq!(dropped, [("a", 0), ("b", 0)]);
}

#[test]
fn clones_are_the_same_topics() {
    let topics = Topics::default();
    let clone = topics.clone();
    let alive = Arc::new(());
    topics.register("a", owning(Arc::clone(&alive)));
    assert!(clone.remove("a"));
    assert_eq!(Arc::strong_count(&alive), 1);
}
