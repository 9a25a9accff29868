//! Handlers that may stop the dispatch that calls them.

use std::ops::ControlFlow::{self, Break, Continue};

use topic_registry::TopicRegistry;

use crate::support::{Intercepts, Log, Subject, for_each_subject, within};

for_each_subject! {
    break_stops_the_rest_and_continue_does_not
    it_is_a_handler_in_every_other_way
    one_that_panics_stops_the_dispatch
    the_first_that_stops_is_the_last_that_runs
    it_stops_its_own_dispatch_only
    a_batch_may_bring_one
    it_is_one_of_many
}

/// Breaks for events above the limit.
fn above(limit: u32) -> impl Fn(&u32) -> ControlFlow<()> + Send + Sync + 'static {
    move |event| {
        if *event > limit {
            Break(())
        } else {
            Continue(())
        }
    }
}

fn break_stops_the_rest_and_continue_does_not<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (early, late) = (log.clone(), log.clone());
    subject.register(2, move |_| early.push("early"));
    subject.registry().options().priority(1).register_interceptor(above(10));
    subject.register(0, move |_| late.push("late"));

    let delivery = subject.notify(&10);
    assert_eq!((delivery.called(), delivery.panicked()), (3, 0));
    assert!(!delivery.stopped());
    assert_eq!(log.take(), ["early", "late"]);

    let delivery = subject.notify(&11);
    assert!(delivery.stopped());
    assert_eq!(delivery.panicked(), 0);
    assert_ne!(log.take().last(), Some(&"late"));
    assert!(!subject.notify(&0).stopped(), "the next one is not");
}

fn it_is_a_handler_in_every_other_way<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    let id = registry.options().priority(5).register_interceptor(above(0));
    assert_eq!((registry.handler_count(), registry.contains(id)), (1, true));
    assert_eq!(subject.notify(&1).called(), 1);
    assert!(subject.notify(&1).stopped(), "also if it is the only one");
    assert!(subject.unregister(id) && !subject.unregister(id));
    assert!(!subject.notify(&1).stopped());
    let guard = registry.guard(registry.options().priority(5).register_interceptor(above(0)));
    assert!(subject.notify(&1).stopped());
    drop(guard);
    assert!(!subject.notify(&1).stopped() && registry.is_empty());
}

fn one_that_panics_stops_the_dispatch<S: Subject>() {
    let subject = S::fresh();
    subject.register(2, |_| {});
    let id = subject.register(0, |_| unreachable!("it was not let through"));
    subject
        .registry()
        .options()
        .priority(1)
        .register_interceptor(|_| panic!("undecided"));
    let delivery = subject.notify(&0);
    // In a concurrent async dispatch, interceptors run first.
    assert!([1, 2].contains(&delivery.called()), "{delivery:?}");
    assert_eq!((delivery.panicked(), delivery.stopped()), (1, true));
    assert!(subject.unregister(id), "it has not run");
}

fn the_first_that_stops_is_the_last_that_runs<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    for limit in [30, 10, 20] {
        let (log, is_above) = (log.clone(), above(limit));
        let priority = i32::try_from(limit).unwrap();
        subject
            .registry()
            .options()
            .priority(priority)
            .register_interceptor(move |event| {
                log.push(limit);
                is_above(event)
            });
    }
    for (event, called) in [(5, 3), (15, 3), (25, 2), (35, 1)] {
        let delivery = subject.notify(&event);
        assert_eq!(
            (delivery.called(), delivery.stopped()),
            (called, event > 10)
        );
        assert_eq!(log.take(), [30, 20, 10][..called]);
    }
}

fn it_stops_its_own_dispatch_only<S: Subject>() {
    within("a nested dispatch", || {
        let (subject, log) = (S::fresh(), Log::new());
        let (nested, outcomes) = (subject.clone(), log.clone());
        subject.register(1, move |event| {
            if *event < 20 {
                outcomes.push(nested.notify(&20).stopped());
            }
        });
        subject.registry().options().register_interceptor(above(10));
        assert!(!subject.notify(&5).stopped());
        assert_eq!(log.take(), [true]);
    });
}

