//! What a removal promises (G5), and when closures are dropped (G6).

use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use topic_registry::{HandlerGuard, HandlerId, SyncRegistry, TopicRegistry};

use crate::support::{Log, OnDrop, Subject, for_each_subject, gate, owning, within};

for_each_subject! {
    a_handler_that_is_removed_by_an_earlier_one_is_not_started
    a_removal_on_another_thread_reaches_a_dispatch_that_runs
    a_handler_that_removes_itself_runs_to_its_end
    what_is_registered_meanwhile_waits_for_the_next_dispatch
    a_closure_is_dropped_at_once_when_nothing_is_dispatching
    a_closure_is_dropped_by_the_dispatch_that_still_holds_it
    a_closure_outlives_its_calls_on_other_threads
    everything_is_dropped_with_the_registry
}

type Removal<S> = fn(&S, HandlerId, &Mutex<Option<HandlerGuard>>);

/// The ways to remove a handler; each is given the subject and what was registered.
fn removals<S: Subject>() -> [Removal<S>; 3] {
    [
        |subject, id, _| assert!(subject.unregister(id)),
        |subject, _, _| subject.clear(),
        |_, _, guard| drop(guard.lock().unwrap().take()),
    ]
}

fn a_handler_that_is_removed_by_an_earlier_one_is_not_started<S: Subject>() {
    for remove in removals::<S>() {
        let subject = S::fresh();
        let target = Arc::new(Mutex::new(None));
        let (same, victim) = (subject.clone(), Arc::clone(&target));
        subject.register(1, move |_| {
            let id = victim.lock().unwrap().as_ref().map(HandlerGuard::id);
            if let Some(id) = id {
                remove(&same, id, &victim);
            }
        });
        *target.lock().unwrap() = Some(subject.guard(|_| unreachable!("it was removed")));
        let delivery = subject.notify(&0);
        assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
        subject.clear();
    }
}

fn a_removal_on_another_thread_reaches_a_dispatch_that_runs<S: Subject>() {
    for remove in removals::<S>() {
        let subject = S::fresh();
        let (enter, entered) = gate("the handler to be entered");
        let (leave, left) = gate("the removal");
        subject.register(1, move |_| {
            enter();
            left();
        });
        let guard = subject.guard(|_| unreachable!("it was removed"));
        let (id, guard) = (guard.id(), Mutex::new(Some(guard)));
        let dispatch = thread::spawn({
            let subject = subject.clone();
            move || subject.notify(&0)
        });
        entered();
        remove(&subject, id, &guard);
        leave();
        let delivery = dispatch.join().unwrap();
        assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    }
}

fn a_handler_that_removes_itself_runs_to_its_end<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let guard = Arc::new(Mutex::new(None));
    let (own, calls) = (Arc::clone(&guard), log.clone());
    *guard.lock().unwrap() = Some(subject.guard(move |_| {
        drop(own.lock().unwrap().take());
        calls.push("after its removal");
    }));
    assert_eq!(subject.notify(&0).called(), 1);
    assert_eq!(subject.notify(&0).called(), 0);
    assert_eq!(log.take(), ["after its removal"]);
}

fn what_is_registered_meanwhile_waits_for_the_next_dispatch<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (same, calls) = (subject.clone(), log.clone());
    subject.once(move |_| {
        let calls = calls.clone();
        same.register(-1, move |event| calls.push(*event));
    });
    assert_eq!(subject.notify(&1).called(), 1);
    assert_eq!(subject.notify(&2).called(), 1);
    assert_eq!(log.take(), [2]);
}

fn a_closure_is_dropped_at_once_when_nothing_is_dispatching<S: Subject>() {
    for remove in removals::<S>() {
        let (subject, alive) = (S::fresh(), Arc::new(()));
        subject.notify(&0);
        let guard = subject.guard(owning(Arc::clone(&alive)));
        subject.register(0, |_| {});
        subject.notify(&0);
        assert_eq!(Arc::strong_count(&alive), 2);
        remove(&subject, guard.id(), &Mutex::new(Some(guard)));
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}

fn a_closure_is_dropped_by_the_dispatch_that_still_holds_it<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (same, during) = (subject.clone(), log.clone());
    let id = Arc::new(Mutex::new(None));
    let victim = Arc::clone(&id);
    subject.register(1, move |_| {
        let id: Option<HandlerId> = victim.lock().unwrap().take();
        if let Some(id) = id {
            assert!(same.unregister(id));
        }
        during.push("removed");
    });
    let dropped = log.clone();
    let owned = OnDrop(move || dropped.push("dropped"));
    *id.lock().unwrap() = Some(subject.register(0, owning(owned)));
    let last = log.clone();
    subject.register(-1, move |_| last.push("last handler"));
    subject.notify(&0);
    assert_eq!(log.take(), ["removed", "last handler", "dropped"]);
    subject.clear();
}

