//! Changes that are published together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use topic_registry::{SyncRegistry, TopicRegistry};

use crate::support::{Bomb, Log, owning};

#[test]
fn nothing_is_seen_before_the_batch_ends_and_all_of_it_after() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let handler = |name| {
        let log = log.clone();
        move |_: &u32| log.push(name)
    };
    let old = registry.register(handler("old"));
    registry.register(handler("kept"));
    let new = registry.update(|batch| {
        assert!(batch.unregister(old));
        let ids = [
            batch.register(handler("low")),
            batch.options().priority(1).register(handler("high")),
            batch.options().register_once(handler("once")),
        ];
        assert_eq!(registry.notify(&0).called(), 2);
        assert_eq!(log.take(), ["old", "kept"]);
        assert!(!registry.contains(ids[0]));
        ids
    });
    assert!(new.iter().all(|id| registry.contains(*id)));
    assert_eq!(registry.notify(&0).called(), 4);
    assert_eq!(log.take(), ["high", "kept", "low", "once"]);
    assert_eq!(registry.notify(&0).called(), 3);
    assert!(registry.unregister(new[1]));
}

#[test]
fn what_is_unknown_is_false_and_the_rest_is_published() {
    let registry = SyncRegistry::<u32>::new();
    let known = registry.register(|_| {});
    let foreign = SyncRegistry::<u32>::new().register(|_| {});
    registry.update(|batch| {
        assert!(!batch.unregister(foreign));
        assert!(batch.unregister(known));
        assert!(!batch.unregister(known), "only once");
        let taken_back = batch.register(|_| unreachable!("it was taken back"));
        assert!(batch.unregister(taken_back));
        assert!(!batch.unregister(taken_back));
        batch.register(|_| {});
        assert!(format!("{batch:?}").contains("added: 1"));
    });
    let delivery = registry.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
}

#[test]
fn everything_is_replaced_at_once() {
    let (topics, log) = (TopicRegistry::<String, u32>::new(), Log::new());
    for _ in 0..3 {
        topics.register("a", |_| unreachable!("it was replaced"));
    }
    let new = log.clone();
    let id = topics.update("a", |batch| {
        batch.register(|_| unreachable!("it was cleared"));
        batch.clear();
        assert!(!batch.unregister(topics.register("a", |_| unreachable!("it is cleared, too"))));
        batch.register(move |event| new.push(*event))
    });
    assert_eq!(topics.notify("a", &7).called(), 1);
    assert_eq!(log.take(), [7]);
    assert!(topics.unregister("a", id));
    assert!(topics.is_empty());
    topics.update("a", |_| ());
    assert!(
        topics.is_empty(),
        "a batch that does nothing leaves no topic"
    );
}

#[test]
fn a_panic_publishes_nothing_and_loses_nothing() {
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let kept = registry.register(|_| {});
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        registry.update(|batch| {
            batch.register(owning(Arc::clone(&alive)));
            batch.register(owning(Bomb("dropped with the batch")));
            batch.unregister(kept);
            panic!("the user's own");
        })
    }));
    assert!(panicked.is_err());
    assert!(registry.contains(kept));
    let delivery = registry.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert_eq!((Arc::strong_count(&alive), registry.panic_count()), (1, 1));
}

#[test]
fn removed_in_a_batch_it_is_not_started_any_more() {
    let registry = SyncRegistry::<u32>::new();
    let victim = registry.register(|_| unreachable!("it was removed"));
    let same = registry.clone();
    registry.register_with_priority(1, move |_| {
        same.update(|batch| batch.unregister(victim));
    });
    let delivery = registry.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    registry.clear();
}

#[test]
fn a_guard_of_an_id_removes_it_and_one_of_a_foreign_id_nothing() {
    let registry = SyncRegistry::<u32>::new();
    let ids = registry.update(|batch| [1, 2, 3].map(|_| batch.register(|_| {})));
    let guards = ids.map(|id| registry.guard(id));
    let foreign = SyncRegistry::<u32>::new().register(|_| {});
    drop(registry.guard(foreign));
    assert_eq!(registry.handler_count(), 3);
    drop(guards);
    assert!(registry.is_empty());
}

