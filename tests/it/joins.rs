//! Removals that are waited for.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::{JoinError, JoinGuard, SyncRegistry, TopicRegistry};

use crate::support::{Bomb, OnDrop, gate, owning, within};

type Registry = SyncRegistry<u32>;

/// Longer than anything here takes, and no reason to wait for it.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_closure_has_been_dropped_when_join_returns() {
    for depth in [1, 12] {
        within("a join", move || {
            let (registry, alive) = (Registry::new(), Arc::new(()));
            let joinable = registry.options().joinable().register(owning(Arc::clone(&alive)));
            let nested = (1..depth).fold(registry.clone(), |inner, _| {
                let outer = Registry::new();
                outer.register(move |event| assert_eq!(inner.notify(event).panicked(), 0));
                outer
            });
            assert_eq!(nested.notify(&0).called(), 1);
            // Joined from inside of a dispatch that runs over the handler, but not in it.
            let (slot, dropped) = (Mutex::new(Some(joinable)), Arc::new(AtomicBool::new(false)));
            let told = Arc::clone(&dropped);
            registry.register_with_priority(1, move |_| {
                if let Some(joinable) = slot.lock().unwrap().take() {
                    assert_eq!(joinable.join(), Ok(()));
                    told.store(Arc::strong_count(&alive) == 1, Ordering::Relaxed);
                }
            });
            assert_eq!(nested.notify(&0).panicked(), 0);
            assert!(dropped.load(Ordering::Relaxed));
            assert_eq!(registry.handler_count(), 1);
        });
    }
}

/// A registry with a joinable handler that a thread of its own is inside of, until the
/// function that is returned lets it out; and whether the closure was dropped.
fn occupied() -> (Registry, JoinGuard, impl FnOnce() + Send, Arc<AtomicBool>) {
    let (registry, dropped) = (Registry::new(), Arc::new(AtomicBool::new(false)));
    let (enter, entered) = gate("the handler to be entered");
    let (leave, left) = gate("the handler to be left");
    let told = Arc::clone(&dropped);
    let owned = OnDrop(move || told.store(true, Ordering::Relaxed));
    let joinable = registry.options().joinable().register(move |_| {
        let _ = &owned;
        enter();
        left();
    });
    let notifies = registry.clone();
    let dispatch = thread::spawn(move || notifies.notify(&0));
    entered();
    let let_out = move || {
        leave();
        assert_eq!(dispatch.join().unwrap().called(), 1);
    };
    (registry, joinable, let_out, dropped)
}

#[test]
fn it_waits_for_the_thread_that_is_inside() {
    let (registry, joinable, let_out, dropped) = occupied();
    assert_eq!(
        joinable.join_timeout(Duration::ZERO),
        Err(JoinError::TimedOut)
    );
    assert!(registry.is_empty(), "it is removed all the same");
    assert_eq!(
        joinable.join_timeout(Duration::from_millis(20)),
        Err(JoinError::TimedOut)
    );
    assert!(!dropped.load(Ordering::Relaxed), "a call is inside");
    let closure_dropped = Arc::clone(&dropped);
    let waiter = thread::spawn(move || {
        let outcome = joinable.join();
        (outcome, closure_dropped.load(Ordering::Relaxed))
    });
    let_out();
    let joined = within("a join", move || waiter.join().unwrap());
    assert_eq!(joined, (Ok(()), true));
}

#[test]
fn all_who_wait_are_woken_however_long_they_would_wait() {
    for timeout in [LONG, Duration::MAX].repeat(5) {
        within("joins of one handler", move || {
            let (registry, joinable, let_out, _) = occupied();
            let outcomes = thread::scope(|scope| {
                let wait = || joinable.join_timeout(timeout);
                let waits = [(); 3].map(|()| scope.spawn(wait));
                while !registry.is_empty() {
                    thread::yield_now();
                }
                assert_eq!(
                    joinable.join_timeout(Duration::from_millis(5)),
                    Err(JoinError::TimedOut)
                );
                let_out();
                waits.map(|wait| wait.join().unwrap())
            });
            assert_eq!(outcomes, [Ok(()); 3]);
        });
    }
}

