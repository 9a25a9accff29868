//! Handlers for a single call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::support::{Log, OnDrop, Subject, for_each_subject, log_of_panics};

for_each_subject! {
    it_runs_once_and_is_removed_before_it_runs
    two_dispatches_make_one_call
    a_nested_dispatch_does_not_call_it_again
    removed_first_it_never_runs
    its_panic_is_reported_and_it_does_not_come_back
    what_it_owns_is_dropped_after_the_call
}

fn it_runs_once_and_is_removed_before_it_runs<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (during, registry) = (log.clone(), subject.registry());
    subject.once(move |event| during.push((*event, registry.handler_count())));
    assert_eq!(subject.notify(&1).called(), 1);
    assert_eq!(subject.notify(&2).called(), 0);
    assert_eq!(log.take(), [(1, 0)]);
}

fn two_dispatches_make_one_call<S: Subject>() {
    // An interpreter that looks at each step takes its time, and chooses schedules at random.
    let rounds = if cfg!(miri) { 4 } else { 200 };
    for _ in 0..rounds {
        let (subject, calls) = (S::fresh(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&calls);
        let id = subject.once(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let start = Barrier::new(3);
        let (called, removed) = thread::scope(|scope| {
            let notify = || {
                start.wait();
                subject.notify(&0).called()
            };
            let (one, two) = (scope.spawn(notify), scope.spawn(notify));
            start.wait();
            let removed = usize::from(subject.unregister(id));
            (one.join().unwrap() + two.join().unwrap(), removed)
        });
        assert_eq!(
            called,
            calls.load(Ordering::Relaxed),
            "what was called was counted"
        );
        assert_eq!(called + removed, 1, "called or removed, and by one only");
    }
}

fn a_nested_dispatch_does_not_call_it_again<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (nested, calls) = (subject.clone(), log.clone());
    subject.register(1, move |event| {
        if *event < 3 {
            nested.notify(&(event + 1));
        }
    });
    subject.once(move |event| calls.push(*event));
    assert_eq!(
        subject.notify(&0).called(),
        1,
        "the nested dispatch has taken it"
    );
    assert_eq!(log.take(), [3]);
    subject.clear();
}

fn removed_first_it_never_runs<S: Subject>() {
    let subject = S::fresh();
    let id = subject.once(|_| unreachable!("it was removed"));
    assert!(subject.unregister(id));
    assert_eq!(subject.notify(&0).called(), 0);
    subject.once(|_| unreachable!("it was removed"));
    subject.clear();
    assert_eq!(subject.notify(&0).called(), 0);
}

fn its_panic_is_reported_and_it_does_not_come_back<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.once(|_| panic!("once"));
    let first = subject.notify(&0);
    assert_eq!((first.called(), first.panicked()), (1, 1));
    assert_eq!(subject.notify(&0).called(), 0);
    assert_eq!(reports.take(), ["once"]);
}

fn what_it_owns_is_dropped_after_the_call<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (dropped, called) = (log.clone(), log.clone());
    let owned = OnDrop(move || dropped.push("dropped"));
    subject.once(move |_| {
        let _owned = &owned;
        called.push("called");
    });
    subject.notify(&0);
    assert_eq!(log.take(), ["called", "dropped"]);
}