fn a_batch_may_bring_one<S: Subject>() {
    let subject = S::fresh();
    subject.register(0, |_| {});
    let id = subject
        .registry()
        .update(|batch| batch.options().priority(1).register_interceptor(above(0)));
    let delivery = subject.notify(&1);
    assert_eq!((delivery.called(), delivery.stopped()), (1, true));
    subject.registry().update(|batch| batch.unregister(id));
    assert_eq!(subject.notify(&1).called(), 1);
    assert!(!subject.notify(&1).stopped());
}

/// In lists of one chunk and of several, at the front, inside and at the end.
fn it_is_one_of_many<S: Subject>() {
    for (others, priority, before) in [(30, 1, 0), (30, -1, 30), (200, 1, 0), (200, -1, 200)] {
        let subject = S::fresh();
        let ids: Vec<_> = (0..others).map(|_| subject.register(0, |_| {})).collect();
        let stop = subject.registry().options().priority(priority).register_interceptor(above(0));
        let delivery = subject.notify(&1);
        assert!(delivery.stopped());
        assert!(delivery.called() == before + 1 || delivery.called() == 1);
        assert_eq!(subject.notify(&0).called(), others + 1);
        for id in ids {
            assert!(subject.unregister(id));
        }
        assert!(subject.notify(&1).stopped());
        assert!(subject.unregister(stop));
    }
}

#[test]
fn deliveries_add_up() {
    let registry = topic_registry::SyncRegistry::<u32>::new();
    registry.register_with_priority(1, |event| assert_ne!(*event, 2));
    registry.options().register_interceptor(above(0));
    registry.register(|_| {});
    let mut sum = topic_registry::Delivery::default();
    for event in [1, 2, 0] {
        sum += registry.notify(&event);
    }
    assert_eq!((sum.called(), sum.panicked(), sum.stopped()), (7, 1, true));
}

#[test]
fn it_is_registered_by_key() {
    let topics = TopicRegistry::<String, u32>::new();
    let id = topics.handle("a").options().priority(1).register_interceptor(above(0));
    topics.register("a", |_| {});
    assert!(topics.notify("a", &1).stopped());
    assert!(topics.notify_with("a", || 1_u32).stopped());
    assert!(topics.unregister("a", id));
    assert!(!topics.notify("a", &1).stopped());
}

#[cfg(feature = "async")]
mod asynchronous {
    use topic_registry::AsyncRegistry;

    use super::*;
    use crate::support::now;

    /// Whatever their priority: nobody else shall have started.
    #[test]
    fn in_a_concurrent_dispatch_they_run_before_the_others_start() {
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        let started = log.clone();
        registry.register_with_priority(100, move |_| {
            started.push("other");
            std::future::ready(())
        });
        let (asked, is_above) = (log.clone(), above(10));
        registry.options().priority(-100).register_interceptor(move |event| {
            asked.push("interceptor");
            is_above(event)
        });
        let delivery = now(registry.notify(&11));
        assert_eq!((delivery.called(), delivery.stopped()), (1, true));
        assert_eq!(log.take(), ["interceptor"]);
        assert_eq!(now(registry.notify(&1)).called(), 2);
        assert_eq!(log.take(), ["interceptor", "other"]);
        // One by one, they keep to their places.
        let delivery = now(registry.notify_sequential(&11));
        assert_eq!((delivery.called(), delivery.stopped()), (2, true));
        assert_eq!(log.take(), ["other", "interceptor"]);
    }

    /// A sequential dispatch that has waited goes on, and is stopped.
    #[tokio::test]
    async fn it_stops_a_dispatch_that_has_waited() {
        let (registry, log) = (AsyncRegistry::<u32>::new(), Log::new());
        registry.register_with_priority(2, |_| tokio::task::yield_now());
        registry.options().priority(1).register_interceptor(above(10));
        let late = log.clone();
        registry.register(move |_| {
            late.push("late");
            std::future::ready(())
        });
        let delivery = registry.notify_sequential(&11).await;
        assert_eq!((delivery.called(), delivery.stopped()), (2, true));
        assert_eq!(log.take().len(), 0);
        assert_eq!(registry.notify_sequential(&1).await.called(), 3);
        assert_eq!(log.take(), ["late"]);
    }
}
