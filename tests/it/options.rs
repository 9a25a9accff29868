//! Registration options: every combination that makes sense, and what it returns.

use std::ops::ControlFlow::{Break, Continue};

use topic_registry::{Flavor, HandlerGuard, HandlerId, JoinGuard, Registry, SyncRegistry};

use crate::support::{Intercepts, Log, Subject, for_each_subject};

for_each_subject! {
    an_interceptor_is_guarded_and_has_a_priority
}

fn an_interceptor_is_guarded_and_has_a_priority<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    subject.register(5, |_| {});
    subject.register(0, |_| unreachable!("it was stopped before"));
    let stops = registry.options().guard().priority(2).register_interceptor(|_| Break(()));
    let delivery = subject.notify(&0);
    assert!(delivery.stopped());
    drop(stops);
    assert_eq!(
        registry.handlers().iter().filter(|info| info.priority == 2).count(),
        0
    );
}

fn priorities<F: Flavor<u32>>(registry: &Registry<F, u32>) -> Vec<(HandlerId, i32)> {
    let handlers = registry.handlers();
    handlers.iter().map(|info| (info.id, info.priority)).collect()
}

#[test]
fn options_come_in_any_order_and_the_last_priority_counts() {
    let registry = SyncRegistry::<u32>::new();
    let one: HandlerGuard = registry.options().priority(3).guard().register(|_| {});
    let two: HandlerGuard = registry.options().guard().priority(2).register(|_| {});
    let three: JoinGuard = registry.options().priority(9).joinable().priority(1).register(|_| {});
    let four: HandlerId = registry.options().register(|_| {});
    let five = registry.options().priority(7).priority(-7).register(|_| {});
    let expected = [
        (one.id(), 3),
        (two.id(), 2),
        (three.id(), 1),
        (four, 0),
        (five, -7),
    ];
    assert_eq!(priorities(&registry), expected);
    drop((one, two, three));
    assert_eq!(priorities(&registry), [(four, 0), (five, -7)]);
}

#[test]
fn a_handler_for_a_single_call_has_a_priority_and_a_guard() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let noting = |name| {
        let log = log.clone();
        move |_: &u32| log.push(name)
    };
    registry.options().register_once(noting("second"));
    let removed = registry.options().guard().register_once(noting("removed"));
    let called = registry.options().priority(1).guard().register_once(noting("first"));
    let joined = registry.options().priority(-1).joinable().register_once(noting("third"));
    drop(removed);
    assert_eq!(registry.notify(&0).called(), 3);
    assert_eq!(log.take(), ["first", "second", "third"]);
    assert!(registry.is_empty());
    drop(called);
    assert_eq!(joined.join(), Ok(()));
    assert_eq!(registry.notify(&0).called(), 0);
}

#[test]
fn an_interceptor_that_is_joinable_stops_the_dispatch_by_break_and_by_a_panic() {
    let registry = SyncRegistry::<u32>::new();
    let stops = registry.options().priority(1).joinable().register_interceptor(|event| {
        assert_ne!(*event, 2, "it fails closed");
        if *event == 0 { Continue(()) } else { Break(()) }
    });
    registry.register(|_| {});
    let notified = |event| {
        let delivery = registry.notify(&event);
        (delivery.called(), delivery.panicked(), delivery.stopped())
    };
    assert_eq!(notified(0), (2, 0, false));
    assert_eq!(notified(1), (1, 0, true));
    assert_eq!(notified(2), (1, 1, true));
    assert_eq!(stops.join(), Ok(()));
    assert_eq!(notified(1), (1, 0, false));
}

