//! What describes a handler for people: its name, and the counts of its calls.

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use topic_registry::{Calls, HandlerInfo, Topics};

use crate::support::{Intercepts, KEY, Log, RegistryOf, Subject, TopicsOf, for_each_subject};

for_each_subject! {
    a_handler_is_listed_with_its_name
    two_handlers_of_one_name_are_two
    an_empty_name_is_no_name
    a_panic_is_reported_with_the_name
    a_slow_call_is_reported_with_the_name
    each_call_is_counted_and_timed
    a_call_that_panics_is_counted_before_it_is_reported
    what_is_not_called_is_not_counted
    every_kind_of_handler_is_counted
    counts_of_a_removed_handler_go_with_it
    without_the_option_nothing_is_counted
}

/// A subject all of whose calls are counted.
fn counting<S: Subject>() -> (S, TopicsOf<S>) {
    let topics = Topics::builder().count_calls().build();
    (S::of(topics.clone()), topics)
}

/// Registers a handler with a name.
fn register_named<S: Subject>(registry: &RegistryOf<S>, name: &str) {
    registry.options().name(name).register_interceptor(|event| match event {
        0 => Continue(()),
        _ => panic!("{event}"),
    });
}

fn names(handlers: &[HandlerInfo]) -> Vec<Option<&str>> {
    handlers.iter().map(|info| info.name.as_deref()).collect()
}

fn counts<S: Subject>(subject: &S) -> Vec<u64> {
    let handlers = subject.registry().handlers();
    let calls = handlers.iter().map(|info| info.calls.expect("they are counted").count);
    calls.collect()
}

fn a_handler_is_listed_with_its_name<S: Subject>() {
    let subject = S::fresh();
    let registry = subject.registry();
    subject.register(0, |_| {});
    register_named::<S>(&registry, "plain");
    let _joinable = registry
        .options()
        .name("joinable")
        .joinable()
        .register_interceptor(|_| Continue(()));
    let _guard = registry.options().guard().name("guard").register_interceptor(|_| Continue(()));
    registry.update(|batch| {
        batch.options().name("batch").register_interceptor(|_| Continue(()));
    });
    let listed = registry.handlers();
    let expected = [
        None,
        Some("plain"),
        Some("joinable"),
        Some("guard"),
        Some("batch"),
    ];
    assert_eq!(names(&listed), expected);
    assert_eq!(subject.notify(&0).called(), 5);
}

fn two_handlers_of_one_name_are_two<S: Subject>() {
    let subject = S::fresh();
    let (registry, name) = (subject.registry(), Arc::<str>::from("twin"));
    for _ in 0..2 {
        registry
            .options()
            .name(Arc::clone(&name))
            .register_interceptor(|_| Continue(()));
    }
    let listed = registry.handlers();
    assert_eq!(names(&listed), [Some("twin"); 2]);
    assert_ne!(listed[0].id, listed[1].id);
    assert!(subject.unregister(listed[0].id));
    assert_eq!(subject.notify(&0).called(), 1);
    subject.clear();
    drop(listed);
    assert_eq!(Arc::strong_count(&name), 1, "a name goes with its handler");
}

fn an_empty_name_is_no_name<S: Subject>() {
    let subject = S::fresh();
    register_named::<S>(&subject.registry(), "");
    let registry = subject.registry();
    let options = registry.options().name("first").name("");
    let shown = format!("{options:?}");
    assert!(shown.contains("name: None"), "{shown}");
    options.register_interceptor(|_| Continue(()));
    assert_eq!(names(&subject.registry().handlers()), [None, None]);
}

fn a_panic_is_reported_with_the_name<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let reports = log.clone();
    subject.on_panic(move |info| {
        // A report that panics is caught: then the name is missing below.
        assert!(format!("{info:?}").contains(&format!("name: {:?}", info.name())));
        reports.push(info.name().map(ToOwned::to_owned));
    });
    register_named::<S>(&subject.registry(), "guardian");
    assert_eq!(subject.notify(&1).panicked(), 1);
    subject.clear();
    subject.register(0, |_| panic!("it has no name"));
    assert_eq!(subject.notify(&1).panicked(), 1);
    // The handler inside of a joinable one is the one that panics.
    subject.clear();
    let registry = subject.registry();
    let joinable = registry.options().name("inside").joinable();
    let joinable = joinable.register_interceptor(|_| panic!("it is joinable"));
    assert_eq!(subject.notify(&1).panicked(), 1);
    drop(joinable);
    assert_eq!(
        log.take(),
        [Some("guardian".into()), None, Some("inside".into())]
    );
}