#[test]
fn a_join_that_has_waited_keeps_nothing() {
    within("a join", || {
        let (registry, joinable, let_out, _) = occupied();
        let alive = Arc::new(());
        let owned = Arc::clone(&alive);
        registry.on_panic(move |_| {
            let _ = &owned;
        });
        let waits = thread::spawn(move || joinable.join());
        while !registry.is_empty() {
            thread::yield_now();
        }
        let_out();
        assert_eq!(waits.join().unwrap(), Ok(()));
        drop(registry);
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// It is dropped with no lock held, and by whoever counts as inside.
#[test]
fn the_destructor_of_a_closure_may_ask_whether_it_is_joined() {
    within("a join in the destructor of the closure", || {
        let (registry, log) = (Registry::new(), crate::support::Log::new());
        let slot = Arc::new(std::sync::OnceLock::<JoinGuard>::new());
        let (own, outcomes) = (Arc::clone(&slot), log.clone());
        let owned = OnDrop(move || {
            let joinable = own.get().expect("it is registered");
            outcomes.push(joinable.join_timeout(LONG));
        });
        let joinable = registry.options().joinable().register(owning(owned));
        assert!(slot.set(joinable).is_ok());
        let joinable = slot.get().expect("it was set");
        assert_eq!(joinable.join_timeout(LONG), Ok(()));
        assert_eq!(log.take(), [Err(JoinError::Inside)]);
    });
}

#[test]
fn a_zero_time_out_has_the_right_answer_at_once() {
    let registry = Registry::new();
    let joinable = registry.options().joinable().register(|_| {});
    assert_eq!(joinable.join_timeout(Duration::ZERO), Ok(()));
    assert_eq!(joinable.join_timeout(Duration::ZERO), Ok(()), "and again");
    assert_eq!(joinable.join_timeout(Duration::MAX), Ok(()), "for ever");
    assert_eq!(joinable.join(), Ok(()));
    let (_registry, joinable, let_out, _) = occupied();
    let start = Instant::now();
    assert_eq!(
        joinable.join_timeout(Duration::ZERO),
        Err(JoinError::TimedOut)
    );
    assert!(start.elapsed() < LONG);
    let_out();
    assert_eq!(joinable.join_timeout(Duration::ZERO), Ok(()));
}

#[test]
fn it_does_not_wait_for_a_slow_sibling_nor_for_a_pin() {
    within("a join beside a slow sibling", || {
        let (registry, alive) = (Registry::new(), Arc::new(()));
        let (enter, entered) = gate("the sibling to be entered");
        let (leave, left) = gate("the join");
        let joinable =
            registry.options().priority(1).joinable().register(owning(Arc::clone(&alive)));
        registry.register(move |_| {
            enter();
            left();
        });
        let mut pinned = registry.pin();
        let notifies = registry.clone();
        let dispatch = thread::spawn(move || notifies.notify(&0).called());
        entered();
        assert_eq!(joinable.join(), Ok(()));
        assert_eq!(Arc::strong_count(&alive), 1);
        leave();
        assert_eq!(dispatch.join().unwrap(), 2);
        pinned.refresh();
    });
}

#[test]
fn what_a_call_throws_is_dropped_when_join_returns() {
    let (registry, alive) = (Registry::new(), Arc::new(()));
    let (enter, entered) = gate("the payload to be dropped");
    let (leave, left) = gate("the join to begin");
    let owned = Arc::clone(&alive);
    let dropped = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&dropped);
    let slow = Arc::new((Mutex::new(Some(enter)), left));
    let joinable = registry.options().joinable().register(move |_| {
        let (owned, told, slow) = (Arc::clone(&owned), Arc::clone(&told), Arc::clone(&slow));
        std::panic::panic_any(OnDrop(move || {
            let _ = &owned;
            if let Some(enter) = slow.0.lock().unwrap().take() {
                enter();
                (slow.1)();
            }
            told.store(true, Ordering::Relaxed);
        }));
    });
    let notifies = registry.clone();
    let dispatch = thread::spawn(move || notifies.notify(&0).panicked());
    entered();
    assert_eq!(
        joinable.join_timeout(Duration::ZERO),
        Err(JoinError::TimedOut)
    );
    leave();
    assert_eq!(joinable.join(), Ok(()));
    assert!(
        dropped.load(Ordering::Relaxed),
        "the payload has been dropped"
    );
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(dispatch.join().unwrap(), 1);
}

#[test]
fn removed_in_another_way_its_closure_goes_at_once_and_join_has_nothing_to_wait_for() {
    let removals: [fn(&Registry, &JoinGuard); 3] = [
        |registry, joinable| assert!(registry.unregister(joinable.id())),
        |registry, _| registry.clear(),
        |registry, joinable| assert!(registry.update(|batch| batch.unregister(joinable.id()))),
    ];
    for remove in removals {
        let (registry, alive) = (Registry::new(), Arc::new(()));
        let joinable = registry.options().joinable().register(owning(Arc::clone(&alive)));
        remove(&registry, &joinable);
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(registry.notify(&0).called(), 0);
        assert_eq!(joinable.join(), Ok(()));
    }
    let alive = Arc::new(());
    let joinable = Registry::new().options().joinable().register(owning(Arc::clone(&alive)));
    assert_eq!(Arc::strong_count(&alive), 1, "gone with the registry");
    assert_eq!(joinable.join(), Ok(()));
}

/// It cannot fail but where races are looked for: under miri. (The thread sanitizer knows no
/// fences.)
#[test]
fn what_the_destructor_of_the_closure_did_happened_before_join_returns() {
    struct Used(UnsafeCell<u32>);
    // SAFETY: the closure uses it before the join, and this thread after it.
    unsafe impl Sync for Used {}
    let (registry, used) = (Registry::new(), Arc::new(Used(UnsafeCell::new(0))));
    let (theirs, is_gone) = (Arc::clone(&used), Arc::new(AtomicBool::new(false)));
    // SAFETY: as above.
    let owned = OnDrop(move || unsafe { *theirs.0.get() += 1 });
    let joinable = registry.options().joinable().register(move |_| _ = &owned);
    let (removed, gone) = (registry.clone(), Arc::clone(&is_gone));
    let removal = thread::spawn(move || {
        removed.clear();
        // Relaxed, so that nothing but the join says what happened before.
        gone.store(true, Ordering::Relaxed);
        removed
    });
    within("the removal to be made", move || {
        while !is_gone.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        assert_eq!(joinable.join_timeout(Duration::ZERO), Ok(()));
        // SAFETY: as above.
        assert_eq!(unsafe { *used.0.get() }, 1);
    });
    removal.join().unwrap();
}

#[test]
fn dropped_without_a_join_it_is_removed() {
    let topics = TopicRegistry::<String, u32>::new();
    let joinable = topics.handle("a").options().priority(1).joinable().register(|_| {});
    assert_eq!(topics.notify("a", &0).called(), 1);
    assert!(format!("{joinable:?}").contains("JoinGuard"));
    drop(joinable);
    assert!(topics.is_empty());
    assert_eq!(
        topics.handle("a").options().joinable().register(|_| {}).join(),
        Ok(())
    );
    assert!(topics.is_empty());
}

#[test]
fn bombs_and_panics_are_contained_and_told() {
    let registry = Registry::new();
    let log = crate::support::Log::new();
    let reports = log.clone();
    registry.on_panic(move |info| {
        reports.push((
            info.handler_id().unwrap(),
            info.message().unwrap().to_owned(),
        ));
    });
    let bomb = Bomb("closure");
    let joinable = registry.options().joinable().register(move |_| {
        let _ = &bomb;
        panic!("call");
    });
    let id = joinable.id();
    assert_eq!(registry.notify(&0).panicked(), 1);
    assert_eq!(joinable.join(), Ok(()));
    assert_eq!(
        log.take(),
        [(id, "call".to_owned()), (id, "closure".to_owned())]
    );

    // The call that unwinds is the last to let go of the closure.
    let (slot, bomb) = (Arc::new(Mutex::new(None::<JoinGuard>)), Bomb("closure"));
    let own = Arc::clone(&slot);
    let joinable = registry.options().joinable().register(move |_| {
        let _ = &bomb;
        let joinable = own.lock().unwrap().take();
        assert_eq!(joinable.map(JoinGuard::join), Some(Err(JoinError::Inside)));
        panic!("call");
    });
    *slot.lock().unwrap() = Some(joinable);
    assert_eq!(registry.notify(&0).panicked(), 1);
    let told: Vec<String> = log.take().into_iter().map(|(_, message)| message).collect();
    assert_eq!(told, ["call", "closure"]);
}

/// Joins handlers that others are inside of, at a depth of nesting, beside a churn of other
/// handlers. Not one of them may be inside, nor the closure be alive, when its join returns.
fn joins_beside_a_churn(time: Duration, depth: usize) {
    let (registry, start) = (Registry::new(), Instant::now());
    let nested = (1..depth).fold(registry.clone(), |inner, _| {
        let outer = Registry::new();
        outer.register(move |event| assert_eq!(inner.notify(event).panicked(), 0));
        outer
    });
    let (done, mut joins, mut longest) = (AtomicBool::new(false), 0, Duration::ZERO);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(nested.notify(&0).panicked(), 0);
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(registry.register_guard(|_| {}));
            }
        });
        while start.elapsed() < time {
            let freed = Arc::new(AtomicU32::new(0));
            let used = Arc::clone(&freed);
            let joinable = registry.options().joinable().register(move |_| {
                assert_eq!(used.load(Ordering::Relaxed), 0, "used after it was freed");
            });
            let joining = Instant::now();
            assert_eq!(joinable.join(), Ok(()));
            longest = longest.max(joining.elapsed());
            assert_eq!(Arc::strong_count(&freed), 1);
            freed.store(1, Ordering::Relaxed);
            joins += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((registry.handler_count(), registry.panic_count()), (0, 0));
    println!("{joins} joins at depth {depth}, the longest {longest:?}");
}