#[cfg(feature = "async")]
mod asynchronous {
    use std::future::{self, Future};
    use std::ops::ControlFlow::Break;
    use std::pin::pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Wake, Waker};
    use std::time::Duration;

    use topic_registry::{
        AsyncRegistry, AsyncTopicRegistry, HandlerGuard, HandlerId, JoinError, JoinGuard,
    };

    use super::priorities;
    use crate::support::{Log, OnDrop, Wakes, now, poll, within, yields};

    async fn ignore(_: &u32) {}

    #[test]
    fn every_kind_of_handler_has_a_priority_and_a_guard() {
        let registry = AsyncRegistry::<u32>::new();
        let owning: HandlerGuard = registry.options().guard().priority(4).register(|_| async {});
        let borrowing = registry.options().priority(3).guard().register_async_fn(ignore);
        let once = registry.options().priority(2).guard().register_once(|_| async {});
        let once_async = registry.options().priority(1).guard().register_async_fn_once(ignore);
        let plain: HandlerId = registry.options().register_async_fn_once(ignore);
        let guards = [owning, borrowing, once, once_async];
        let mut expected: Vec<_> = guards.iter().map(HandlerGuard::id).zip([4, 3, 2, 1]).collect();
        expected.push((plain, 0));
        assert_eq!(priorities(&registry), expected);
        assert_eq!(now(registry.notify(&0)).called(), 5);
        assert_eq!(priorities(&registry), expected[..2]);
        drop(guards);
        assert!(registry.is_empty());
    }

    #[test]
    fn an_async_fn_for_a_single_call_borrows_the_event_and_is_not_cloned() {
        struct NotClone(Log<String>);
        let (registry, log) = (AsyncRegistry::<str>::new(), Log::new());
        let captured = NotClone(log.clone());
        registry.options().register_async_fn_once(async move |text: &str| {
            future::ready(()).await;
            captured.0.push(text.to_owned());
        });
        assert_eq!(now(registry.notify("one")).called(), 1);
        assert_eq!(now(registry.notify_sequential("two")).called(), 0);
        assert_eq!(log.take(), ["one"]);
    }

    /// Joins a handler in each place of its own calls: that would wait for itself.
    #[test]
    fn a_thread_that_runs_a_call_is_inside_of_it() {
        within("joins of the handler that the thread is inside of", || {
            let (slot, log) = (Arc::new(Mutex::new(None::<JoinGuard>)), Log::new());
            let joins = {
                let (slot, log) = (Arc::clone(&slot), log.clone());
                move |place| {
                    let guard = slot.lock().unwrap();
                    let joined = guard.as_ref().map(|guard| guard.join_timeout(Duration::MAX));
                    log.push((place, joined));
                }
            };
            let in_a_report = joins.clone();
            let topics: AsyncTopicRegistry<u8, u32> = AsyncTopicRegistry::builder()
                .on_slow(Duration::ZERO, move |_, _, _| in_a_report("slow"))
                .build();
            let in_a_report = joins.clone();
            topics.on_panic(move |_, _| in_a_report("panic"));
            let topic = topics.handle(1);
            let task = Arc::new(Wakes::default());

            let in_a_call = joins.clone();
            let joinable = topic.options().joinable().register(move |_| {
                in_a_call("closure");
                let in_a_poll = in_a_call.clone();
                let dropped = OnDrop({
                    let in_a_drop = in_a_call.clone();
                    move || in_a_drop("drop")
                });
                async move {
                    let _dropped = dropped;
                    in_a_poll("first poll");
                    yields().await;
                    in_a_poll("later poll");
                    panic!("reported");
                }
            });
            let mut dispatch = Box::pin(topic.notify(&0));
            *slot.lock().unwrap() = Some(joinable);
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            // No thread runs it now.
            let guard = slot.lock().unwrap().take().expect("it was put there");
            assert_eq!(guard.join_timeout(Duration::ZERO), Err(JoinError::TimedOut));
            *slot.lock().unwrap() = Some(guard);
            assert!(poll(dispatch.as_mut(), &task).is_ready());
            let places = [
                "closure",
                "first poll",
                "slow",
                "later poll",
                "drop",
                "slow",
                "panic",
            ];
            let inside = places.map(|place| (place, Some(Err(JoinError::Inside))));
            assert_eq!(log.take(), inside);
            let guard = slot.lock().unwrap().take().expect("it was put there");
            assert_eq!(guard.join(), Ok(()));

            let in_a_veto = joins.clone();
            *slot.lock().unwrap() =
                Some(topic.options().joinable().register_interceptor(move |_| {
                    in_a_veto("interceptor");
                    Break(())
                }));
            now(topic.notify(&0));
            assert_eq!(log.take()[0], ("interceptor", Some(Err(JoinError::Inside))));
        });
    }

    #[test]
    fn a_join_ends_when_no_future_lives_and_the_closure_was_dropped() {
        for is_sequential in [false, true] {
            let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
            let owned = OnDrop({
                let log = log.clone();
                move || log.push("closure")
            });
            let noting = log.clone();
            let joinable = registry.options().joinable().register(move |_| {
                let _ = &owned;
                let log = noting.clone();
                let dropped = OnDrop(move || log.push("future"));
                async move {
                    let _dropped = dropped;
                    future::pending::<()>().await;
                }
            });
            let (task, joiner) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
            let mut dispatches: Vec<_> = (0..2)
                .map(|_| {
                    let registry = registry.clone();
                    let mut dispatch = Box::pin(async move {
                        if is_sequential {
                            registry.notify_sequential(&0).await
                        } else {
                            registry.notify(&0).await
                        }
                    });
                    assert!(poll(dispatch.as_mut(), &task).is_pending());
                    dispatch
                })
                .collect();
            let mut join = pin!(joinable.join_async());
            assert!(registry.is_empty(), "removed at once");
            for left in [1, 0] {
                assert!(poll(join.as_mut(), &joiner).is_pending());
                assert_eq!(joiner.take(), 0);
                drop(dispatches.pop());
                assert_eq!(dispatches.len(), left);
            }
            assert_eq!(joiner.take(), 1, "by the last future");
            assert_eq!(log.take(), ["future", "future", "closure"]);
            assert!(poll(join.as_mut(), &joiner).is_ready());
        }
    }

    #[test]
    fn a_join_waits_for_no_future_that_has_ended_or_panicked() {
        let registry = AsyncRegistry::<u32>::new();
        let joinable = registry.options().joinable().register(|event| {
            let event = *event;
            async move { assert_ne!(event, 1) }
        });
        assert_eq!(now(registry.notify(&0)).panicked(), 0);
        assert_eq!(now(registry.notify(&1)).panicked(), 1);
        now(joinable.join_async());
        let joinable = registry.options().joinable().register_async_fn_once(ignore);
        assert_eq!(now(registry.notify(&0)).called(), 1);
        now(joinable.join_async());
        let veto = registry.options().joinable().register_interceptor(|_| Break(()));
        assert!(now(registry.notify(&0)).stopped());
        now(veto.join_async());
        assert!(registry.is_empty());
    }

    #[test]
    fn a_task_that_joins_no_longer_is_neither_woken_nor_kept() {
        let registry = AsyncRegistry::<u32>::new();
        let joinable = registry.options().joinable().register(|_| future::pending());
        let mut dispatch = Box::pin(registry.notify(&0));
        assert!(poll(dispatch.as_mut(), &Arc::default()).is_pending());
        let (mut join, joiner) = (Box::pin(joinable.join_async()), Arc::new(Wakes::default()));
        assert!(poll(join.as_mut(), &joiner).is_pending());
        drop(join);
        assert_eq!(Arc::strong_count(&joiner), 1, "the handler keeps a waker");
        drop(dispatch);
        assert_eq!(joiner.take(), 0);
    }

    #[test]
    fn what_the_destructor_of_a_future_throws_is_dropped_when_a_join_ends() {
        struct Joiner(Log<&'static str>);
        impl Wake for Joiner {
            fn wake(self: Arc<Self>) {
                self.0.push("joined");
            }
        }
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        let reported = log.clone();
        registry.on_panic(move |_| reported.push("reported"));
        let thrown = log.clone();
        let joinable = registry.options().joinable().register(move |_| {
            let log = thrown.clone();
            let bomb = OnDrop(move || {
                let log = log.clone();
                std::panic::panic_any(OnDrop(move || log.push("dropped")));
            });
            async move {
                let _throws = bomb;
                future::pending::<()>().await;
            }
        });
        let mut dispatch = Box::pin(registry.notify(&0));
        assert!(poll(dispatch.as_mut(), &Arc::default()).is_pending());
        let mut join = pin!(joinable.join_async());
        let joiner = Waker::from(Arc::new(Joiner(log.clone())));
        assert!(join.as_mut().poll(&mut Context::from_waker(&joiner)).is_pending());
        drop(dispatch);
        assert_eq!(log.take(), ["reported", "dropped", "joined"]);
    }

    /// One that fails to wake must neither unwind into a dispatch nor keep others from leaving.
    #[test]
    fn a_waker_that_panics_goes_no_further() {
        struct Bad;
        impl Wake for Bad {
            fn wake(self: Arc<Self>) {
                panic!("a bad waker");
            }
        }
        let registry = AsyncRegistry::<u32>::new();
        let joinable = registry.options().joinable().register(|_| future::pending());
        let mut dispatch = Box::pin(registry.notify(&0));
        assert!(poll(dispatch.as_mut(), &Arc::default()).is_pending());
        let mut join = pin!(joinable.join_async());
        let bad = Waker::from(Arc::new(Bad));
        assert!(join.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
        drop(dispatch);
        assert!(poll(join, &Arc::default()).is_ready());
    }

    #[test]
    fn a_guard_that_is_dropped_or_removes_waits_for_nobody() {
        let registry = AsyncRegistry::<u32>::new();
        let one = registry.options().joinable().register(|_| future::pending());
        let two = registry.options().joinable().register(|_| future::pending());
        let mut dispatch = Box::pin(registry.notify(&0));
        assert!(poll(dispatch.as_mut(), &Arc::default()).is_pending());
        one.remove();
        assert_eq!(registry.handler_count(), 1);
        drop(two);
        assert!(registry.is_empty());
        let mut join = pin!(one.join_async());
        assert!(poll(join.as_mut(), &Arc::default()).is_pending());
        drop(dispatch);
        assert!(poll(join, &Arc::default()).is_ready());
    }
}
