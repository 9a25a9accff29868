//! Weak registries: what they lead to, and that they keep nothing.

use std::cell::RefCell;
use std::sync::Arc;

use topic_registry::{Registry, SyncRegistry, TopicRegistry, WeakTopicRegistry};

use crate::support::{ByKey, KEY, Listens, Log, Subject, for_each_subject};

for_each_subject! {
    it_leads_to_its_registry_until_that_is_gone
    a_handler_that_has_its_registry_weakly_goes_with_it
    an_upgraded_registry_keeps_it
    guards_that_outlive_their_registry_do_nothing
}

fn it_leads_to_its_registry_until_that_is_gone<S: Subject>() {
    let subject = S::fresh();
    let id = subject.register(0, |_| {});
    let weak = subject.registry().downgrade();
    let same = weak.upgrade().expect("it is there");
    assert!(same.contains(id));
    drop((same, subject));
    assert!(weak.upgrade().is_none() && weak.clone().upgrade().is_none());
    let shown = format!("{weak:?}");
    assert!(
        shown.starts_with("Weak") && shown.ends_with("Registry { .. }"),
        "{shown}"
    );
}

fn a_handler_that_has_its_registry_weakly_goes_with_it<S: Subject>() {
    let (subject, log, alive) = (S::fresh(), Log::new(), Arc::new(()));
    let registry = subject.registry();
    let (weak, owned, counts) = (registry.downgrade(), Arc::clone(&alive), log.clone());
    subject.register(0, move |_| {
        let _ = &owned;
        counts.push(weak.upgrade().map(|registry| registry.handler_count()));
    });
    drop(registry);
    assert_eq!(subject.notify(&0).called(), 1);
    assert_eq!(log.take(), [Some(1)]);
    drop(subject);
    assert_eq!(Arc::strong_count(&alive), 1);
}

fn an_upgraded_registry_keeps_it<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let registry = subject.registry();
    subject.register(0, move |_| _ = &owned);
    let upgraded = registry.downgrade().upgrade().expect("it is there");
    drop((registry, subject));
    assert_eq!(
        (upgraded.handler_count(), Arc::strong_count(&alive)),
        (1, 2)
    );
    drop(upgraded);
    assert_eq!(Arc::strong_count(&alive), 1);
}

fn guards_that_outlive_their_registry_do_nothing<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    let guard = subject.guard(|_| {});
    let paused = registry.pause(guard.id()).expect("it is registered");
    let (recorder, mut waiting) = (registry.record(|_| ()), registry.wait_for(|_| Some(())));
    drop((registry, subject));
    assert!(recorder.wait_for_count(1, std::time::Duration::MAX).is_err());
    assert!(waiting.wait_timeout(std::time::Duration::MAX).is_err());
    drop((guard, paused, recorder, waiting));
}

/// Runs the behaviour for topics of each flavor, by key.
macro_rules! for_topics_by_key {
    ($($behaviour:ident)*) => {
        $(mod $behaviour {
            #[test]
            fn key() {
                super::$behaviour::<super::ByKey>();
            }
            #[cfg(feature = "async")]
            #[test]
            fn async_key() {
                super::$behaviour::<crate::support::AsyncByKey>();
            }
        })*
    };
}

for_topics_by_key! {
    a_topic_that_went_is_not_brought_back
    what_is_upgraded_is_the_topic_of_the_key
    guards_of_a_topic_that_went_leave_its_successor_alone
}

fn a_topic_that_went_is_not_brought_back<S: Subject>() {
    let subject = S::fresh();
    let topics = subject.topics().expect("it is used by its key");
    let handle = topics.handle(KEY);
    let weak = handle.downgrade();
    assert_eq!(topics.len(), 1, "it is no handle that keeps the topic");
    drop(handle);
    assert!(weak.upgrade().is_none() && topics.is_empty());
    let successor = topics.handle(KEY);
    assert!(weak.upgrade().is_none());
    assert!(successor.downgrade().upgrade().is_some());

    let weak = successor.downgrade();
    drop(successor);
    subject.once(|_| {});
    assert!(weak.upgrade().is_none(), "the handler is another topic's");
    assert_eq!(subject.notify(&0).called(), 1);
    assert!(topics.is_empty());
}

