//! What is particular to async dispatch (G11): the order of its handlers, cancellation, and panics
//! of futures. For wakes, see `wakes.rs`.

use std::future::{Future, pending, poll_fn};
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::{AsyncRegistry, AsyncTopicRegistry, Delivery, HandlerGuard, PanicOrigin};

use crate::doors::Door;
use crate::support::{Bomb, EndlessBomb, Log, OnDrop, Wakes, now, poll, within, yields};

#[test]
fn dropping_a_dispatch_drops_each_pending_future_once_and_leaves_the_registry_usable() {
    for sequential in [false, true] {
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        for name in ["a", "b", "c"] {
            let log = log.clone();
            registry.register(move |event| {
                let (log, wait) = (log.clone(), *event == 0);
                let dropped = OnDrop(move || log.push(name));
                async move {
                    let _dropped = dropped;
                    if wait {
                        pending::<()>().await;
                    }
                }
            });
        }
        let task = Arc::new(Wakes::default());
        let mut notify: Pin<Box<dyn Future<Output = _>>> = if sequential {
            Box::pin(registry.notify_sequential(&0))
        } else {
            Box::pin(registry.notify(&0))
        };
        assert!(poll(notify.as_mut(), &task).is_pending());
        drop(notify);
        let mut dropped = log.take();
        dropped.sort_unstable();
        assert_eq!(
            dropped,
            if sequential {
                vec!["a"]
            } else {
                vec!["a", "b", "c"]
            }
        );
        assert_eq!(now(registry.notify(&1)).called(), 3);
        assert_eq!(log.take(), ["a", "b", "c"]);
    }
}

#[test]
fn a_dispatch_that_is_never_polled_does_nothing() {
    let registry = AsyncRegistry::<u32>::new();
    registry.register_once(|_| async { unreachable!("nobody polled it") });
    drop(registry.notify(&0));
    drop(registry.notify_sequential(&0));
    assert_eq!(registry.handler_count(), 1);
}

#[test]
fn the_handlers_are_those_of_the_first_poll() {
    let registry = AsyncRegistry::<u32>::new();
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let of_the_registry = (registry.notify(&0), registry.notify_sequential(&0));
    let by_key = (topics.notify("a", &0), topics.notify_sequential("a", &0));
    registry.register(|_| async {});
    topics.register("a", |_| async {});
    let (one, two) = of_the_registry;
    assert_eq!((now(one).called(), now(two).called()), (1, 1));
    let (one, two) = by_key;
    assert_eq!((now(one).called(), now(two).called()), (1, 1));
}

#[test]
fn every_way_to_notify_is_concurrent_or_sequential_as_it_says() {
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let (handle, log) = (topics.handle("a"), Log::new());
    for name in ["first", "second"] {
        let log = log.clone();
        handle.register(move |_| {
            log.push(name);
            pending()
        });
    }
    let started = |mut notify: Pin<Box<dyn Future<Output = Delivery> + '_>>| {
        assert!(poll(notify.as_mut(), &Arc::default()).is_pending());
        log.take()
    };
    assert_eq!(started(Box::pin(handle.notify(&0))), ["first", "second"]);
    assert_eq!(
        started(Box::pin(topics.notify("a", &0))),
        ["first", "second"]
    );
    assert_eq!(started(Box::pin(handle.notify_sequential(&0))), ["first"]);
    assert_eq!(
        started(Box::pin(topics.notify_sequential("a", &0))),
        ["first"]
    );
}

