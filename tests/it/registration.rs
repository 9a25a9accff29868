//! Registering, asking, and ids (G8).

use std::collections::HashSet;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use topic_registry::{HandlerGuard, HandlerId, SyncRegistry, TopicRegistry};

use crate::support::{Log, Subject, for_each_subject};

for_each_subject! {
    each_handler_gets_each_event
    counts_and_questions_agree
    a_guard_removes_its_handler
    a_forgotten_guard_leaves_its_handler
    what_is_unknown_changes_nothing
}

fn each_handler_gets_each_event<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    assert_eq!(subject.notify(&1).called(), 0);
    for name in ["a", "b"] {
        let log = log.clone();
        subject.register(0, move |event| log.push((name, *event)));
    }
    assert_eq!(subject.notify(&2).called(), 2);
    assert_eq!(subject.notify(&3).called(), 2);
    assert_eq!(log.take(), [("a", 2), ("b", 2), ("a", 3), ("b", 3)]);
}

fn counts_and_questions_agree<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    assert!(registry.is_empty());
    let ids: Vec<HandlerId> = (0..3).map(|n| subject.register(n, |_| {})).collect();
    assert_eq!(registry.handler_count(), 3);
    assert!(!registry.is_empty());
    assert!(ids.iter().all(|id| registry.contains(*id)));

    assert!(subject.unregister(ids[1]));
    assert_eq!(registry.handler_count(), 2);
    assert!(!registry.contains(ids[1]));
    assert!(registry.contains(ids[0]) && registry.contains(ids[2]));

    subject.clear();
    assert!(registry.is_empty());
    assert!(!registry.contains(ids[0]));
}

fn a_guard_removes_its_handler<S: Subject>() {
    let subject = S::fresh();
    let guards: Vec<HandlerGuard> = (0..3).map(|_| subject.guard(|_| {})).collect();
    let registry = subject.registry();
    assert!(guards.iter().all(|guard| registry.contains(guard.id())));
    assert_eq!(subject.notify(&0).called(), 3);
    drop(guards);
    assert!(registry.is_empty());
    assert_eq!(subject.notify(&0).called(), 0);
}

fn a_forgotten_guard_leaves_its_handler<S: Subject>() {
    let subject = S::fresh();
    let id = subject.guard(|_| {}).forget();
    assert_eq!(subject.notify(&0).called(), 1);
    assert!(subject.unregister(id));
}

fn what_is_unknown_changes_nothing<S: Subject>() {
    let subject = S::fresh();
    let kept = subject.register(0, |_| {});
    let foreign = SyncRegistry::<u32>::new().register(|_| {});
    let foreign_topic = TopicRegistry::<u32, u32>::new().register(1u32, |_| {});
    let gone = subject.register(0, |_| {});
    assert!(subject.unregister(gone));
    for id in [foreign, foreign_topic, gone] {
        assert!(!subject.unregister(id));
        assert!(!subject.registry().contains(id));
    }
    assert!(subject.registry().contains(kept));
    assert_eq!(subject.notify(&0).called(), 1);
}