/// It has a handler and no handle.
fn what_is_upgraded_is_the_topic_of_the_key<S: Subject>() {
    let subject = S::fresh();
    let topics = subject.topics().expect("it is used by its key");
    let id = subject.register(0, |_| {});
    let weak = topics.handle(KEY).downgrade();
    let upgraded = weak.upgrade().expect("it has a handler");
    let recorder = upgraded.record(|event| *event);
    assert_eq!(subject.notify(&7).called(), 2);
    assert_eq!(recorder.take(), [7]);
    drop(recorder);
    assert!(subject.unregister(id));
    assert_eq!(topics.len(), 1, "it is kept by what was upgraded");
    assert!(topics.handle(KEY).is_empty());
    subject.register(0, |_| {});
    assert_eq!(upgraded.handler_count(), 1, "and is the same still");
    subject.clear();
    drop(upgraded);
    assert!(weak.upgrade().is_none() && topics.is_empty());
}

fn guards_of_a_topic_that_went_leave_its_successor_alone<S: Subject>() {
    let subject = S::fresh();
    let topics = subject.topics().expect("it is used by its key");
    let registry = subject.registry();
    let guard = subject.guard(|_| {});
    let paused = registry.pause(guard.id()).expect("it is registered");
    let (recorder, waiting) = (registry.record(|_| ()), registry.wait_for(|_| Some(())));
    drop(registry);
    subject.clear();
    assert!(topics.is_empty());
    subject.register(0, |_| {});
    drop((guard, paused, recorder, waiting));
    assert_eq!((topics.len(), subject.notify(&0).called()), (1, 1));
}

/// Runs what was left to it when it is cloned.
#[derive(PartialEq, Eq, Hash)]
struct Hooked;

thread_local! {
    static ON_CLONE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

impl Clone for Hooked {
    fn clone(&self) -> Self {
        if let Some(hook) = ON_CLONE.take() {
            hook();
        }
        Self
    }
}

/// Who lists the topics keeps the memory of each for a moment, but no topic.
#[test]
fn a_topic_that_went_is_not_brought_back_while_its_memory_is_there() {
    let topics = TopicRegistry::<Hooked, u32>::new();
    let (handle, same, log) = (topics.handle(Hooked), topics.clone(), Log::new());
    let (weak, upgrades) = (handle.downgrade(), log.clone());
    ON_CLONE.set(Some(Box::new(move || {
        drop(handle);
        assert!(same.is_empty());
        upgrades.push(weak.upgrade().is_some());
        let successor = same.handle(Hooked);
        upgrades.push(weak.upgrade().is_some());
        drop(successor);
    })));
    assert_eq!(topics.keys().len(), 1);
    assert_eq!(log.take(), [false, false]);
    assert!(topics.is_empty());
}

#[test]
fn a_handle_that_outlives_its_topics_is_upgraded_to() {
    let topics = TopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    let (weak, weak_topics) = (handle.downgrade(), topics.downgrade());
    drop(topics);
    assert!(
        weak_topics.upgrade().is_none(),
        "a handle does not keep the topics"
    );
    let upgraded = weak.upgrade().expect("the handle is there");
    drop(handle);
    upgraded.register(|_| {});
    assert_eq!(
        weak.upgrade().map(|registry| registry.notify(&0).called()),
        Some(1)
    );
    drop(upgraded);
    assert!(weak.upgrade().is_none());
}

#[test]
fn weak_topics_lead_to_the_topics_until_the_last_clone_is_dropped() {
    let (topics, alive) = (TopicRegistry::<String, u32>::new(), Arc::new(()));
    let weak: WeakTopicRegistry<String, u32> = topics.downgrade();
    let (inner, owned) = (weak.clone(), Arc::clone(&alive));
    topics.register("a", move |event| {
        let _ = &owned;
        let topics = inner.upgrade().expect("it notifies");
        topics.notify("b", event);
    });
    let recorder = topics.handle("b").record(|event| *event);
    assert_eq!(topics.notify("a", &7).panicked(), 0);
    assert_eq!(recorder.take(), [7]);
    let upgraded = weak.upgrade().expect("they are there");
    drop(topics);
    assert_eq!(upgraded.len(), 2, "it is a clone like others");
    drop(upgraded);
    assert!(weak.upgrade().is_none());
    assert_eq!(Arc::strong_count(&alive), 1, "no cycle is left");
    assert_eq!(format!("{weak:?}"), "WeakTopicRegistry { .. }");
}

#[test]
fn a_pin_keeps_what_a_weak_registry_leads_to() {
    let registry = SyncRegistry::<u32>::new();
    let (weak, pinned) = (registry.downgrade(), registry.pin());
    drop(registry);
    assert!(weak.upgrade().is_some());
    drop(pinned);
    assert!(weak.upgrade().as_ref().map(Registry::handler_count).is_none());
}