#[test]
fn joins_beside_a_churn_wait_for_their_own_calls_only() {
    for depth in [1, 12] {
        within("joins beside a churn", move || {
            joins_beside_a_churn(Duration::from_millis(300), depth);
        });
    }
}

#[test]
#[ignore = "takes 20 seconds"]
fn joins_beside_a_churn_wait_for_their_own_calls_only_for_long() {
    for depth in [1, 12] {
        within("joins beside a churn", move || {
            joins_beside_a_churn(Duration::from_secs(10), depth);
        });
    }
}

/// What owns a handler must not keep what the handler belongs to.
#[test]
fn a_panic_callback_that_owns_a_joinable_goes_with_its_registry() {
    type Set = fn(OnDrop<Box<dyn Fn() + Send + Sync>>);
    let sets: [Set; 3] = [
        |dropped| {
            let registry = Registry::new();
            let joinable = registry.options().joinable().register(|_| {});
            registry.on_panic(move |_| _ = (&dropped, &joinable));
        },
        |dropped| {
            let handle = TopicRegistry::<String, u32>::new().handle("a");
            let joinable = handle.options().joinable().register(|_| {});
            handle.on_panic(move |_| _ = (&dropped, &joinable));
        },
        |dropped| {
            let topics = TopicRegistry::<String, u32>::new();
            let joinable = topics.handle("a").options().joinable().register(|_| {});
            topics.on_panic(move |_, _| _ = (&dropped, &joinable));
        },
    ];
    let outcomes = sets.map(|set| {
        let is_dropped = Arc::new(AtomicBool::new(false));
        let dropped = Arc::clone(&is_dropped);
        set(OnDrop(Box::new(move || {
            dropped.store(true, Ordering::Relaxed);
        })));
        is_dropped.load(Ordering::Relaxed)
    });
    assert_eq!(
        outcomes, [true; 3],
        "in a registry, in a topic, of all topics"
    );
}

