//! What a registry and its topics say of themselves.

use std::fmt;
use std::ops::ControlFlow::Continue;
use std::panic::Location;

use topic_registry::{HandlerInfo, HookTopicRegistry, Owned, SyncRegistry, TopicRegistry};

use crate::support::{Intercepts, Subject, for_each_subject, owning, within};

for_each_subject! {
    handlers_are_listed_in_the_order_of_their_calls
}

fn handlers_are_listed_in_the_order_of_their_calls<S: Subject>() {
    let subject = S::fresh();
    assert!(subject.registry().handlers().is_empty());
    let low = subject.register(-1, |_| {});
    let (registry, here) = (subject.registry(), Location::caller());
    let high = registry.options().priority(7).register_interceptor(|_| Continue(()));
    let handlers = subject.registry().handlers();
    let places: Vec<_> = handlers.iter().map(|info| (info.id, info.priority)).collect();
    assert_eq!(places, [(high, 7), (low, -1)]);
    let at = handlers[0].registered_at;
    assert_eq!((at.file(), at.line()), (here.file(), here.line() + 1));
    subject.clear();
    assert!(subject.registry().handlers().is_empty());
}

#[test]
fn topics_are_listed_with_their_counts() {
    let topics = TopicRegistry::<String, u32>::new();
    assert!(topics.topics().is_empty());
    let handle = topics.handle("kept");
    let _pin = handle.pin();
    let _bare = topic_registry::SyncRegistry::clone(&handle);
    for _ in 0..100 {
        topics.register("used", |_| {});
    }
    let mut listed = topics.topics();
    listed.sort_by(|one, other| one.key.cmp(&other.key));
    let counts: Vec<_> = listed
        .iter()
        .map(|info| (info.key.as_str(), info.handlers, info.handles))
        .collect();
    assert_eq!(counts, [("kept", 0, 3), ("used", 100, 0)]);
}

/// What is listed is a copy: the caller may use everything while looking at it.
#[test]
fn a_listing_holds_no_lock() {
    within("calls beside a listing", || {
        let topics = TopicRegistry::<String, u32>::new();
        for n in 0..100 {
            topics.register(n.to_string(), |_| {});
        }
        for info in topics.topics() {
            for HandlerInfo { id, .. } in topics.handle(info.key.clone()).handlers() {
                assert!(topics.unregister(&info.key, id));
            }
        }
        assert!(topics.is_empty());
    });
}

#[test]
fn debug_shows_counts_and_no_closures() {
    let topics = TopicRegistry::<String, u32>::builder().name("bus").build();
    topics.register("a", owning("a secret"));
    topics.register("a", |_| panic!("counted"));
    topics.notify("a", &0);
    let text = format!("{topics:?} {:?} {:?}", topics.handle("a"), topics.topics());
    for part in [
        "\"bus\"",
        "topics: 1",
        "handlers: 2",
        "panics: 1",
        "key: \"a\"",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("secret"));
}

#[test]
fn debug_shows_the_name_that_the_user_wrote() {
    fn shown(value: &dyn fmt::Debug) -> String {
        let text = format!("{value:?}");
        text.split(' ').next().expect("it has a name").to_owned()
    }
    let topics = TopicRegistry::<u8, u32>::new();
    let handle = topics.handle(1);
    assert_eq!(shown(&topics), "TopicRegistry");
    assert_eq!(shown(&handle), "TopicHandle");
    assert_eq!(shown(&*handle), "SyncRegistry");
    assert_eq!(shown(&handle.pin()), "Pinned");
    assert_eq!(shown(&handle.downgrade()), "WeakSyncRegistry");
    assert_eq!(shown(&topics.downgrade()), "WeakTopicRegistry");
    let hooks = HookTopicRegistry::<u8, Owned<u32>>::new();
    assert_eq!(shown(&hooks), "HookTopicRegistry");
    assert_eq!(shown(&hooks.handle(1)), "HookTopicHandle");
    assert_eq!(shown(&*hooks.handle(1)), "HookRegistry");
    #[cfg(feature = "async")]
    {
        let topics = topic_registry::AsyncTopicRegistry::<u8, u32>::new();
        assert_eq!(shown(&topics), "AsyncTopicRegistry");
        assert_eq!(shown(&topics.handle(1)), "AsyncTopicHandle");
        assert_eq!(shown(&*topics.handle(1)), "AsyncRegistry");
        assert_eq!(shown(&topics.downgrade()), "WeakAsyncTopicRegistry");
    }
}

#[test]
#[should_panic(expected = "the name of a topic registry is empty")]
fn a_name_is_not_empty() {
    let _ = TopicRegistry::<String, u32>::builder().name("");
}

#[test]
fn debug_shows_what_is_under_way() {
    let builder = TopicRegistry::<u8, u32>::builder().name("bus");
    assert_eq!(
        format!("{builder:?}"),
        r#"TopicsBuilder { name: Some("bus"), .. }"#
    );
    let registry = SyncRegistry::<u32>::new();
    let first = registry.register(|_| {});
    registry.update(|batch| {
        batch.register(|_| {});
        batch.unregister(first);
        let text = format!("{batch:?}");
        assert_eq!(text, "Batch { added: 1, removed: 1, cleared: false, .. }");
    });
    let text = format!("{:?}", registry.notify(&0));
    assert_eq!(text, "Delivery { called: 1, panicked: 0, stopped: false }");
}

#[test]
fn debug_of_a_guard_shows_its_handler() {
    let registry = SyncRegistry::<u32>::new();
    let wait = registry.wait_for(|_| Some(()));
    assert_eq!(format!("{wait:?}"), format!("WaitFor({:?})", wait.id()));
    let joinable = registry.options().joinable().register(|_| {});
    let id = joinable.id();
    assert_eq!(format!("{joinable:?}"), format!("JoinGuard({id:?})"));
    let paused = registry.pause(id).expect("it is registered");
    assert_eq!(format!("{paused:?}"), format!("Paused({id:?})"));
}
