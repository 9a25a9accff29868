//! Nothing of the user's unwinds out of the library (G1).

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::time::Duration;

use topic_registry::{PanicOrigin, SyncRegistry, TopicRegistry};

use crate::support::{
    Bomb, EndlessBomb, KEY, Listens, Log, Subject, TopicsOf, for_each_subject, gate, log_of_panics,
    owning, within,
};

for_each_subject! {
    siblings_of_a_handler_that_panics_run
    each_panic_of_a_long_list_is_counted
    a_payload_whose_drop_panics_is_contained
    a_payload_whose_drop_throws_its_like_is_contained
    closures_whose_drop_panics_are_contained_wherever_they_are_removed
    closures_that_wait_and_record_and_whose_drop_panics_are_contained
    two_bombs_in_one_list_do_not_abort
    a_bomb_goes_off_at_the_end_of_a_dispatch_on_another_thread
    a_guard_of_a_bomb_is_dropped_while_the_thread_unwinds
    a_callback_that_panics_is_contained
    each_panic_that_is_caught_is_counted_once
    a_replaced_callback_whose_drop_panics_is_contained
    a_callback_that_replaces_itself_and_whose_drop_panics_is_contained
    a_notify_from_a_destructor_while_the_thread_unwinds
    bombs_in_a_registry_that_is_dropped
}

fn siblings_of_a_handler_that_panics_run<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    for name in ["first", "second", "third"] {
        let log = log.clone();
        subject.register(0, move |_| {
            log.push(name);
            assert_ne!(name, "second", "it panics");
        });
    }
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (3, 1));
    assert_eq!(log.take(), ["first", "second", "third"]);
}

/// Of several chunks, in the first, the last, and in between.
fn each_panic_of_a_long_list_is_counted<S: Subject>() {
    let subject = S::fresh();
    for n in 0..200 {
        subject.register(0, move |_| assert_ne!(n % 50, 0, "it panics"));
    }
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (200, 4));
}

fn a_payload_whose_drop_panics_is_contained<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, |_| panic_any(Bomb("payload")));
    subject.register(0, |_| {});
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (2, 1));
    assert_eq!(
        reports.take(),
        ["?", "payload"],
        "the call, then the destructor"
    );
    assert_eq!(subject.panic_count(), 2);
}

fn a_payload_whose_drop_throws_its_like_is_contained<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, |_| panic_any(EndlessBomb));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(reports.take().len(), 2);
}

fn closures_whose_drop_panics_are_contained_wherever_they_are_removed<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let id = subject.register(0, owning(Bomb("unregister")));
    assert!(subject.unregister(id));
    assert_eq!(reports.take(), ["unregister"]);

    drop(subject.guard(owning(Bomb("guard"))));
    assert_eq!(reports.take(), ["guard"]);

    subject.register(0, owning(Bomb("clear")));
    subject.clear();
    assert_eq!(reports.take(), ["clear"]);

    let bomb = Bomb("once");
    subject.once(move |_| drop(bomb));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(reports.take(), ["once"]);

    let bomb = Bomb("never ran");
    let id = subject.once(move |_| drop(bomb));
    assert!(subject.unregister(id));
    assert_eq!(reports.take(), ["never ran"]);
    assert_eq!(subject.panic_count(), 5);
}

/// Reported as a destructor of the handler's.
fn closures_that_wait_and_record_and_whose_drop_panics_are_contained<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let reports = log.clone();
    subject.on_panic(move |info| {
        let message = info.message().unwrap().to_owned();
        reports.push((info.handler_id().unwrap(), info.origin(), message));
    });
    let registry = subject.registry();
    let told = |id, message: &str| [(id, PanicOrigin::Destructor, message.to_owned())];
    let waits = |bomb| {
        let bomb = Bomb(bomb);
        registry.wait_for(move |_| {
            let _ = &bomb;
            Some(())
        })
    };
    let waiting = waits("found");
    assert_eq!(subject.notify(&0).panicked(), 0);
    assert_eq!(log.take(), told(waiting.id(), "found"));
    assert_eq!(waiting.wait(), Ok(()));
    let waiting = waits("dropped");
    let id = waiting.id();
    drop(waiting);
    assert_eq!(log.take(), told(id, "dropped"));
    let waiting = waits("removed");
    subject.clear();
    assert_eq!(log.take(), told(waiting.id(), "removed"));

    let bomb = Bomb("recorder");
    let recorder = registry.record(move |_| _ = &bomb);
    let id = recorder.id();
    subject.notify(&0);
    drop(recorder);
    assert_eq!(log.take(), told(id, "recorder"));
    assert_eq!(subject.panic_count(), 4);
}

fn two_bombs_in_one_list_do_not_abort<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, owning((Bomb("a"), "whose closure holds one only")));
    subject.register(0, owning(Bomb("b")));
    subject.clear();
    assert_eq!(reports.take(), ["a", "b"]);
    assert_eq!(subject.panic_count(), 2);
}

fn a_bomb_goes_off_at_the_end_of_a_dispatch_on_another_thread<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let (enter, entered) = gate("the handler to be entered");
    let (leave, left) = gate("the removal");
    subject.register(0, move |_| {
        enter();
        left();
    });
    let bomb = subject.register(0, owning(Bomb("last owner")));
    let dispatch = std::thread::spawn({
        let subject = subject.clone();
        move || subject.notify(&0)
    });
    entered();
    assert!(subject.unregister(bomb));
    assert_eq!(reports.take().len(), 0, "the dispatch still owns it");
    leave();
    let delivery = dispatch.join().expect("the bomb is contained");
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert_eq!(reports.take(), ["last owner"]);
}

