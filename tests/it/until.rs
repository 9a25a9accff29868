//! Handlers that end themselves.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use topic_registry::{HandlerGuard, JoinGuard, PanicOrigin, SyncRegistry, TopicRegistry};

use crate::support::{Bomb, Log, Subject, for_each_subject, log_of_panics};

for_each_subject! {
    after_break_it_is_removed_before_the_next_handler_runs
    it_stays_as_long_as_it_continues
    it_hears_as_many_events_as_it_counts
    it_ends_with_what_it_watches
    one_that_panics_stays
    a_nested_dispatch_ends_it_for_the_outer_one_too
    its_own_nested_calls_end_it_once
    one_that_was_removed_meanwhile_removes_nothing_else
    its_closure_is_dropped_after_the_dispatch_and_a_panic_of_that_is_reported
}

fn after_break_it_is_removed_before_the_next_handler_runs<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (same, counts) = (subject.clone(), log.clone());
    let id = subject.until(|_| Break(()));
    subject.register(0, move |_| {
        counts.push((
            same.registry().contains(id),
            same.registry().handler_count(),
        ));
    });
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.stopped()), (2, false));
    assert_eq!(log.take(), [(false, 1)]);
    assert_eq!(subject.notify(&0).called(), 1);
    assert!(!subject.unregister(id));
    subject.clear();
}

fn it_stays_as_long_as_it_continues<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let calls = log.clone();
    let id = subject.until(move |event| {
        calls.push(*event);
        if *event < 3 { Continue(()) } else { Break(()) }
    });
    for event in 0..6 {
        assert_eq!(subject.registry().contains(id), event <= 3);
        subject.notify(&event);
    }
    assert_eq!(log.take(), [0, 1, 2, 3]);
}

/// The first n events.
fn it_hears_as_many_events_as_it_counts<S: Subject>() {
    const COUNT: usize = 3;
    let (subject, heard) = (S::fresh(), AtomicUsize::new(1));
    subject.until(move |_| match heard.fetch_add(1, Ordering::Relaxed) {
        COUNT => Break(()),
        _ => Continue(()),
    });
    let called: usize = (0..10).map(|event| subject.notify(&event).called()).sum();
    assert_eq!((called, subject.registry().handler_count()), (COUNT, 0));
}

fn it_ends_with_what_it_watches<S: Subject>() {
    let (subject, target) = (S::fresh(), Arc::new(AtomicUsize::new(0)));
    let weak = Arc::downgrade(&target);
    subject.until(move |_| match weak.upgrade() {
        Some(target) => {
            target.fetch_add(1, Ordering::Relaxed);
            Continue(())
        }
        None => Break(()),
    });
    subject.notify(&0);
    subject.notify(&0);
    assert_eq!(
        (target.load(Ordering::Relaxed), Arc::strong_count(&target)),
        (2, 1)
    );
    drop(target);
    assert_eq!(subject.notify(&0).called(), 1);
    assert!(subject.registry().is_empty());
}

fn one_that_panics_stays<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.until(|event| {
        assert_ne!(*event, 0, "a call");
        Break(())
    });
    for _ in 0..3 {
        assert_eq!(subject.notify(&0).panicked(), 1);
    }
    assert_eq!(reports.take().len(), 3);
    assert_eq!(subject.notify(&1).called(), 1);
    assert!(subject.registry().is_empty());
}

fn a_nested_dispatch_ends_it_for_the_outer_one_too<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (nested, calls) = (subject.clone(), log.clone());
    subject.register(1, move |event| {
        if *event < 3 {
            nested.notify(&(event + 1));
        }
    });
    subject.until(move |event| {
        calls.push(*event);
        Break(())
    });
    assert_eq!(subject.notify(&0).called(), 1, "it is not started again");
    assert_eq!(log.take(), [3]);
    subject.clear();
}

fn its_own_nested_calls_end_it_once<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (nested, calls) = (subject.clone(), log.clone());
    subject.until(move |event| {
        if *event < 3 {
            nested.notify(&(event + 1));
        }
        calls.push((*event, nested.registry().handler_count()));
        if *event == 1 { Continue(()) } else { Break(()) }
    });
    let stays = subject.register(0, |_| {});
    assert_eq!(subject.notify(&0).called(), 2);
    assert_eq!(log.take(), [(3, 2), (2, 1), (1, 1), (0, 1)]);
    assert!(subject.registry().contains(stays));
    assert_eq!(subject.notify(&0).called(), 1);
    subject.clear();
}

fn one_that_was_removed_meanwhile_removes_nothing_else<S: Subject>() {
    let subject = S::fresh();
    let same = subject.clone();
    subject.until(move |_| {
        same.clear();
        same.register(0, |_| {});
        Break(())
    });
    assert_eq!(subject.notify(&0).called(), 1);
    assert_eq!(subject.registry().handler_count(), 1);
    subject.clear();
}

