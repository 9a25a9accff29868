//! Weak registries: what one gives out is the key's one live topic, whatever ends the topic
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use topic_registry::{SyncRegistry, TopicHandle};

use super::sync::atomic::AtomicBool;
use super::{Count, Topics, together};

type Work = Box<dyn FnOnce() + Send>;

/// Work that is not done before the topic has no other owner.
type End = fn(&Topics, TopicHandle<u8, u32>) -> Vec<Work>;

/// What may end a topic, by name.
pub(crate) const ENDS: [(&str, End); 3] = [
    ("its last handle", |_, handle| {
        vec![Box::new(|| drop(handle))]
    }),
    ("its last handler", |_, handle| {
        let guard = handle.register_guard(|_| {});
        vec![Box::new(|| drop(guard))]
    }),
    // One of the two finds no handler, and perhaps no topic that is in the map.
    ("its last handler, twice", |topics, handle| {
        let (guard, topics) = (handle.register_guard(|_| {}), topics.clone());
        let id = guard.id();
        vec![
            Box::new(|| drop(guard)),
            Box::new(move || _ = topics.unregister(&0, id)),
        ]
    }),
];

/// Upgrades at so many threads, beside the end of the topic and, if it is asked for, beside
/// somebody who makes the topic again.
pub(crate) fn upgrade_beside_an_end(end: End, upgrades: u32, is_made_again: bool) {
    let topics = Topics::new();
    let handle = topics.handle(0);
    let weak = handle.downgrade();
    let mut work = end(&topics, handle);
    for number in 1..=upgrades {
        let (topics, weak) = (topics.clone(), weak.clone());
        work.push(Box::new(move || match weak.upgrade() {
            Some(registry) => is_the_topic(&topics, &registry, number),
            None => assert!(weak.upgrade().is_none(), "it came back"),
        }));
    }
    if is_made_again {
        let topics = topics.clone();
        work.push(Box::new(move || {
            is_the_topic(&topics, &topics.handle(0), 0)
        }));
    }
    together(work);
    assert_eq!(topics.len(), 0, "a topic was left");
    assert!(weak.upgrade().is_none(), "it came back");
}

/// What is registered there is heard by key, and found by key: a map has one topic a key, so of two
/// registries of which this holds at once, both are that one.
///
/// `number` is the event of this thread.
fn is_the_topic(topics: &Topics, registry: &SyncRegistry<u32>, number: u32) {
    let calls = Count::default();
    let own = calls.clone();
    let guard = registry.register_guard(move |event| {
        if *event == number {
            own.up();
        }
    });
    topics.notify(&0, &number);
    assert_eq!(calls.get(), 1, "it is not the topic of its key");
    let found = topics.get(&0);
    assert!(found.is_some_and(|topic| topic.contains(guard.id())));
}

/// The last clone of a registry is dropped beside an upgrade: the closure is dropped once, and no
/// upgrade succeeds after that.
pub(crate) fn upgrade_beside_the_last_clone() {
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let owned = Arc::clone(&alive);
    registry.register(move |_| _ = &owned);
    let weak = registry.downgrade();
    let same = weak.clone();
    together(vec![
        Box::new(move || drop(registry)),
        Box::new(move || {
            if let Some(registry) = same.upgrade() {
                assert_eq!(registry.notify(&0).called(), 1);
            }
        }),
    ]);
    assert!(weak.upgrade().is_none(), "it came back");
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// A value that counts its drop.
struct Owned(Count);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.up();
    }
}

/// The last clone of topics is dropped beside a thread that prunes one of them, which owns the map
/// for a moment: the observers have ended when that drop returns, and no upgrade succeeds.
pub(crate) fn the_last_clone_beside_a_prune() {
    let (topics, drops) = (Topics::new(), Count::default());
    let owned = Owned(drops.clone());
    topics.observe_interest(move |_, _| _ = &owned).forget();
    let (handle, weak) = (topics.handle(0), topics.downgrade());
    // `loom` explores the orders of steps on the same object, and knows nothing of `Arc`: without
    // an object of both, it would see no reason to let the other thread begin.
    let [both, too] = [(); 2].map({
        let object = Arc::new(AtomicBool::new(false));
        move |()| Arc::clone(&object)
    });
    together(vec![
        Box::new(move || {
            both.store(true, Ordering::SeqCst);
            drop(handle);
        }),
        Box::new(move || {
            too.load(Ordering::SeqCst);
            drop(topics);
            assert_eq!(drops.get(), 1, "an observer outlived the topics");
            assert!(weak.upgrade().is_none(), "they came back");
        }),
    ]);
}

/// The last clone of topics is dropped beside an upgrade: one of the two ends the observers, once.
pub(crate) fn upgrade_beside_the_last_topics() {
    let (topics, drops) = (Topics::new(), Count::default());
    let owned = Owned(drops.clone());
    topics.observe_interest(move |_, _| _ = &owned).forget();
    let (weak, same, ended) = (topics.downgrade(), topics.downgrade(), drops.clone());
    together(vec![
        Box::new(move || drop(topics)),
        Box::new(move || {
            if let Some(topics) = same.upgrade() {
                assert_eq!(ended.get(), 0, "its observers are gone");
                let calls = Count::default();
                let own = calls.clone();
                topics.register(0, move |_| own.up());
                topics.notify(&0, &0);
                assert_eq!(calls.get(), 1, "its topics are gone");
            }
        }),
    ]);
    assert_eq!(drops.get(), 1);
    assert!(weak.upgrade().is_none(), "they came back");
}