/// Notes its priority, and panics: every way to register, at three priorities, names the
/// place that it is called from.
#[test]
fn every_way_to_register_keeps_the_priority_and_the_place() {
    async fn zero(_: &u32) {
        panic!("0");
    }
    async fn one(_: &u32) {
        panic!("1");
    }
    async fn two(_: &u32) {
        panic!("2");
    }
    let owned = |priority: u32| move |_: &u32| async move { panic!("{priority}") };
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let (handle, log) = (topics.handle("a"), Log::new());
    let reports = log.clone();
    topics.on_panic(move |_, info| {
        let line = info.registered_at().line();
        reports.push((
            info.message().unwrap().to_owned(),
            line,
            info.registered_at().file(),
        ));
    });
    let check = |first_line: u32, guard| {
        assert_eq!(now(handle.notify(&0)).panicked(), 3);
        let line = |n: u32| (n.to_string(), first_line + n, file!());
        assert_eq!(log.take(), [line(2), line(1), line(0)]);
        handle.clear();
        drop::<Option<HandlerGuard>>(guard);
    };
    let line = line!() + 1;
    handle.register(owned(0));
    handle.register_with_priority(1, owned(1));
    let guard = handle.options().priority(2).guard().register(owned(2));
    check(line, Some(guard));
    let line = line!() + 1;
    topics.register("a", owned(0));
    topics.register_with_priority("a", 1, owned(1));
    let guard = topics.handle("a").options().priority(2).guard().register(owned(2));
    check(line, Some(guard));
    let line = line!() + 1;
    handle.register_async_fn(zero);
    handle.options().priority(1).register_async_fn(one);
    let guard = handle.options().priority(2).guard().register_async_fn(two);
    check(line, Some(guard));
    let line = line!() + 1;
    topics.register_async_fn("a", zero);
    topics.handle("a").options().priority(1).register_async_fn(one);
    let guard = topics.handle("a").options().priority(2).guard().register_async_fn(two);
    check(line, Some(guard));
    let line = line!() + 2;
    handle.update(|batch| {
        batch.register(owned(0));
        batch.options().priority(1).register(owned(1));
        batch.options().priority(2).register(owned(2));
    });
    check(line, None);
    let line = line!() + 2;
    handle.update(|batch| {
        batch.options().register_async_fn(zero);
        batch.options().priority(1).register_async_fn(one);
        batch.options().priority(2).register_async_fn(two);
    });
    check(line, None);
}

