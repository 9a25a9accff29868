//! What is told of a panic, and to whom (G2, and the reports of G1).

use std::panic::panic_any;

use topic_registry::{PanicOrigin, SyncRegistry, TopicRegistry};

use crate::support::{Bomb, Log, Subject, for_each_subject, log_of_panics, owning};

for_each_subject! {
    a_panic_is_told_with_all_that_is_known
    the_place_of_registration_is_the_caller
    each_panic_is_counted_and_reported_once
    a_callback_is_replaced_and_forgotten
    a_callback_that_notifies_a_panicking_registry_does_not_recurse
}

fn a_panic_is_told_with_all_that_is_known<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let reports = log.clone();
    subject.on_panic(move |info| {
        let number = info.payload().downcast_ref::<u64>().copied();
        let message = info.message().map(str::to_owned);
        let names_the_place = format!("{info:?}").contains("panics.rs");
        let (id, origin) = (info.handler_id().unwrap(), info.origin());
        reports.push((id, message, number, origin, names_the_place));
    });
    let literal = subject.register(0, |_| panic!("literal"));
    let formatted = subject.register(0, |event| panic!("formatted {event}"));
    let number = subject.register(0, |_| panic_any(7u64));
    subject.notify(&5);
    let call = PanicOrigin::Call;
    assert_eq!(
        log.take(),
        [
            (literal, Some("literal".to_owned()), None, call, true),
            (formatted, Some("formatted 5".to_owned()), None, call, true),
            (number, None, Some(7), call, true),
        ]
    );
    let bomb = Bomb("destructor");
    let owner = subject.register(0, owning(bomb));
    subject.unregister(owner);
    let message = Some("destructor".to_owned());
    assert_eq!(
        log.take(),
        [(owner, message, None, PanicOrigin::Destructor, true)]
    );
}

fn the_place_of_registration_is_the_caller<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let reports = log.clone();
    subject.on_panic(move |info| {
        reports.push((info.registered_at().file(), info.registered_at().line()));
    });
    let first_line = line!() + 1;
    subject.register(0, |_| panic!("one"));
    let _guard = subject.guard(|_| panic!("two"));
    subject.once(|_| panic!("three"));
    assert_eq!(subject.notify(&0).panicked(), 3);
    assert_eq!(log.take(), [0, 1, 2].map(|n| (file!(), first_line + n)));
}

fn each_panic_is_counted_and_reported_once<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, |_| panic!("a"));
    subject.register(0, |_| {});
    subject.register(0, |_| panic!("b"));
    for round in 1..=3 {
        let delivery = subject.notify(&0);
        assert_eq!((delivery.called(), delivery.panicked()), (3, 2));
        assert_eq!(reports.take(), ["a", "b"]);
        assert_eq!(subject.panic_count(), 2 * round);
    }
    subject.clear();
}

fn a_callback_is_replaced_and_forgotten<S: Subject>() {
    let subject = S::fresh();
    subject.register(0, |_| panic!("p"));
    let first = log_of_panics(&subject);
    subject.notify(&0);
    let second = log_of_panics(&subject);
    subject.notify(&0);
    subject.forget_callback();
    subject.notify(&0);
    assert_eq!((first.take().len(), second.take().len()), (1, 1));
    assert_eq!(subject.panic_count(), 3);
}

fn a_callback_that_notifies_a_panicking_registry_does_not_recurse<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let other = SyncRegistry::<u32>::new();
    other.register(|_| panic!("elsewhere"));
    other.on_panic(|_| unreachable!("met inside of a callback"));
    let (same, elsewhere, reports) = (subject.clone(), other.clone(), log.clone());
    subject.on_panic(move |info| {
        reports.push(info.message().unwrap_or("?").to_owned());
        same.notify(&0);
        elsewhere.notify(&0);
    });
    subject.register(0, |_| panic!("here"));
    subject.notify(&0);
    assert_eq!(log.take(), ["here"]);
    assert_eq!((subject.panic_count(), other.panic_count()), (2, 1));
    // The next one, met outside, is reported again.
    subject.notify(&0);
    assert_eq!(log.take(), ["here"]);
    subject.forget_callback();
}

#[test]
fn topics_hear_of_panics_with_the_key_whenever_the_topic_was_made() {
    let (topics, log) = (TopicRegistry::<String, u32>::new(), Log::new());
    topics.register("before", |_| panic!("old"));
    let reports = log.clone();
    topics
        .on_panic(move |key, info| reports.push((key.clone(), info.message().unwrap().to_owned())));
    topics.register("after", |_| panic!("new"));
    topics.notify("before", &0);
    topics.notify("after", &0);
    let pair = |key: &str, message: &str| (key.to_owned(), message.to_owned());
    assert_eq!(log.take(), [pair("before", "old"), pair("after", "new")]);
    assert_eq!(topics.panic_count(), 2);
    assert_eq!(topics.handle("after").panic_count(), 1);
}

#[test]
fn a_topic_and_the_topics_are_both_told_the_topic_first() {
    let (topics, log) = (TopicRegistry::<String, u32>::new(), Log::new());
    let handle = topics.handle("a");
    let (mine, all) = (log.clone(), log.clone());
    topics.on_panic(move |_, _| all.push("topics"));
    handle.on_panic(move |_| mine.push("topic"));
    handle.register(|_| panic!("p"));
    handle.notify(&0);
    assert_eq!(log.take(), ["topic", "topics"]);
    assert_eq!((handle.panic_count(), topics.panic_count()), (1, 1));
}

#[test]
fn topics_hear_of_panics_after_they_are_gone() {
    let (topics, log) = (TopicRegistry::<String, u32>::new(), Log::new());
    let reports = log.clone();
    topics.on_panic(move |key, _| reports.push(key.clone()));
    let handle = topics.handle("a");
    handle.register(|_| panic!("p"));
    drop(topics);
    handle.notify(&0);
    assert_eq!(log.take(), ["a"]);
}

#[test]
fn the_count_of_the_topics_keeps_what_topics_that_are_gone_had() {
    let topics = TopicRegistry::<u32, u32>::new();
    for key in 0..10 {
        topics.register_once(key, |_| panic!("p"));
        topics.notify(&key, &0);
    }
    assert_eq!((topics.len(), topics.panic_count()), (0, 10));
}

#[test]
fn what_a_topic_counts_its_topics_count_too() {
    let topics = TopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    handle.on_panic(|_| panic!("callback"));
    handle.register(|_| panic!("handler"));
    handle.notify(&0);
    assert_eq!((handle.panic_count(), topics.panic_count()), (2, 2));
    let bomb = Bomb("a callback that goes with its topic");
    handle.on_panic(move |_| {
        let _ = &bomb;
    });
    handle.clear();
    drop(handle);
    assert_eq!((topics.len(), topics.panic_count()), (0, 3));
}