fn its_closure_is_dropped_after_the_dispatch_and_a_panic_of_that_is_reported<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let reports = log.clone();
    subject.on_panic(move |info| {
        let message = info.message().map(str::to_owned);
        reports.push((info.handler_id().unwrap(), info.origin(), message));
    });
    let bomb = Bomb("what it owned");
    let id = subject.until(move |_| {
        let _ = &bomb;
        Break(())
    });
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    let message = Some("what it owned".to_owned());
    assert_eq!(log.take(), [(id, PanicOrigin::Destructor, message)]);
    assert_eq!(subject.panic_count(), 1);
}

#[test]
fn it_has_a_priority_and_a_guard_and_is_joined() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let noting = |name| {
        let log = log.clone();
        move |event: &u32| {
            log.push(name);
            if *event == 0 { Continue(()) } else { Break(()) }
        }
    };
    let last = registry.options().priority(-1).register_until(noting("last"));
    let guard: HandlerGuard = registry.options().guard().register_until(noting("guard"));
    let removed = registry.options().guard().register_until(noting("removed"));
    let first: JoinGuard =
        registry.options().priority(1).joinable().register_until(noting("first"));
    drop(removed);
    for event in [0, 1, 2] {
        registry.notify(&event);
    }
    assert_eq!(log.take(), ["first", "guard", "last"].repeat(2));
    assert!(registry.is_empty() && !registry.contains(last));
    drop(guard);
    assert_eq!(first.join(), Ok(()));
}

#[test]
fn the_closure_of_a_joinable_one_is_dropped_when_it_has_ended() {
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let joinable = registry.options().joinable().register_until(move |_| {
        let _ = &owned;
        Break(())
    });
    assert_eq!(registry.notify(&0).called(), 1);
    assert_eq!(
        (registry.handler_count(), Arc::strong_count(&alive)),
        (0, 1)
    );
    assert_eq!(joinable.join(), Ok(()));
}

#[test]
fn it_is_registered_in_a_batch() {
    let registry = SyncRegistry::<u32>::new();
    let ids = registry.update(|batch| {
        [1, 2].map(|last| {
            let until = move |event: &u32| {
                if *event < last {
                    Continue(())
                } else {
                    Break(())
                }
            };
            batch.options().priority(1).register_until(until)
        })
    });
    let left = [0, 1, 2].map(|event| {
        registry.notify(&event);
        ids.map(|id| registry.contains(id))
    });
    assert_eq!(left, [[true, true], [false, true], [false, false]]);
}

#[test]
fn a_topic_goes_with_its_last_handler() {
    let topics = TopicRegistry::<String, u32>::new();
    topics.handle("a").options().register_until(|_| Break(()));
    assert_eq!((topics.len(), topics.notify("a", &0).called()), (1, 1));
    assert!(topics.is_empty());
}

/// A pin runs over its own list until the next call.
#[test]
fn a_pin_does_not_start_it_again() {
    let registry = SyncRegistry::<u32>::new();
    registry.options().register_until(|_| Break(()));
    let (mut one, mut two) = (registry.pin(), registry.pin());
    two.refresh();
    assert_eq!((one.notify(&0).called(), two.notify(&0).called()), (1, 0));
    assert!(registry.is_empty());
}

#[cfg(feature = "async")]
mod asynchronous {
    use std::future::Future;
    use std::ops::ControlFlow::{Break, Continue};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use topic_registry::{AsyncRegistry, Delivery, JoinGuard};

    use crate::support::{Bomb, Log, OnDrop, Wakes, now, poll, yields};

    type Dispatch<'r> = Pin<Box<dyn Future<Output = Delivery> + 'r>>;
    type Notify = fn(&AsyncRegistry<u32>) -> Dispatch<'_>;

    const NOTIFIES: [Notify; 2] = [
        |registry| Box::pin(registry.notify(&0)),
        |registry| Box::pin(registry.notify_sequential(&0)),
    ];