#[test]
fn errors_are_for_people() {
    for error in [JoinError::Inside, JoinError::Deadlock, JoinError::TimedOut] {
        let error: Box<dyn std::error::Error> = Box::new(error);
        assert!(error.to_string().contains("handler"));
    }
}

#[test]
fn removing_waits_for_nobody() {
    within("a removal without a wait", || {
        let (registry, joinable, let_out, dropped) = occupied();
        joinable.remove();
        assert!(registry.is_empty() && !dropped.load(Ordering::Relaxed));
        let_out();
        assert!(
            dropped.load(Ordering::Relaxed),
            "the dispatch was the last to hold it"
        );
        assert_eq!(joinable.join(), Ok(()));
    });
}

/// If the second handler were removed after the wait for the first one, the first one's call would
/// still find it registered.
#[test]
fn joining_many_removes_all_before_it_waits_for_one() {
    within("a join of many", || {
        let registry = Registry::new();
        let (enter, entered) = gate("the first handler to be entered");
        let (all_removed, leave) = gate("all to be removed");
        let alive = Arc::new(());
        let first = registry.options().joinable().register(move |_| {
            enter();
            leave();
        });
        let others = (0..10).map(|_| {
            let owned = Arc::clone(&alive);
            registry.options().joinable().register(owning(owned))
        });
        let guards: Vec<_> = std::iter::once(first).chain(others).collect();
        let notifies = registry.clone();
        let dispatch = thread::spawn(move || notifies.notify(&0).called());
        entered();
        let joins = thread::spawn(move || JoinGuard::join_all(guards));
        while !registry.is_empty() {
            thread::yield_now();
        }
        assert!(!joins.is_finished(), "a call is inside of the first one");
        all_removed();
        assert_eq!(joins.join().unwrap(), Ok(()));
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "all closures have been dropped"
        );
        assert_eq!(
            dispatch.join().unwrap(),
            1,
            "the others were removed before their turn"
        );
    });
}

#[test]
fn joining_many_waits_for_all_that_can_be_waited_for() {
    within("a join of many from inside of one", || {
        let (registry, alive) = (Registry::new(), Arc::new(()));
        let slot = Arc::new(Mutex::new(Vec::<JoinGuard>::new()));
        let outcome = Arc::new(Mutex::new(None));
        let (taken, told) = (Arc::clone(&slot), Arc::clone(&outcome));
        let inside = registry.options().joinable().register(move |_| {
            let guards = std::mem::take(&mut *taken.lock().unwrap());
            *told.lock().unwrap() = Some(JoinGuard::join_all(guards));
        });
        let other = registry.options().joinable().register(owning(Arc::clone(&alive)));
        slot.lock().unwrap().extend([inside, other]);
        let probe = Arc::clone(&alive);
        registry.options().priority(-1).register(move |_| {
            assert_eq!(
                Arc::strong_count(&probe),
                1,
                "the other closure has been dropped"
            );
        });
        drop(alive);
        assert_eq!(registry.notify(&0).panicked(), 0);
        assert_eq!(*outcome.lock().unwrap(), Some(Err(JoinError::Inside)));
        assert_eq!(registry.handler_count(), 1);
    });
}