/// What goes is not retired before what comes is published: in between, a dispatch would
/// find nothing. It may find nothing all the same, if it took the old list before and was
/// late, but that is one in many thousands, where the wrong order makes it one in ten.
#[test]
fn a_replacement_leaves_no_gap() {
    let (registry, done) = (SyncRegistry::<u32>::new(), AtomicBool::new(false));
    let mut id = registry.register(|_| {});
    let replace = |old| {
        registry.update(|batch| {
            assert!(batch.unregister(old));
            batch.register(|_| {})
        })
    };
    let (mut all, mut missed) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            (0..100_000).for_each(|_| id = replace(id));
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            all += 1;
            missed += 1 - registry.notify(&0).called();
        }
    });
    assert!(missed * 100 <= all, "{missed} of {all} dispatches");
}

/// Each batch replaces all handlers by two of one generation: no dispatch that begins
/// meanwhile sees one only, or two that do not belong together, but for what was removed
/// after it had begun.
#[test]
fn no_dispatch_sees_half_of_a_batch() {
    let (registry, done) = (SyncRegistry::<Log<u32>>::new(), AtomicBool::new(false));
    let replace = |generation: u32| {
        registry.update(|batch| {
            batch.clear();
            batch.register(move |log: &Log<u32>| log.push(generation));
            batch.register(move |log: &Log<u32>| log.push(generation));
        });
    };
    replace(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            (1..20_000).for_each(replace);
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let log = Log::new();
            registry.notify(&log);
            let seen = log.take();
            assert!(
                seen.len() <= 2 && seen.windows(2).all(|two| two[0] == two[1]),
                "{seen:?}"
            );
        }
    });
    assert_eq!(registry.handler_count(), 2);
}

#[test]
fn many_changes_keep_the_order() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let handler = |name: (i32, i32)| {
        let log = log.clone();
        move |_: &u32| log.push(name)
    };
    let first: Vec<_> = registry.update(|batch| {
        let register = |n| batch.options().priority(n % 7).register(handler((n % 7, n)));
        (0..500).map(register).collect()
    });
    registry.update(|batch| {
        for id in first.iter().step_by(2) {
            assert!(batch.unregister(*id));
        }
        for n in 500..700 {
            batch.options().priority(n % 7).register(handler((n % 7, n)));
        }
    });
    assert_eq!(registry.notify(&0).called(), 450);
    let odd = (0..500).filter(|n| n % 2 == 1);
    let mut expected: Vec<_> = odd.chain(500..700).map(|n| (n % 7, n)).collect();
    expected.sort_by_key(|(priority, n)| (-priority, *n));
    assert_eq!(log.take(), expected);
}

#[test]
fn an_event_is_made_only_if_somebody_listens() {
    let topics = TopicRegistry::<String, str>::new();
    let handle = topics.handle("a");
    let event = || -> String { unreachable!("nobody listens") };
    assert_eq!(handle.notify_with(event).called(), 0);
    assert_eq!(handle.pin().notify_with(event).called(), 0);
    assert_eq!(topics.notify_with("a", event).called(), 0);
    assert_eq!(topics.notify_with("unknown", event).called(), 0);
    let (log, made) = (Log::new(), Log::new());
    let texts = log.clone();
    handle.register(move |text| texts.push(text.to_owned()));
    let event = || {
        made.push(());
        "made".to_owned()
    };
    assert_eq!(handle.notify_with(event).called(), 1);
    assert_eq!(handle.pin().notify_with(event).called(), 1);
    assert_eq!(topics.notify_with("a", event).called(), 1);
    assert_eq!(
        (log.take(), made.take().len()),
        (vec!["made".to_owned(); 3], 3)
    );
}

#[cfg(feature = "async")]
#[test]
fn async_handlers_come_in_batches_too() {
    use crate::support::now;
    use topic_registry::AsyncTopicRegistry;

    async fn borrowing(event: &u32) {
        assert_eq!(*event, 7);
    }

    let topics = AsyncTopicRegistry::<String, u32>::new();
    let old = topics.register("a", |_| async { unreachable!("it was removed") });
    topics.update("a", |batch| {
        batch.unregister(old);
        batch.register(|_| async {});
        batch.options().priority(1).register(|_| async {});
        batch.options().register_once(|_| async {});
        batch.options().register_async_fn(borrowing);
        batch.options().priority(1).register_async_fn(borrowing);
    });
    let first = now(topics.notify("a", &7));
    assert_eq!((first.called(), first.panicked()), (5, 0));
    assert_eq!(now(topics.notify_sequential("a", &7)).called(), 4);
}
