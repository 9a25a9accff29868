//! Pins: as up to date as the registry, and what an idle one keeps.

use std::sync::Arc;

use topic_registry::{SyncRegistry, TopicRegistry};

use crate::support::{Log, owning};

#[test]
fn a_pin_sees_what_the_registry_sees() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let mut pinned = registry.pin();
    assert_eq!(pinned.notify(&0).called(), 0);
    let (first, second) = (log.clone(), log.clone());
    let id = registry.register(move |event| first.push(("first", *event)));
    assert_eq!(pinned.notify(&1).called(), 1);
    registry.register_with_priority(1, move |event| second.push(("second", *event)));
    assert_eq!(pinned.notify(&2).called(), 2);
    registry.unregister(id);
    assert_eq!(pinned.notify(&3).called(), 1);
    registry.clear();
    assert_eq!(pinned.notify(&4).called(), 0);
    assert_eq!(
        log.take(),
        [("first", 1), ("second", 2), ("first", 2), ("second", 3)]
    );
}

#[test]
fn a_pin_keeps_its_registry() {
    let registry = SyncRegistry::<u32>::new();
    registry.register(|_| {});
    let mut pinned = registry.pin();
    drop(registry);
    assert_eq!(pinned.notify(&0).called(), 1);
}

#[test]
fn a_pin_that_idles_keeps_removed_closures_until_it_is_refreshed() {
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let id = registry.register(owning(Arc::clone(&alive)));
    let mut pinned = registry.pin();
    registry.unregister(id);
    assert_eq!(Arc::strong_count(&alive), 2);
    pinned.refresh();
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_pin_moves_to_another_thread() {
    let registry = SyncRegistry::<u32>::new();
    registry.register(|_| {});
    let mut pinned = registry.pin();
    let called = std::thread::spawn(move || pinned.notify(&0).called());
    assert_eq!(called.join().unwrap(), 1);
}

#[test]
fn a_pin_of_a_topic_keeps_the_topic_and_takes_it_along() {
    let topics = TopicRegistry::<String, u32>::new();
    let mut pinned = topics.handle("a").pin();
    assert!(topics.contains_key("a"));
    topics.register("a", |_| {});
    assert_eq!(pinned.notify(&0).called(), 1);
    topics.remove("a");
    assert!(topics.contains_key("a"));
    drop(pinned);
    assert!(!topics.contains_key("a"));
}