fn a_guard_of_a_bomb_is_dropped_while_the_thread_unwinds<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let guards = [
        subject.guard(owning(Bomb("one"))),
        subject.guard(owning(Bomb("two"))),
    ];
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _guards = guards;
        panic!("the user's own");
    }));
    assert!(unwound.is_err());
    assert_eq!(reports.take(), ["one", "two"]);
    assert!(subject.registry().is_empty());
}

fn a_callback_that_panics_is_contained<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    subject.on_panic(|_| panic!("callback"));
    subject.register(0, |_| panic!("handler"));
    let sibling = log.clone();
    subject.register(0, move |_| sibling.push("ran"));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(log.take(), ["ran"]);
    assert_eq!(subject.panic_count(), 2, "the handler's and the callback's");
    subject.on_panic(|_| panic_any(EndlessBomb));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(
        subject.panic_count(),
        5,
        "also that of what the callback threw"
    );
}

/// Also those of what is thrown, wherever it is caught.
fn each_panic_that_is_caught_is_counted_once<S: Subject>() {
    let builder = TopicsOf::<S>::builder();
    let topics = builder.on_slow(Duration::ZERO, |_, _, _| panic_any(Bomb("slow"))).build();
    let subject = S::of(topics.clone());
    let mut expected = 0;
    let mut panics = |more: u64| {
        expected += more;
        assert_eq!(topics.panic_count(), expected);
    };
    let kept = topics.handle(KEY);

    topics.on_panic(|_, _| panic_any(Bomb("thrown by a callback")));
    subject.register(0, |_| panic_any(Bomb("thrown by a handler")));
    subject.notify(&0);
    // By the call and its payload, each of which the callback hears of; and by `on_slow`.
    panics(2 + 2 * 2 + 2);
    subject.clear();
    topics.clear_panic_callback();

    let observers = [
        topics.observe_interest(|_, _| panic_any(Bomb("interest"))),
        topics.observe_handler_limit(1, |_, _| panic_any(Bomb("limit"))),
    ];
    subject.register(0, |_| {});
    panics(2);
    subject.register(0, |_| {});
    panics(2);
    drop(observers);
    subject.clear();

    // On a topic that is gone before its value is.
    drop(kept);
    let waiting = subject.registry().wait_for(|_| Some(Bomb("a value")));
    subject.notify(&0);
    panics(2);
    drop(waiting);
    panics(1);
}

fn a_replaced_callback_whose_drop_panics_is_contained<S: Subject>() {
    let subject = S::fresh();
    let bomb = Bomb("replaced");
    subject.on_panic(move |_| {
        let _ = &bomb;
    });
    log_of_panics(&subject);
    assert_eq!(subject.panic_count(), 1);
    let bomb = Bomb("forgotten");
    subject.on_panic(move |_| {
        let _ = &bomb;
    });
    subject.forget_callback();
    assert_eq!(subject.panic_count(), 2);
}

fn a_callback_that_replaces_itself_and_whose_drop_panics_is_contained<S: Subject>() {
    let subject = S::fresh();
    let (same, bomb) = (subject.clone(), Bomb("last owner is the report that runs"));
    subject.on_panic(move |_| {
        let _ = &bomb;
        same.forget_callback();
    });
    subject.register(0, |_| panic!("handler"));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(subject.panic_count(), 2);
}

fn a_notify_from_a_destructor_while_the_thread_unwinds<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    subject.register(0, |_| panic!("handler"));
    let calls = log.clone();
    subject.register(0, move |event| calls.push(*event));
    let notifies = subject.clone();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _last_words = crate::support::OnDrop(move || {
            notifies.notify(&7);
        });
        panic!("the user's own");
    }));
    assert!(unwound.is_err());
    assert_eq!((log.take(), subject.panic_count()), (vec![7], 1));
}

fn bombs_in_a_registry_that_is_dropped<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let bomb = Bomb("callback");
    subject.register(0, owning(Bomb("a")));
    subject.register(0, owning(Bomb("b")));
    subject.registry().on_panic({
        let reports = reports.clone();
        move |info| {
            let _ = &bomb;
            reports.push(info.message().unwrap().to_owned());
        }
    });
    reports.take();
    within("a registry full of bombs to be dropped", move || {
        drop(subject);
    });
    let mut told = reports.take();
    told.dedup();
    assert_eq!(told, ["a", "b"]);
}

#[test]
fn the_destructor_of_a_replaced_callback_is_told_to_its_successor() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let bomb = Bomb("old callback");
    registry.on_panic(move |_| {
        let _ = &bomb;
    });
    let reports = log.clone();
    let line = line!() + 1;
    registry.on_panic(move |info| {
        reports.push((
            info.message().unwrap().to_owned(),
            (info.handler_id(), info.origin()),
            info.registered_at().line(),
        ));
    });
    let what = (None, PanicOrigin::Callback);
    assert_eq!(log.take(), [("old callback".to_owned(), what, line)]);
}

#[test]
fn callbacks_whose_drop_panics_are_contained_when_they_go_with_the_topics() {
    type Set = fn(&TopicRegistry<u32, u32>, Bomb);
    let sets: [Set; 3] = [
        |topics, bomb| topics.on_panic(move |_, _| _ = &bomb),
        |topics, bomb| topics.observe_interest(move |_, _| _ = &bomb).forget(),
        |topics, bomb| topics.observe_handler_limit(1, move |_, _| _ = &bomb).forget(),
    ];
    for set in sets {
        let topics = TopicRegistry::new();
        set(&topics, Bomb("goes with the topics"));
        let handle = topics.handle(1_u32);
        drop(topics);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(handle))).is_ok());
    }
}
