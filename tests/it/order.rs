//! The order of calls (G7).

use std::thread;

use crate::support::{Log, Subject, for_each_subject};

for_each_subject! {
    higher_priorities_run_first_and_ties_in_order_of_registration
    the_order_holds_for_concurrent_registrations
}

fn higher_priorities_run_first_and_ties_in_order_of_registration<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let priorities = [0, i32::MIN, 7, i32::MAX, 0, -1, 7, i32::MIN, i32::MAX];
    for (at, priority) in priorities.into_iter().enumerate() {
        let log = log.clone();
        subject.register(priority, move |_| log.push((priority, at)));
    }
    subject.notify(&0);
    let mut expected: Vec<(i32, usize)> = priorities.into_iter().zip(0..).collect();
    expected.sort_by_key(|(priority, at)| (std::cmp::Reverse(*priority), *at));
    assert_eq!(log.take(), expected);
}

fn the_order_holds_for_concurrent_registrations<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    thread::scope(|scope| {
        for thread in 0..4 {
            let (subject, log) = (&subject, &log);
            scope.spawn(move || {
                for n in 0..100 {
                    let (log, priority) = (log.clone(), (n * 31 + thread) % 5 - 2);
                    subject.register(priority, move |_| log.push((priority, thread, n)));
                }
            });
        }
    });
    assert_eq!(subject.notify(&0).called(), 400);
    let calls = log.take();
    assert!(calls.is_sorted_by_key(|(priority, ..)| std::cmp::Reverse(*priority)));
    for of in 0..4 {
        for at in -2..=2 {
            let same = calls.iter().filter(|(p, t, _)| (*p, *t) == (at, of));
            assert!(
                same.is_sorted_by_key(|(.., n)| *n),
                "ties of one thread in its order"
            );
        }
    }
}
