//! Wakes of async dispatches (G11): who is polled, and when the task goes back to its runtime.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use topic_registry::AsyncRegistry;

use crate::doors::{Door, doors};
use crate::support::{Log, Wakes, poll, within};

#[test]
fn a_wake_polls_only_the_handler_that_was_woken() {
    const HANDLERS: usize = 500;
    let (registry, doors) = doors(HANDLERS);
    let task = Arc::new(Wakes::default());
    let mut notify = pin!(registry.notify(&0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    for door in &doors[1..] {
        door.open();
        assert!(task.take() > 0, "the task is woken");
        assert!(poll(notify.as_mut(), &task).is_pending());
    }
    doors[0].open();
    let Poll::Ready(delivery) = poll(notify, &task) else {
        panic!("all doors are open");
    };
    assert_eq!((delivery.called(), delivery.panicked()), (HANDLERS, 0));
    let polls: usize = doors.iter().map(Door::polls).sum();
    assert!(polls <= 3 * HANDLERS, "{polls} polls");
}

/// They are given wakers of their own only when the task comes back to them.
#[test]
fn handlers_that_nobody_wakes_are_polled_once_and_do_not_wake_the_task() {
    const HANDLERS: usize = 1_000;
    let (registry, doors) = doors(HANDLERS);
    let polls = || doors.iter().map(Door::polls).sum::<usize>();
    let task = Arc::new(Wakes::default());
    let mut notify = pin!(registry.notify(&0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert_eq!((polls(), task.take()), (HANDLERS, 0), "polls, and wakes");
    for _ in 0..10 {
        assert!(poll(notify.as_mut(), &task).is_pending());
    }
    assert!(polls() <= 2 * HANDLERS, "{} polls in all", polls());
}

/// Each time that all handlers yield, another task of the only thread gets its turn.
#[test]
fn handlers_that_yield_let_other_tasks_run_each_time() {
    const YIELDS: usize = 5;
    for handlers in [1, 3, 100] {
        within("handlers that yield", move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.build().unwrap();
            let registry = AsyncRegistry::<u32>::new();
            for _ in 0..handlers {
                registry.register(|_| async {
                    for _ in 0..YIELDS {
                        tokio::task::yield_now().await;
                    }
                });
            }
            let turns = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&turns);
            let dispatch = runtime.spawn(async move {
                let before = counted.load(Ordering::Relaxed);
                assert_eq!(registry.notify(&0).await.called(), handlers);
                counted.load(Ordering::Relaxed) - before
            });
            let other = runtime.spawn(async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
            let turns = runtime.block_on(dispatch).unwrap();
            other.abort();
            assert!(turns >= YIELDS, "{turns} turns beside {handlers} handlers");
        });
    }
}

#[test]
fn wakes_follow_a_dispatch_to_another_task() {
    let (registry, doors) = doors(3);
    let (one, two) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let mut notify = Box::pin(async move { registry.notify(&0).await });
    assert!(poll(notify.as_mut(), &one).is_pending());
    assert!(poll(notify.as_mut(), &two).is_pending());
    one.take();
    two.take();
    doors[1].open();
    assert_eq!((one.take(), two.take()), (0, 1));
    let doors_behind = doors.clone();
    let delivery = within("a dispatch on another thread", move || {
        let three = Arc::new(Wakes::default());
        assert!(poll(notify.as_mut(), &three).is_pending());
        doors_behind[0].open();
        doors_behind[2].open();
        assert!(three.take() > 0);
        poll(notify.as_mut(), &three)
    });
    assert!(matches!(delivery, Poll::Ready(delivery) if delivery.called() == 3));
}

#[test]
fn stale_and_spurious_wakes_are_harmless() {
    let (registry, doors) = doors(2);
    let task = Arc::new(Wakes::default());
    let mut notify = Box::pin(registry.notify(&0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert!(poll(notify.as_mut(), &task).is_pending(), "nobody woke it");
    let stale = doors[0].waker();
    for _ in 0..5 {
        stale.wake_by_ref();
        assert!(poll(notify.as_mut(), &task).is_pending());
        assert!(poll(notify.as_mut(), &task).is_pending(), "nobody woke it");
    }
    doors[0].open();
    assert!(poll(notify.as_mut(), &task).is_pending());
    let polls = doors[0].polls();
    stale.wake_by_ref();
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert_eq!(doors[0].polls(), polls, "what has ended is not polled");
    doors[1].open();
    assert!(poll(notify.as_mut(), &task).is_ready());
    drop(notify);
    stale.wake();
    doors[1].waker().wake();
}

#[test]
fn a_handler_that_never_ends_keeps_nothing_waiting() {
    let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
    let reports = log.clone();
    registry.on_panic(move |info| reports.push(info.message().unwrap().to_owned()));
    let door = Door::default();
    registry.register(|_| pending());
    registry.register(|_| async { panic!("at once") });
    let passed = door.clone();
    registry.register(move |_| {
        let passed = passed.passed();
        async move {
            passed.await;
            panic!("later");
        }
    });
    let task = Arc::new(Wakes::default());
    let mut notify = Box::pin(registry.notify(&0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert_eq!(log.take(), ["at once"]);
    door.open();
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert_eq!(log.take(), ["later"]);
    drop(notify);
    assert_eq!(registry.handler_count(), 3);
}

/// Wakes come from other threads while the dispatch is polled.
#[test]
fn no_wake_from_another_thread_is_lost() {
    within("wakes from other threads", || {
        for _ in 0..200 {
            let (registry, doors) = doors(8);
            let (sender, woken) = std::sync::mpsc::channel();
            let task = Waker::from(Arc::new(Signal(Mutex::new(sender))));
            let mut notify = pin!(registry.notify(&0));
            let mut context = Context::from_waker(&task);
            assert!(notify.as_mut().poll(&mut context).is_pending());
            thread::scope(|scope| {
                for door in &doors {
                    scope.spawn(move || door.open());
                }
                while notify.as_mut().poll(&mut context).is_pending() {
                    woken.recv().unwrap();
                }
            });
        }
    });
}

struct Signal(Mutex<std::sync::mpsc::Sender<()>>);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        // The dispatch may have ended, and nobody waits any more.
        let _ = self.0.lock().unwrap().send(());
    }
}

/// A runtime that limits what a task does in one turn has resources that are pending then, although
/// they are there: polling all others meanwhile would cost the square of their number.
#[test]
fn a_dispatch_whose_task_has_used_up_its_turn_returns_to_the_runtime() {
    const HANDLERS: usize = 1_000;
    const STEPS: usize = 50;
    let (registry, polls) = (AsyncRegistry::<u32>::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..HANDLERS {
        let polls = Arc::clone(&polls);
        registry.register(move |_| {
            let (polls, mut steps) = (Arc::clone(&polls), STEPS);
            let mut step = Box::pin(tokio::task::coop::consume_budget());
            poll_fn(move |context| {
                polls.fetch_add(1, Ordering::Relaxed);
                while steps != 0 {
                    std::task::ready!(step.as_mut().poll(context));
                    step = Box::pin(tokio::task::coop::consume_budget());
                    steps -= 1;
                }
                Poll::Ready(())
            })
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let delivery = runtime.block_on(registry.notify(&0));
    assert_eq!(delivery.called(), HANDLERS);
    // A turn allows 128 steps, and ends after 64 polls that got nothing.
    let most = 2 * HANDLERS + 100 * (HANDLERS * STEPS / 128);
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls < most, "{polls} polls");
}

/// Handlers that really wait are polled once a wake, however many there are.
#[test]
fn handlers_that_wait_are_not_polled_again_by_the_next_turn() {
    const HANDLERS: usize = 500;
    let (registry, doors) = doors(HANDLERS);
    let task = Arc::new(Wakes::default());
    let mut notify = pin!(registry.notify(&0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    // Once more, with wakers of their own, in several turns.
    doors[0].waker().wake();
    while task.take() > 0 {
        assert!(poll(notify.as_mut(), &task).is_pending());
    }
    assert!(doors.iter().all(|door| door.polls() == 2));
    doors.iter().for_each(Door::open);
    let mut turns = 0;
    loop {
        assert!(task.take() > 0, "the task is woken");
        turns += 1;
        if let Poll::Ready(delivery) = poll(notify.as_mut(), &task) {
            assert_eq!(delivery.called(), HANDLERS);
            break;
        }
    }
    assert!(doors.iter().all(|door| door.polls() == 3));
    assert_eq!(turns, 1, "a handler that ends does not use up the turn");
}