fn a_slow_call_is_reported_with_the_name<S: Subject>() {
    let log = Log::new();
    let calls = log.clone();
    let slow = move |_: &String, info: &HandlerInfo, _| {
        let calls = info.calls.expect("they are counted, before this");
        calls_are_consistent(&calls);
        log.push((info.name.clone(), calls.count));
    };
    let topics: TopicsOf<S> = Topics::builder().on_slow(Duration::ZERO, slow).count_calls().build();
    let subject = S::of(topics);
    register_named::<S>(&subject.registry(), "guardian");
    subject.notify(&0);
    subject.notify(&1);
    assert_eq!(
        calls.take(),
        [(Some("guardian".into()), 1), (Some("guardian".into()), 2)]
    );
}

fn calls_are_consistent(calls: &Calls) {
    assert!(calls.longest <= calls.total, "{calls:?}");
    assert!(
        calls.total <= calls.longest * u32::try_from(calls.count).unwrap(),
        "{calls:?}"
    );
}

fn each_call_is_counted_and_timed<S: Subject>() {
    const NAP: Duration = Duration::from_millis(2);
    let (subject, topics) = counting::<S>();
    subject.register(0, |event| match event {
        2 => thread::sleep(NAP),
        3 => panic!("it counts, too"),
        _ => {}
    });
    subject.register(-1, |_| {});
    assert_eq!(counts(&subject), [0, 0]);
    for event in 0..4 {
        subject.notify(&event);
    }
    assert_eq!(counts(&subject), [4, 4]);
    let handlers = topics.handle(KEY).handlers();
    let calls = handlers[0].calls.expect("they are counted");
    calls_are_consistent(&calls);
    assert!(calls.longest >= NAP, "{calls:?}");
}

fn a_call_that_panics_is_counted_before_it_is_reported<S: Subject>() {
    let log = Log::new();
    let (slow, panics) = (log.clone(), log.clone());
    let report = move |_: &String, _: &HandlerInfo, _| slow.push("a slow call".to_owned());
    let topics: TopicsOf<S> =
        Topics::builder().on_slow(Duration::ZERO, report).count_calls().build();
    let subject = S::of(topics.clone());
    let weak = topics.downgrade();
    subject.on_panic(move |_| {
        let topics = weak.upgrade().expect("they are there");
        let calls = topics.handle(KEY).handlers()[0].calls.expect("they are counted");
        panics.push(format!("a panic in call {}", calls.count));
    });
    subject.register(0, |_| panic!("a call"));
    for event in 0..2 {
        subject.notify(&event);
    }
    let expected = [
        "a slow call",
        "a panic in call 1",
        "a slow call",
        "a panic in call 2",
    ];
    assert_eq!(log.take(), expected);
}

/// Beside calls, what is read cannot be from before them in one number and after them in another.
#[test]
fn counts_that_are_read_beside_calls_fit_together() {
    let (subject, topics) = counting::<crate::subjects::ByKey>();
    let own = subject.clone();
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&is_over);
    let thread = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            own.notify(&0);
        }
    });
    let topic = topics.handle(KEY);
    for _ in 0..if cfg!(miri) { 20 } else { 2_000 } {
        topic.clear();
        topic.register(|_| {});
        for _ in 0..4 {
            let Some(info) = topic.handlers().pop() else {
                continue;
            };
            let calls = info.calls.expect("they are counted");
            assert!(calls.longest <= calls.total, "{calls:?}");
            assert!(
                calls.count > 0 || calls.total == Duration::ZERO,
                "{calls:?}"
            );
        }
    }
    is_over.store(true, Ordering::Relaxed);
    thread.join().expect("it does not panic");
}