    fn called(polled: Poll<Delivery>) -> Option<usize> {
        match polled {
            Poll::Ready(delivery) => Some(delivery.called()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn one_that_was_pending_first_is_removed_by_its_output() {
        for notify in NOTIFIES {
            let (registry, task) = (AsyncRegistry::<u32>::new(), Arc::<Wakes>::default());
            let begun = Arc::new(AtomicUsize::new(0));
            let begins = Arc::clone(&begun);
            registry.options().register_until(move |_| {
                begins.fetch_add(1, Ordering::Relaxed);
                async {
                    yields().await;
                    Break(())
                }
            });
            let mut dispatch = notify(&registry);
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            assert_eq!(registry.handler_count(), 1, "it has not ended yet");
            assert_eq!(called(poll(dispatch.as_mut(), &task)), Some(1));
            assert!(registry.is_empty());
            assert_eq!(called(poll(notify(&registry).as_mut(), &task)), Some(0));
            assert_eq!(begun.load(Ordering::Relaxed), 1);
        }
    }

    /// What they return changes nothing more.
    #[test]
    fn futures_that_live_already_go_on() {
        for notify in NOTIFIES {
            let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
            let (task, ends) = (Arc::<Wakes>::default(), log.clone());
            registry.options().register_until(move |_| {
                let log = ends.clone();
                async move {
                    yields().await;
                    log.push("ended");
                    Break(())
                }
            });
            let (mut one, mut two) = (notify(&registry), notify(&registry));
            for dispatch in [&mut one, &mut two] {
                assert!(poll(dispatch.as_mut(), &task).is_pending());
            }
            assert_eq!(called(poll(one.as_mut(), &task)), Some(1));
            let successor = registry.register(|_| async {});
            assert_eq!(called(poll(two.as_mut(), &task)), Some(1));
            assert_eq!(log.take(), ["ended", "ended"]);
            assert!(registry.contains(successor) && registry.handler_count() == 1);
        }
    }

    #[test]
    fn one_after_it_in_a_sequence_finds_it_removed() {
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        registry.options().register_until(|_| async {
            yields().await;
            Break(())
        });
        let (same, counts) = (registry.clone(), log.clone());
        registry.register(move |_| {
            counts.push(same.handler_count());
            async {}
        });
        let (mut dispatch, task) = (NOTIFIES[1](&registry), Arc::<Wakes>::default());
        assert!(poll(dispatch.as_mut(), &task).is_pending());
        assert_eq!(log.take(), []);
        assert_eq!(called(poll(dispatch.as_mut(), &task)), Some(2));
        assert_eq!(log.take(), [1]);
        drop(dispatch);
        registry.clear();
    }

    #[test]
    fn one_whose_future_panics_or_is_dropped_stays() {
        for notify in NOTIFIES {
            let (registry, task) = (AsyncRegistry::<u32>::new(), Arc::<Wakes>::default());
            registry.options().register_until(|_| async {
                yields().await;
                panic!("a future");
            });
            let mut dispatch = notify(&registry);
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            assert!(
                matches!(poll(dispatch.as_mut(), &task), Poll::Ready(delivery) if delivery.panicked() == 1)
            );
            let mut dropped = notify(&registry);
            assert!(poll(dropped.as_mut(), &task).is_pending());
            drop(dropped);
            assert_eq!((registry.handler_count(), registry.panic_count()), (1, 1));
        }
    }

    /// The output is taken before the future is dropped.
    #[test]
    fn a_bomb_in_its_future_is_reported_and_it_is_removed() {
        for notify in NOTIFIES {
            let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
            let reports = log.clone();
            registry.on_panic(move |info| reports.push(info.message().unwrap_or("?").to_owned()));
            registry.options().register_until(|_| {
                let bomb = Arc::new(Bomb("what the future owned"));
                // As long as the future is there.
                let future = async {
                    yields().await;
                    Break(())
                };
                WithOwned(Box::pin(future), bomb)
            });
            let (mut dispatch, task) = (notify(&registry), Arc::<Wakes>::default());
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            assert_eq!(called(poll(dispatch.as_mut(), &task)), Some(1));
            assert!(registry.is_empty());
            assert_eq!(log.take(), ["what the future owned"]);
        }
    }

    /// A future that owns something beside.
    struct WithOwned<T, O>(Pin<Box<dyn Future<Output = T> + Send>>, O);

    impl<T, O: Unpin> Future for WithOwned<T, O> {
        type Output = T;

        fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<T> {
            self.0.as_mut().poll(context)
        }
    }

    #[test]
    fn it_has_a_priority_a_guard_and_is_joined() {
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        let noting = |name| {
            let log = log.clone();
            let dropped = log.clone();
            let owned = OnDrop(move || dropped.push("dropped"));
            move |event: &u32| {
                let _ = &owned;
                log.push(name);
                let flow = if *event == 0 { Continue(()) } else { Break(()) };
                async move { flow }
            }
        };
        let guard = registry.options().guard().register_until(noting("second"));
        let joinable: JoinGuard =
            registry.options().joinable().priority(1).register_until(noting("first"));
        drop(registry.options().guard().register_until(noting("never")));
        assert_eq!(log.take(), ["dropped"]);
        assert_eq!(now(registry.notify(&0)).called(), 2);
        assert_eq!(
            (log.take(), registry.handler_count()),
            (vec!["first", "second"], 2)
        );
        assert_eq!(now(registry.notify_sequential(&1)).called(), 2);
        assert_eq!((log.take().len(), registry.handler_count()), (4, 0));
        now(joinable.join_async());
        drop(guard);
    }
}