/// Futures made by hand: an async block drops what it owns when the block ends.
#[test]
fn what_has_ended_is_dropped_at_once() {
    let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
    for (name, polls) in [("at once", 1), ("later", 3), ("never", usize::MAX)] {
        let log = log.clone();
        registry.register(move |_| {
            let (log, mut polls) = (log.clone(), polls);
            let dropped = OnDrop(move || log.push(name));
            poll_fn(move |context| {
                let _ = &dropped;
                context.waker().wake_by_ref();
                polls -= 1;
                if polls == 0 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        });
    }
    let mut notify = Box::pin(registry.notify(&0));
    for _ in 0..4 {
        assert!(poll(notify.as_mut(), &Arc::default()).is_pending());
    }
    assert_eq!(log.take(), ["at once", "later"]);
    drop(notify);
    assert_eq!(log.take(), ["never"]);
}

#[test]
fn a_dispatch_that_waits_keeps_only_the_handlers_that_it_waits_for() {
    let (registry, alive) = (AsyncRegistry::<u32>::new(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let ready = registry.register(move |_| {
        let _ = &owned;
        async {}
    });
    registry.register(|_| pending());
    let mut notify = Box::pin(registry.notify(&0));
    assert!(poll(notify.as_mut(), &Arc::default()).is_pending());
    assert!(registry.unregister(ready));
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn handlers_that_borrow_the_event_may_have_a_state() {
    let (registry, log) = (AsyncRegistry::<str>::new(), Log::new());
    let (one, two) = (log.clone(), log.clone());
    registry.register_async_fn(async move |text| one.push(format!("one {text}")));
    registry.register_async_fn(async move |text: &str| two.push(format!("two {text}")));
    assert_eq!(now(registry.notify("a")).called(), 2);
    assert_eq!(now(registry.notify_sequential("b")).called(), 2);
    assert_eq!(log.take(), ["one a", "two a", "one b", "two b"]);
}

/// Where a handler may panic, and what is told of it then.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    BeforeTheFuture,
    InAPoll,
    InADropAfterItsEnd,
    InADropAfterAPanic,
    InADropOnCancellation,
}

/// Panics in its place, once its door is open.
struct Faulty {
    place: Place,
    throw: fn(),
    door: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Faulty {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.door.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        match self.place {
            Place::InAPoll => (self.throw)(),
            Place::InADropAfterAPanic => panic!("the first of two"),
            _ => {}
        }
        match self.place {
            Place::InADropOnCancellation => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if !matches!(self.place, Place::BeforeTheFuture | Place::InAPoll) {
            (self.throw)();
        }
    }
}

#[test]
fn wherever_a_handler_panics_it_is_contained_counted_and_reported_once() {
    use PanicOrigin::{Call, Destructor};
    type Throw = (fn(), &'static [PanicOrigin]);
    let throws: [Throw; 3] = [
        (|| panic!("text"), &[]),
        (|| panic_any(Bomb("payload")), &[Destructor]),
        (|| panic_any(EndlessBomb), &[Destructor]),
    ];
    let places: [(Place, &[PanicOrigin]); 5] = [
        (Place::BeforeTheFuture, &[Call]),
        (Place::InAPoll, &[Call]),
        (Place::InADropAfterItsEnd, &[Destructor]),
        (Place::InADropAfterAPanic, &[Call, Destructor]),
        (Place::InADropOnCancellation, &[Destructor]),
    ];
    for (throw, of_the_payload) in throws {
        for (place, of_the_place) in places {
            for late in [false, true] {
                let (told, delivery) = run_faulty(place, throw, late);
                assert_eq!(told, [of_the_place, of_the_payload].concat(), "{place:?}");
                let panicked = usize::from(of_the_place.contains(&Call));
                let expected = (place != Place::InADropOnCancellation).then_some((2, panicked));
                assert_eq!(delivery, expected, "{place:?}");
            }
        }
    }
}

/// What was told of a handler that panics in that place, at its first poll or after a wake,
/// and what the dispatch came to, if it ended.
fn run_faulty(place: Place, throw: fn(), late: bool) -> (Vec<PanicOrigin>, Option<(usize, usize)>) {
    let (registry, log, door) = (AsyncRegistry::<u32>::new(), Log::new(), Door::default());
    let (reports, passed) = (log.clone(), door.clone());
    let id = registry.register(move |_| {
        if place == Place::BeforeTheFuture {
            throw();
        }
        let door = Box::pin(passed.passed());
        Faulty { place, throw, door }
    });
    registry.on_panic(move |info| {
        assert_eq!(info.handler_id(), Some(id));
        reports.push(info.origin());
    });
    let calls = Log::new();
    let sibling = calls.clone();
    registry.register(move |event| {
        sibling.push(*event);
        async {}
    });
    let task = Arc::new(Wakes::default());
    let mut notify = Box::pin(registry.notify(&7));
    let mut outcome = Poll::Pending;
    if late {
        outcome = poll(notify.as_mut(), &task);
    }
    if outcome.is_pending() {
        door.open_unheard();
        outcome = poll(notify.as_mut(), &task);
    }
    drop(notify);
    assert_eq!(calls.take(), [7], "the sibling ran");
    let told = log.take();
    assert_eq!(registry.panic_count(), told.len() as u64);
    let delivery = match outcome {
        Poll::Ready(delivery) => Some((delivery.called(), delivery.panicked())),
        Poll::Pending => None,
    };
    (told, delivery)
}

#[test]
fn a_once_handler_whose_dispatch_is_dropped_does_not_come_back() {
    let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
    let (started, ended) = (log.clone(), log.clone());
    registry.register_once(move |event| {
        started.push(("started", *event));
        let dropped = OnDrop(move || ended.push(("dropped", 0)));
        async move {
            let _dropped = dropped;
            pending::<()>().await;
        }
    });
    let task = Arc::new(Wakes::default());
    let mut notify = Box::pin(registry.notify(&1));
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert_eq!(now(registry.notify(&2)).called(), 0);
    drop(notify);
    assert_eq!(now(registry.notify(&3)).called(), 0);
    assert_eq!(log.take(), [("started", 1), ("dropped", 0)]);
    assert!(registry.is_empty());
}

#[test]
fn a_sequential_dispatch_skips_what_is_removed_before_its_turn() {
    let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
    let door = Door::default();
    let (passed, first) = (door.clone(), log.clone());
    registry.register_with_priority(1, move |_| {
        first.push("first");
        passed.passed()
    });
    let second = registry.register(|_| async { unreachable!("it was removed") });
    let third = log.clone();
    registry.register_with_priority(-1, move |_| {
        third.push("third");
        async {}
    });
    let task = Arc::new(Wakes::default());
    let mut notify = pin!(registry.notify_sequential(&0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert_eq!(log.take(), ["first"], "each waits for the one before");
    assert!(registry.unregister(second));
    door.open();
    let Poll::Ready(delivery) = poll(notify, &task) else {
        panic!("the door is open");
    };
    assert_eq!((delivery.called(), log.take()), (2, vec!["third"]));
}

/// Enough of them for several chunks, some of which wait.
#[test]
fn a_sequential_dispatch_runs_each_handler_once_and_in_order_whichever_wait() {
    for waits in [|n| n % 3 == 0, |n| n % 3 != 0, |_| true, |n| n == 199] {
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        for n in 0..200 {
            let log = log.clone();
            registry.register(move |_| {
                let (log, mut pending) = (log.clone(), waits(n));
                poll_fn(move |_| {
                    if std::mem::take(&mut pending) {
                        return Poll::Pending;
                    }
                    log.push(n);
                    Poll::Ready(())
                })
            });
        }
        let task = Arc::new(Wakes::default());
        let mut notify = pin!(registry.notify_sequential(&0));
        let mut polls = 0..=(0..200).filter(|n| waits(*n)).count();
        let delivery = polls.find_map(|_| match poll(notify.as_mut(), &task) {
            Poll::Ready(delivery) => Some(delivery.called()),
            Poll::Pending => None,
        });
        assert_eq!((delivery, polls.next()), (Some(200), None));
        assert_eq!(log.take(), (0..200).collect::<Vec<i32>>());
    }
}

/// By time, because nothing else shows it: what a handler costs does not grow with their number.
#[test]
#[ignore = "takes some seconds, and a machine that does little else"]
fn a_sequential_dispatch_costs_each_handler_that_waits_the_same_however_many_there_are() {
    let [few, many] = [5_000, 200_000].map(|handlers: u32| {
        let registry = AsyncRegistry::<u32>::new();
        registry.update(|batch| {
            for _ in 0..handlers {
                batch.register(|_| {
                    let mut pending = true;
                    poll_fn(move |_| {
                        if std::mem::take(&mut pending) {
                            return Poll::Pending;
                        }
                        Poll::Ready(())
                    })
                });
            }
        });
        let run = || {
            let (task, start) = (Arc::new(Wakes::default()), Instant::now());
            let mut notify = pin!(registry.notify_sequential(&0));
            let polls = (0..=handlers).position(|_| poll(notify.as_mut(), &task).is_ready());
            assert_eq!(polls, Some(handlers as usize), "each waits once");
            start.elapsed() / handlers
        };
        (0..5).map(|_| run()).min().expect("it has run")
    });
    println!("{few:?} a handler of few, {many:?} of many");
    assert!(many < 6 * few, "{few:?} a handler of few, {many:?} of many");
}

#[test]
fn a_call_that_has_begun_goes_on_after_its_handler_and_its_topic_are_gone() {
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let (door, log) = (Door::default(), Log::new());
    let (passed, calls) = (door.clone(), log.clone());
    topics.register("a", move |_| {
        let (passed, calls) = (passed.passed(), calls.clone());
        async move {
            passed.await;
            calls.push("ended");
        }
    });
    let task = Arc::new(Wakes::default());
    let mut notify = pin!(topics.notify("a", &0));
    assert!(poll(notify.as_mut(), &task).is_pending());
    assert!(topics.remove("a"));
    assert!(topics.is_empty());
    door.open();
    assert!(poll(notify, &task).is_ready());
    assert_eq!(log.take(), ["ended"]);
}

async fn measure(text: &str) {
    tokio::task::yield_now().await;
    assert_eq!(text.len(), 5);
}

#[test]
fn handlers_that_borrow_the_event_across_awaits() {
    within("handlers that borrow", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let registry = AsyncRegistry::<str>::new();
        let topics = AsyncTopicRegistry::<u64, str>::new();
        registry.register_async_fn(measure);
        registry.options().priority(1).register_async_fn(measure);
        let guards = [
            registry.options().guard().register_async_fn(measure),
            registry.options().priority(2).guard().register_async_fn(measure),
            topics.handle(7u64).options().guard().register_async_fn(measure),
            topics.handle(7u64).options().priority(1).guard().register_async_fn(measure),
        ];
        topics.register_async_fn(7u64, measure);
        topics.handle(7u64).options().priority(1).register_async_fn(async |text: &str| {
            tokio::task::yield_now().await;
            assert_eq!(text, "hello");
        });
        let (same, keyed) = (registry.clone(), topics.clone());
        let task = runtime.spawn(async move {
            let event = "hello".to_owned();
            let one = registry.notify(&event).await;
            let two = topics.notify_sequential(&7, &event).await;
            (one.called(), one.panicked(), two.called(), two.panicked())
        });
        assert_eq!(runtime.block_on(task).unwrap(), (4, 0, 4, 0));
        drop(guards);
        assert_eq!(
            (same.handler_count(), keyed.handle(7u64).handler_count()),
            (2, 2)
        );
    });
}

/// Handlers that wait for real, on every kind of runtime, beside a churn of others.
#[test]
fn dispatches_on_a_runtime_call_every_handler() {
    let multi_thread = tokio::runtime::Builder::new_multi_thread;
    let current_thread = tokio::runtime::Builder::new_current_thread;
    for mut builder in [multi_thread(), current_thread()] {
        within("dispatches on a runtime", move || {
            let runtime = builder.enable_time().build().unwrap();
            let topics = AsyncTopicRegistry::<u64, u64>::new();
            let calls = Arc::new(AtomicUsize::new(0));
            for n in 0..20 {
                let calls = Arc::clone(&calls);
                topics.register(1u64, move |_| {
                    let calls = Arc::clone(&calls);
                    async move {
                        tokio::time::sleep(Duration::from_millis(n % 3)).await;
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let tasks: Vec<_> = (0..20u64)
                .map(|task| {
                    let handle = topics.handle(1u64);
                    runtime.spawn(async move {
                        for event in 0..5 {
                            let own = handle.register_guard(|_| tokio::task::yield_now());
                            let delivery = match task % 2 {
                                0 => handle.notify(&event).await,
                                _ => handle.notify_sequential(&event).await,
                            };
                            assert!(delivery.called() >= 21 && delivery.panicked() == 0);
                            drop(own);
                        }
                    })
                })
                .collect();
            for task in tasks {
                runtime.block_on(task).unwrap();
            }
            assert_eq!(calls.load(Ordering::Relaxed), 20 * 5 * 20);
            assert!(topics.remove(&1));
            assert!(topics.is_empty());
        });
    }
}

#[test]
fn dispatches_are_send() {
    fn is_send<T: Send>(_: T) {}
    let registry = AsyncRegistry::<str>::new();
    let topics = AsyncTopicRegistry::<String, [u8]>::new();
    is_send(registry.notify("a"));
    is_send(registry.notify_sequential("a"));
    is_send(topics.notify("a", &[1, 2]));
    is_send(topics.notify_sequential("a", &[1, 2]));
}

/// The stack of a thread is small, and a future may not be.
#[test]
fn a_large_future_is_not_moved_on_the_stack() {
    const SIZE: usize = 256 * 1024;
    const STACK: usize = 6 * SIZE;
    let registry = AsyncRegistry::<u32>::new();
    #[expect(clippy::large_stack_arrays, reason = "it is part of the future")]
    registry.register_async_fn(async |event: &u32| {
        let large = [7_u8; SIZE];
        yields().await;
        assert_eq!(u32::from(std::hint::black_box(&large)[SIZE - 1]), *event);
    });
    let small = thread::Builder::new().stack_size(STACK);
    let notify = small.spawn(move || {
        let (task, mut notify) = (Arc::default(), pin!(registry.notify(&7)));
        assert!(poll(notify.as_mut(), &task).is_pending());
        let mut turns = std::iter::repeat_with(|| poll(notify.as_mut(), &task));
        turns.find(Poll::is_ready)
    });
    let Some(Poll::Ready(delivery)) = notify.unwrap().join().unwrap() else {
        panic!("it yields once");
    };
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
}

/// It is kept in a box, which is called and dropped as the closure itself would be.
#[test]
fn a_large_closure_is_called_and_dropped_as_any() {
    let registry = AsyncRegistry::<u32>::new();
    let (log, owned) = (Log::new(), Arc::new([7_u8; 4096]));
    let large = || {
        let (large, log, owned) = ([1_u8; 4096], log.clone(), Arc::clone(&owned));
        move |event: &u32| {
            let sum = u32::from(large[0]) + u32::from(owned[0]) + event;
            log.push(sum);
            async {}
        }
    };
    let id = registry.register(large());
    registry.register_once(large());
    assert_eq!(now(registry.notify(&2)).called(), 2);
    assert_eq!(now(registry.notify_sequential(&3)).called(), 1);
    assert_eq!(log.take(), [10, 10, 11]);
    assert_eq!(Arc::strong_count(&owned), 2);
    assert!(registry.unregister(id));
    assert_eq!(Arc::strong_count(&owned), 1);
}