fn what_is_not_called_is_not_counted<S: Subject>() {
    let (subject, _topics) = counting::<S>();
    let registry = subject.registry();
    let veto = registry.options().priority(1).register_interceptor(|event| match event {
        0 => Break(()),
        _ => Continue(()),
    });
    let paused = subject.register(0, |_| {});
    subject.notify(&0);
    assert_eq!(counts(&subject), [1, 0], "the dispatch was stopped");
    let pause = registry.pause(paused);
    subject.notify(&1);
    assert_eq!(counts(&subject), [2, 0], "it is paused");
    drop(pause);
    subject.notify(&1);
    assert_eq!(counts(&subject), [3, 1]);
    assert!(subject.unregister(veto));
    subject.notify(&0);
    assert_eq!(counts(&subject), [2]);
}

fn every_kind_of_handler_is_counted<S: Subject>() {
    let (subject, _topics) = counting::<S>();
    let registry = subject.registry();
    let _guard = subject.guard(|_| {});
    let _joinable = registry.options().joinable().register_interceptor(|_| Continue(()));
    registry.options().register_interceptor(|_| Continue(()));
    subject.until(|event| if *event == 2 { Break(()) } else { Continue(()) });
    registry.update(|batch| {
        batch.options().register_interceptor(|_| Continue(()));
    });
    let (log, same) = (Log::new(), subject.clone());
    let seen = log.clone();
    let once = subject.once(move |_| {
        seen.push(same.registry().handlers().len());
    });
    assert!(registry.contains(once));
    assert_eq!(subject.notify(&0).called(), 6);
    assert_eq!(log.take(), [5], "it was removed, and called");
    assert_eq!(counts(&subject), [1; 5]);
    subject.notify(&1);
    assert_eq!(counts(&subject), [2; 5]);
    subject.notify(&2);
    assert_eq!(counts(&subject), [3; 4]);
}

fn counts_of_a_removed_handler_go_with_it<S: Subject>() {
    let (subject, _topics) = counting::<S>();
    let id = subject.register(0, |_| {});
    subject.notify(&0);
    assert!(subject.unregister(id));
    subject.register(0, |_| {});
    assert_eq!(counts(&subject), [0]);
}

fn without_the_option_nothing_is_counted<S: Subject>() {
    let subject = S::fresh();
    subject.register(0, |_| {});
    register_named::<S>(&subject.registry(), "it has a name");
    subject.notify(&0);
    assert!(subject.registry().handlers().iter().all(|info| info.calls.is_none()));
}

/// In the closure, in the first poll, and in a later one.
#[cfg(feature = "async")]
#[tokio::test]
async fn an_async_call_that_panics_is_counted_before_it_is_reported() {
    let topics = topic_registry::AsyncTopicRegistry::<String, u32>::builder()
        .count_calls()
        .build();
    let (topic, log) = (topics.handle(KEY), Log::new());
    let (weak, reports) = (topic.downgrade(), log.clone());
    topic.on_panic(move |_| {
        let calls = weak.upgrade().expect("it is there").handlers()[0].calls;
        reports.push(calls.expect("they are counted").count);
    });
    topic.register(|event| {
        let event = *event;
        assert_ne!(event, 1, "in the closure");
        async move {
            assert_ne!(event, 2, "in the first poll");
            tokio::task::yield_now().await;
            panic!("in the second poll");
        }
    });
    for event in 1..4 {
        assert_eq!(topic.notify(&event).await.panicked(), 1);
    }
    assert_eq!(log.take(), [1, 2, 3]);
}

/// However often its future is polled.
#[cfg(feature = "async")]
#[tokio::test]
async fn an_async_call_is_counted_once_and_all_of_its_polls_are_timed() {
    const NAP: Duration = Duration::from_millis(2);
    let topics = topic_registry::AsyncTopicRegistry::<String, u32>::builder()
        .count_calls()
        .build();
    let topic = topics.handle(KEY);
    let yields = || async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
            thread::sleep(NAP);
        }
    };
    topic.register(move |_| yields());
    let _joinable = topic.options().joinable().register(move |_| yields());
    for round in 1..3 {
        assert_eq!(topic.notify(&0).await.called(), 2);
        assert_eq!(topic.notify_sequential(&0).await.called(), 2);
        for info in topic.handlers() {
            let calls = info.calls.expect("they are counted");
            assert_eq!(calls.count, 2 * round, "{info:?}");
            let rounds = u32::try_from(round).unwrap();
            assert!(calls.total >= NAP * 3 * 2 * rounds, "{info:?}");
            assert!(
                calls.longest >= NAP && calls.longest < calls.total,
                "{info:?}"
            );
        }
    }
}
