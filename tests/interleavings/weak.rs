//! Weak registries: what one gives out is the key's one live topic, whatever ends the topic meanwhile.

use std::sync::Arc;

use topic_registry::{SyncRegistry, TopicHandle};

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

/// Upgrades at so many threads, beside the end of the topic and, if it is asked for, beside somebody
/// who makes the topic again.
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
