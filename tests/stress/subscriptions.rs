//! Subscribing against pruning, from many threads: nothing lost, nothing left.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use topic_registry::{SyncRegistry, TopicRegistry};

use crate::{LONG, SHORT, race};

type Topics = TopicRegistry<String, u64>;

/// A handler that counts the calls for its own thread's events.
fn counter(thread: u64) -> (Arc<AtomicU64>, impl Fn(&u64) + Send + Sync + 'static) {
    let count = Arc::new(AtomicU64::new(0));
    let calls = Arc::clone(&count);
    let handler = move |event: &u64| {
        if *event == thread {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    (count, handler)
}

fn subscribers_hear_their_own_notification(time: Duration) {
    let topics = Topics::new();
    let subscribe = |thread| {
        let (count, handler) = counter(thread);
        let id = topics.register("key", handler);
        assert!(topics.notify("key", &thread).called() >= 1);
        assert_eq!(count.load(Ordering::Relaxed), 1, "a notification was lost");
        assert!(topics.unregister("key", id), "a registration was lost");
    };
    let disturb = || {
        let handle = topics.handle("key");
        drop(handle.clone());
        assert_eq!(handle.key(), "key");
    };
    let rounds = race(time, 6, subscribe, disturb);
    assert!(rounds > 0);
    assert_eq!(topics.len(), 0, "a topic was left after {rounds} rounds");
    println!("{rounds} rounds");
}

fn guards_and_handles_hear_their_own_notification(time: Duration) {
    let topics = Topics::new();
    let subscribe = |thread| {
        let key = if thread % 2 == 0 { "even" } else { "odd" };
        let (count, handler) = counter(thread);
        let topic = topics.handle(key);
        let guard = topic.register_guard(handler);
        match thread % 3 {
            0 => topic.notify(&thread),
            1 => topic.pin().notify(&thread),
            _ => SyncRegistry::clone(&topic).notify(&thread),
        };
        drop(topic);
        topics.notify(key, &thread);
        assert_eq!(count.load(Ordering::Relaxed), 2, "a notification was lost");
        drop(guard);
        topics.notify(key, &thread);
        assert_eq!(
            count.load(Ordering::Relaxed),
            2,
            "a removed handler was called"
        );
    };
    let disturb = || {
        topics.shrink_to_fit();
        drop(topics.get("even"));
        topics.notify("odd", &u64::MAX);
        drop(topics.register_guard("odd", |_| {}));
    };
    let rounds = race(time, 4, subscribe, disturb);
    assert_eq!(topics.len(), 0, "a topic was left after {rounds} rounds");
    println!("{rounds} rounds");
}

fn each_once_handler_is_called_once(time: Duration) {
    let topics = Topics::new();
    let (registered, called) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
    let register = |_| {
        let calls = Arc::clone(&called);
        registered.fetch_add(1, Ordering::Relaxed);
        topics.register_once("key", move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        topics.notify("key", &0);
    };
    let disturb = || {
        topics.notify("key", &0);
    };
    race(time, 4, register, disturb);
    topics.notify("key", &0);
    assert_eq!(called.load(Ordering::Relaxed), registered.into_inner());
    assert_eq!(topics.len(), 0);
}

thread_local! {
    static LOOKING_UP: Cell<bool> = const { Cell::new(false) };
}

/// Counts itself if it is dropped while its thread looks a key up.
struct Tattler(Arc<AtomicU64>);

impl Drop for Tattler {
    fn drop(&mut self) {
        self.0.fetch_add(u64::from(LOOKING_UP.get()), Ordering::Relaxed);
    }
}

/// A look-up by key may find itself the last to let go of a list, and must not drop it under
/// the lock that it holds. It takes several nested dispatches to get there, and writers.
fn look_ups_drop_nothing_under_their_lock(time: Duration) {
    let topics = Topics::new();
    let handle = topics.handle("key");
    handle.register_with_priority(1, |_| LOOKING_UP.set(false));
    let look_up = |_| {
        let topics = topics.clone();
        let innermost = SyncRegistry::<()>::new();
        innermost.register(move |()| {
            for _ in 0..10_000 {
                LOOKING_UP.set(true);
                topics.notify("key", &0);
            }
        });
        let nested = (0..8).fold(innermost, |inner, _| {
            let outer = SyncRegistry::<()>::new();
            outer.register(move |()| assert_eq!(inner.notify(&()).panicked(), 0));
            outer
        });
        assert_eq!(nested.notify(&()).panicked(), 0);
    };
    let dropped = Arc::new(AtomicU64::new(0));
    let churn = || {
        let tattler = Tattler(Arc::clone(&dropped));
        drop(handle.register_guard(move |_| {
            let _ = &tattler;
        }));
    };
    race(time, 3, look_up, churn);
    assert_eq!(dropped.load(Ordering::Relaxed), 0, "dropped under a lock");
}

#[test]
fn no_look_up_drops_a_closure_under_its_lock() {
    look_ups_drop_nothing_under_their_lock(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn no_look_up_drops_a_closure_under_its_lock_for_long() {
    look_ups_drop_nothing_under_their_lock(LONG);
}

#[test]
fn no_notification_is_lost_and_no_topic_is_left() {
    subscribers_hear_their_own_notification(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn no_notification_is_lost_and_no_topic_is_left_for_long() {
    subscribers_hear_their_own_notification(LONG);
}

#[test]
fn no_way_to_a_topic_loses_a_notification() {
    guards_and_handles_hear_their_own_notification(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn no_way_to_a_topic_loses_a_notification_for_long() {
    guards_and_handles_hear_their_own_notification(LONG);
}

#[test]
fn no_once_handler_is_lost_or_called_twice() {
    each_once_handler_is_called_once(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn no_once_handler_is_lost_or_called_twice_for_long() {
    each_once_handler_is_called_once(LONG);
}