/// As they are listed, and as their panics are told of.
#[test]
fn every_way_to_register_keeps_the_priority_and_the_place() {
    let topics = TopicRegistry::<String, u32>::new();
    let (handle, log) = (topics.handle("a"), Log::new());
    let reports = log.clone();
    handle.on_panic(move |info| {
        let at = info.registered_at();
        reports.push((info.handler_id().unwrap(), at.file(), at.line()));
    });
    let check = |first_line: u32, priorities: &[i32]| {
        let mut handlers = handle.handlers();
        handlers.sort_by_key(|info| info.id);
        let place = |at: &'static Location<'_>| (at.file(), at.line());
        let listed = handlers.iter().map(|info| (info.priority, place(info.registered_at)));
        let expected = priorities.iter().zip(first_line..);
        let expected = expected.map(|(priority, line)| (*priority, (file!(), line)));
        assert_eq!(listed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(handle.notify(&0).panicked(), priorities.len());
        let mut told = log.take();
        told.sort_unstable();
        let listed = handlers.iter().map(|info| (info.id, place(info.registered_at)));
        let listed = listed.map(|(id, (file, line))| (id, file, line));
        assert_eq!(told, listed.collect::<Vec<_>>());
        handle.clear();
    };
    let line = line!() + 1;
    handle.register(|_| panic!());
    handle.register_with_priority(1, |_| panic!());
    let _kept = handle.register_guard(|_| panic!());
    let _kept = handle.options().priority(2).guard().register(|_| panic!());
    handle.register_once(|_| panic!());
    let _kept = handle.options().joinable().register(|_| panic!());
    let _kept = handle.options().priority(3).joinable().register(|_| panic!());
    handle.options().priority(-4).register_interceptor(|_| panic!());
    check(line, &[0, 1, 0, 2, 0, 0, 3, -4]);
    let line = line!() + 1;
    topics.register("a", |_| panic!());
    topics.register_with_priority("a", 1, |_| panic!());
    let _kept = topics.register_guard("a", |_| panic!());
    let _kept = topics.options("a").priority(2).guard().register(|_| panic!());
    topics.register_once("a", |_| panic!());
    let _kept = topics.options("a").joinable().register(|_| panic!());
    let _kept = topics.options("a").priority(3).joinable().register(|_| panic!());
    topics.options("a").priority(-4).register_interceptor(|_| panic!());
    check(line, &[0, 1, 0, 2, 0, 0, 3, -4]);
    let line = line!() + 2;
    handle.update(|batch| {
        batch.register(|_| panic!());
        batch.options().priority(1).register(|_| panic!());
        batch.options().register_once(|_| panic!());
        batch.options().priority(-4).register_interceptor(|_| panic!());
    });
    check(line, &[0, 1, 0, -4]);
}

#[test]
fn a_guard_outlives_its_registry() {
    let registry = SyncRegistry::<u32>::new();
    let guard = registry.register_guard(|_| {});
    drop(registry);
    drop(guard);

    let topics = TopicRegistry::<String, u32>::new();
    let guard = topics.register_guard("a", |_| {});
    drop(topics);
    drop(guard);
}

#[test]
fn clones_are_the_same_registry() {
    let registry = SyncRegistry::<u32>::default();
    let clone = registry.clone();
    let id = registry.register(|_| {});
    assert_eq!(clone.notify(&0).called(), 1);
    assert!(clone.unregister(id));
    assert!(registry.is_empty());
}

#[test]
fn ids_are_unique_ordered_and_never_match_elsewhere() {
    let registries: Vec<SyncRegistry<u32>> = (0..4).map(|_| SyncRegistry::new()).collect();
    let per_thread = std::thread::scope(|scope| {
        let register = |registry: &SyncRegistry<u32>| -> Vec<HandlerId> {
            (0..500).map(|n| registry.register_with_priority(n % 3, |_| {})).collect()
        };
        let threads: Vec<_> = registries.iter().map(|r| scope.spawn(move || register(r))).collect();
        let ids = threads.into_iter().map(|thread| thread.join().unwrap());
        ids.collect::<Vec<_>>()
    });
    for ids in &per_thread {
        assert!(
            ids.is_sorted(),
            "ids order by registration, whatever the priority"
        );
    }
    let all: HashSet<u64> = per_thread.iter().flatten().map(|id| id.as_u64()).collect();
    assert_eq!(all.len(), 4 * 500);
    for (at, registry) in registries.iter().enumerate() {
        for (of, ids) in per_thread.iter().enumerate() {
            assert_eq!(
                ids.iter().filter(|id| registry.contains(**id)).count(),
                500 * usize::from(at == of)
            );
        }
    }
}

/// The event may be unsized, and need be neither `Send` nor `Sync`; the registry is both.
#[test]
fn any_event_will_do() {
    fn is_send_sync<T: Send + Sync>(_: &T) {}
    let texts = SyncRegistry::<str>::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    texts.register(move |text| {
        counter.fetch_add(text.len(), Ordering::Relaxed);
    });
    texts.notify("four");
    let bytes = SyncRegistry::<[u8]>::new();
    assert_eq!(bytes.notify(&[1, 2]).called(), 0);
    let local = SyncRegistry::<std::rc::Rc<std::cell::Cell<u32>>>::new();
    local.register(|cell| cell.set(cell.get() + 1));
    let event = std::rc::Rc::new(std::cell::Cell::new(1));
    local.pin().notify(&event);
    assert_eq!((calls.load(Ordering::Relaxed), event.get()), (4, 2));
    is_send_sync(&local);
    is_send_sync(&TopicRegistry::<u32, std::rc::Rc<u32>>::new());
    is_send_sync(&TopicRegistry::<u32, std::rc::Rc<u32>>::new().handle(1u32));
}

#[test]
fn everything_may_cross_a_catch_unwind() {
    fn may<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    may::<SyncRegistry<u32>>();
    may::<TopicRegistry<String, u32>>();
    may::<topic_registry::TopicHandle<String, u32>>();
    may::<HandlerGuard>();
    may::<topic_registry::JoinGuard>();
    may::<HandlerId>();
}

#[test]
fn debug_shows_counts() {
    let topics = TopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    let guard = handle.register_guard(|_| {});
    assert!(format!("{topics:?}").contains("topics: 1"));
    assert!(format!("{handle:?}").contains("key: \"a\""));
    assert!(format!("{handle:?}").contains("handlers: 1"));
    assert_eq!(
        format!("{guard:?}"),
        format!("HandlerGuard({:?})", guard.id())
    );
    assert_eq!(guard.id().to_string(), guard.id().as_u64().to_string());
    assert_eq!(
        format!("{:?}", guard.id()),
        format!("HandlerId({})", guard.id().as_u64())
    );
    assert!(format!("{:?}", handle.pin()).contains("Pinned"));
}