/// What a call reads is not freed beside it, as sanitizers and miri see; and nothing is left when
/// all have returned, though the threads are there still.
fn a_closure_outlives_its_calls_on_other_threads<S: Subject>() {
    const THREADS: usize = 2;
    within("removals beside dispatches", || {
        let (subject, other, alive) = (S::fresh(), S::fresh(), Arc::new(()));
        other.register(0, |_| {});
        let turn = Arc::new(Barrier::new(THREADS + 1));
        let threads: [_; THREADS] = std::array::from_fn(|at| {
            let (subject, other, turn) = (subject.clone(), other.clone(), Arc::clone(&turn));
            thread::spawn(move || {
                // So that it has all that is kept for a thread.
                subject.notify(&0);
                for _ in 0..ROUNDS {
                    turn.wait();
                    assert_eq!(subject.notify(&7).panicked(), 0);
                    if at == 0 {
                        // What it announces hides that it has left the list, if it does not say so.
                        other.notify(&0);
                    }
                    turn.wait();
                    turn.wait();
                }
            })
        });
        for round in 0..ROUNDS {
            let (owned, number) = (Arc::clone(&alive), Box::new(7));
            let guard = subject.guard(move |event| {
                let _ = &owned;
                assert_eq!(*number, *event);
            });
            subject.notify(&7);
            turn.wait();
            if round % 2 == 0 {
                thread::yield_now();
            }
            drop(guard);
            turn.wait();
            assert_eq!(Arc::strong_count(&alive), 1, "its closure is alive");
            turn.wait();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

const ROUNDS: usize = if cfg!(miri) { 8 } else { 200 };

fn everything_is_dropped_with_the_registry<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    for _ in 0..5 {
        subject.register(0, owning(Arc::clone(&alive)));
    }
    let owned = Arc::clone(&alive);
    subject.once(move |_| drop(owned));
    let owned = Arc::clone(&alive);
    subject.on_panic(move |_| {
        let _ = &owned;
    });
    subject.notify(&0);
    drop(subject);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn removing_a_topic_reaches_a_dispatch_that_runs() {
    let topics = TopicRegistry::<String, u32>::new();
    let same = topics.clone();
    topics.register_with_priority("a", 1, move |_| assert!(same.remove("a")));
    topics.register("a", |_| unreachable!("it was removed"));
    let delivery = topics.notify("a", &0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert!(topics.is_empty());
    assert!(!topics.remove("a"));
}

/// The stack of a thread is small, and a closure may not be: it is dropped where it is.
#[test]
fn a_large_closure_is_not_moved_on_the_stack() {
    const SIZE: usize = 640 * 1024;
    let on_thread = |stack, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().stack_size(stack).spawn(work).unwrap().join().unwrap();
    };
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let (target, owned) = (registry.clone(), Arc::clone(&alive));
    on_thread(
        32 * SIZE,
        Box::new(move || {
            #[expect(clippy::large_stack_arrays, reason = "on a stack that is large enough")]
            let large = [7_u8; SIZE];
            let checks = move |event: &u32| {
                let _ = &owned;
                assert_eq!(u32::from(large[SIZE - 1]), *event);
            };
            target.register_once(checks.clone());
            target.register_once(checks.clone());
            target.register(checks);
        }),
    );
    on_thread(
        512 * 1024,
        Box::new(move || {
            let [_, ref second, _] = registry.handlers()[..] else {
                panic!("there are three");
            };
            assert!(registry.unregister(second.id));
            let delivery = registry.notify(&7);
            assert_eq!((delivery.called(), delivery.panicked()), (2, 0));
            registry.clear();
        }),
    );
    assert_eq!(Arc::strong_count(&alive), 1);
}
