//! Who is told that topics gain and lose their handlers, or gather too many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::Interest::{self, Gained, Lost};
use topic_registry::{ObserverGuard, SyncRegistry, TopicRegistry};

use crate::support::{Bomb, Log, gate, within};

type Topics = TopicRegistry<String, u32>;

/// Topics, and the calls of an observer of them.
fn watched() -> (Topics, Log<(String, Interest)>) {
    let (topics, log) = (Topics::new(), Log::new());
    watch(&topics, &log).forget();
    (topics, log)
}

fn watch(topics: &Topics, log: &Log<(String, Interest)>) -> ObserverGuard {
    let told = log.clone();
    topics.observe_interest(move |key, interest| told.push((key.clone(), interest)))
}

fn told(log: &Log<(String, Interest)>) -> Vec<Interest> {
    log.take().into_iter().map(|(_, interest)| interest).collect()
}

#[test]
fn the_first_handler_and_the_last_are_told_of() {
    let (topics, log) = watched();
    let handle = topics.handle("a");
    topics.notify("a", &0);
    assert_eq!(log.take(), [], "a handle is no interest");
    let id = topics.register("a", |_| {});
    let guard = handle.register_guard(|_| {});
    assert_eq!(log.take(), [("a".into(), Gained)]);
    assert!(topics.unregister("a", id));
    assert_eq!(log.take(), [], "one is left");
    drop(guard);
    assert_eq!(log.take(), [("a".into(), Lost)]);
    assert!(!topics.remove("a"));
    topics.clear();
    assert_eq!(log.take(), [], "nothing was left to lose");
}

#[test]
fn every_way_to_come_and_to_go_is_told_of() {
    let (topics, log) = watched();
    topics.register_once("a", |_| {});
    topics.notify("a", &0);
    assert_eq!(told(&log), [Gained, Lost], "once");
    topics.handle("a").options().joinable().register(|_| {}).join().unwrap();
    assert_eq!(told(&log), [Gained, Lost], "joinable");
    topics.register("a", |_| {});
    topics.clear();
    assert_eq!(told(&log), [Gained, Lost], "clear");
    topics.register("a", |_| {});
    assert!(topics.remove("a"));
    assert_eq!(told(&log), [Gained, Lost], "remove");
    topics.update("a", |batch| {
        batch.register(|_| {});
        batch.register(|_| {});
    });
    topics.update("a", |batch| {
        batch.clear();
        batch.register(|_| {});
    });
    topics.update("a", |batch| {
        batch.clear();
        let id = batch.register(|_| {});
        batch.unregister(id);
    });
    assert_eq!(
        told(&log),
        [Gained, Lost],
        "batches are told as they are published"
    );
    let bare = SyncRegistry::clone(&topics.handle("a"));
    let guard = bare.register_guard(|_| {});
    drop(guard);
    assert_eq!(
        told(&log),
        [Gained, Lost],
        "a registry cloned out of a handle"
    );
}

#[test]
fn topics_that_have_handlers_already_are_told_of_first() {
    let (topics, [early, late]) = (Topics::new(), [Log::new(), Log::new()]);
    topics.register("a", |_| {});
    topics.register("a", |_| {});
    let _empty = topics.handle("b");
    let first = watch(&topics, &early);
    assert_eq!(early.take(), [("a".into(), Gained)]);
    let _second = watch(&topics, &late);
    assert_eq!(
        (early.take(), late.take()),
        (vec![], vec![("a".into(), Gained)])
    );
    drop(first);
    topics.remove("a");
    assert_eq!(
        (early.take(), late.take()),
        (vec![], vec![("a".into(), Lost)])
    );
    let _third = watch(&topics, &early);
    assert_eq!(early.take(), [], "nobody listens");
    topics.register("a", |_| {});
    let told = vec![("a".into(), Gained)];
    assert_eq!((early.take(), late.take()), (told.clone(), told));
}

/// One that is slow hears less, and the other one all.
#[test]
fn each_observer_hears_its_own_edges() {
    within("an observer beside a slow one", || {
        let (topics, [slow, quick]) = (Topics::new(), [Log::new(), Log::new()]);
        let (entered, is_entered) = gate("the slow observer");
        let (leave, left) = gate("the churn");
        let (told, first) = (slow.clone(), AtomicBool::new(true));
        let _slow = topics.observe_interest(move |_, interest| {
            told.push(interest);
            if first.swap(false, Ordering::Relaxed) {
                entered();
                left();
            }
        });
        let told = quick.clone();
        let _quick = topics.observe_interest(move |_, interest| told.push(interest));
        let same = topics.clone();
        let held_up = thread::spawn(move || drop(same.register_guard("a", |_| {})));
        is_entered();
        for _ in 0..3 {
            topics.register("a", |_| {});
            topics.clear();
        }
        topics.register("a", |_| {});
        assert_eq!(slow.take(), [Gained]);
        // It does not hear of the first handler, which was removed before the observer was called.
        assert_eq!(quick.take(), [Gained, Lost, Gained, Lost, Gained]);
        leave();
        held_up.join().unwrap();
        topics.clear();
        assert_eq!((slow.take(), quick.take()), (vec![Lost], vec![Lost]));
    });
}

/// The observer's own changes are reported after it has returned.
#[test]
fn an_observer_may_call_everything() {
    within("an observer of interest that registers and removes", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (same, told) = (topics.clone(), log.clone());
        let (depth, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let observer = topics.observe_interest(move |key, interest| {
            assert_eq!(
                depth.fetch_add(1, Ordering::Relaxed),
                0,
                "calls of a key overlap"
            );
            told.push((key.clone(), interest));
            if rounds.fetch_add(1, Ordering::Relaxed) < 5 {
                match interest {
                    Gained => assert!(same.remove(key)),
                    Lost => drop(same.register(key.clone(), |_| {})),
                }
            }
            assert!(same.contains_key(key), "it is there while it is told of");
            depth.fetch_sub(1, Ordering::Relaxed);
        });
        topics.register("a", |_| {});
        let expected = [Gained, Lost].repeat(3).into_iter().map(|interest| ("a".into(), interest));
        assert_eq!(log.take(), expected.collect::<Vec<_>>());
        assert_eq!(topics.panic_count(), 0, "a call failed");
        drop(observer);
        assert!(topics.is_empty());
    });
}

/// The thread that is making a call makes those of others too.
#[test]
fn calls_for_a_key_do_not_overlap_and_other_keys_do_not_wait() {
    within("interest from two threads", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (entered, is_entered) = gate("the observer");
        let (leave, left) = gate("the other thread");
        let (told, first) = (log.clone(), AtomicBool::new(true));
        let _observer = topics.observe_interest(move |key, interest| {
            if first.swap(false, Ordering::Relaxed) {
                entered();
                left();
            }
            told.push((key.clone(), interest, thread::current().id()));
        });
        let same = topics.clone();
        let other = thread::spawn(move || {
            same.register("a", |_| {});
            thread::current().id()
        });
        is_entered();
        assert!(topics.remove("a"), "it is registered while it is told of");
        topics.register("b", |_| {});
        let this = thread::current().id();
        assert_eq!(log.take(), [("b".into(), Gained, this)]);
        leave();
        let other = other.join().unwrap();
        assert_eq!(
            log.take(),
            [("a".into(), Gained, other), ("a".into(), Lost, other)]
        );
    });
}

#[test]
fn nobody_is_told_of_a_handle_that_outlives_the_topics() {
    let (topics, log) = watched();
    let handle = topics.handle("a");
    drop(topics);
    handle.register(|_| {});
    assert_eq!(log.take(), []);
}

#[test]
fn an_observer_that_ends_in_a_call_is_not_told_what_it_was_to_be_told_yet() {
    within("an observer of interest that ends itself", || {
        let (topics, log, own) = (Topics::new(), Log::new(), Arc::new(Mutex::new(None)));
        let (same, told, slot) = (topics.clone(), log.clone(), Arc::clone(&own));
        let guard = topics.observe_interest(move |key, interest| {
            told.push(interest);
            assert!(same.remove(key));
            let guard: Option<ObserverGuard> = slot.lock().unwrap().take();
            drop(guard);
        });
        *own.lock().unwrap() = Some(guard);
        topics.register("a", |_| {});
        assert_eq!(log.take(), [Gained]);
        assert_eq!(topics.panic_count(), 0, "the call failed");
    });
}

/// An edge and its opposite that nobody was told of yet are none.
#[test]
fn what_comes_and_goes_while_the_observer_runs_cancels_out() {
    let stays: fn(&Topics, &str) = |topics, key| {
        assert!(topics.remove(key));
        drop(topics.register_guard(key, |_| {}));
        topics.register(key, |_| {});
    };
    let goes: fn(&Topics, &str) = |topics, key| {
        assert!(topics.remove(key));
        drop(topics.register_guard(key, |_| {}));
    };
    for (churn, expected) in [(stays, vec![Gained]), (goes, vec![Gained, Lost])] {
        within("an observer of interest that churns", move || {
            let (topics, log) = (Topics::new(), Log::new());
            let (same, told, first) = (topics.clone(), log.clone(), AtomicBool::new(true));
            let observer = topics.observe_interest(move |key, interest| {
                told.push(interest);
                if first.swap(false, Ordering::Relaxed) {
                    churn(&same, key);
                }
            });
            topics.register("a", |_| {});
            assert_eq!(log.take(), expected);
            drop(observer);
        });
    }
}

/// Nothing queues for the thread that is making a call.
#[test]
fn a_thread_that_is_inside_of_the_observer_does_not_tell_what_others_make_and_undo() {
    within("a guard that is dropped beside a churn", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (enter, entered) = gate("the observer");
        let (leave, left) = gate("the churn");
        let (told, first) = (log.clone(), AtomicBool::new(true));
        let _observer = topics.observe_interest(move |_, interest| {
            told.push(interest);
            if interest == Lost && first.swap(false, Ordering::Relaxed) {
                enter();
                left();
            }
        });
        let guard = topics.register_guard("a", |_| {});
        let same = topics.clone();
        let churns = thread::spawn(move || {
            entered();
            for _ in 0..20_000 {
                drop(same.register_guard("a", |_| {}));
            }
            leave();
        });
        drop(guard);
        churns.join().unwrap();
        let edges = log.take();
        assert_eq!(edges.len(), 2, "edges that were told of one guard");
        assert_eq!(edges, [Gained, Lost]);
    });
}

#[test]
fn an_observer_that_panics_is_counted_at_once() {
    const CALLS: u64 = 6;
    within(
        "an observer of interest that panics and makes the next edge",
        || {
            let (topics, log) = (Topics::new(), Log::new());
            let (same, counts, calls) = (topics.clone(), log.clone(), AtomicU64::new(0));
            let observer = topics.observe_interest(move |key, interest| {
                counts.push(same.panic_count());
                if calls.fetch_add(1, Ordering::Relaxed) + 1 < CALLS {
                    match interest {
                        Gained => assert!(same.remove(key)),
                        Lost => drop(same.register(key.clone(), |_| {})),
                    }
                }
                std::panic::panic_any(Bomb("thrown by an observer"));
            });
            topics.register("a", |_| {});
            // What it throws panics in turn.
            assert_eq!(
                log.take(),
                (0..CALLS).map(|calls| 2 * calls).collect::<Vec<_>>()
            );
            assert_eq!(topics.panic_count(), 2 * CALLS);
            drop(observer);
        },
    );
}

/// Whatever the race, the edges of a key alternate, and the last one tells what is.
#[test]
fn edges_alternate_under_races() {
    race_for_interest(Duration::from_millis(500));
}

#[test]
#[ignore = "takes 10 seconds"]
fn edges_alternate_under_races_for_long() {
    race_for_interest(Duration::from_secs(10));
}

/// The last call of an observer for each key.
type Last = Arc<Mutex<HashMap<String, Interest>>>;

/// An observer that notes what it hears last, and what does not alternate.
fn watch_last(
    topics: &Topics,
    wrong: &Log<(String, Interest)>,
    edges: &Arc<AtomicUsize>,
) -> Watcher {
    let last = Last::default();
    let (told, errors, count) = (Arc::clone(&last), wrong.clone(), Arc::clone(edges));
    let guard = topics.observe_interest(move |key, interest| {
        count.fetch_add(1, Ordering::Relaxed);
        let before = told.lock().unwrap().insert(key.clone(), interest);
        if before.unwrap_or(Lost) == interest {
            errors.push((key.clone(), interest));
        }
    });
    (guard, last)
}

type Watcher = (ObserverGuard, Last);

fn race_for_interest(time: Duration) {
    const KEYS: [&str; 3] = ["a", "b", "c"];
    let (topics, wrong, edges) = (Topics::new(), Log::new(), Arc::default());
    let watch = || watch_last(&topics, &wrong, &edges);
    let (first, start) = (watch(), Instant::now());
    let is_over = || start.elapsed() >= time;
    let mut watchers = vec![first];
    thread::scope(|scope| {
        // Observers come and go meanwhile; one stays.
        let late = scope.spawn(|| {
            while !is_over() {
                drop(watch());
            }
            watch()
        });
        for of in 0..4 {
            let (topics, is_over) = (&topics, &is_over);
            scope.spawn(move || {
                for n in (of..).take_while(|_| !is_over()) {
                    come_and_go(topics, KEYS[n % KEYS.len()], n);
                }
            });
        }
        watchers.push(late.join().unwrap());
    });
    for key in KEYS {
        topics.notify(key, &0);
        for (_, last) in &watchers {
            let is_there = last.lock().unwrap().get(key) == Some(&Gained);
            assert_eq!(is_there, topics.contains_key(key), "{key}");
        }
    }
    assert_eq!(wrong.take(), []);
    println!("{} edges", edges.load(Ordering::Relaxed));
}

fn come_and_go(topics: &Topics, key: &str, way: usize) {
    match way % 4 {
        0 => drop(topics.register_guard(key, |_| {})),
        1 => {
            let handle = topics.handle(key);
            handle.unregister(handle.register(|_| {}));
        }
        2 => {
            topics.register_once(key, |_| {});
            topics.notify(key, &0);
        }
        _ => {
            topics.register(key, |_| {});
            topics.remove(key);
        }
    }
}

/// An observer that is set while handlers come and go misses none that stays.
#[test]
fn an_observer_that_is_set_beside_a_registration_is_told_of_it() {
    for _ in 0..500 {
        let (topics, log, both) = (Topics::new(), Log::new(), Arc::new(Barrier::new(2)));
        let (same, other) = (topics.clone(), Arc::clone(&both));
        let registers = thread::spawn(move || {
            other.wait();
            same.register("a", |_| {});
        });
        both.wait();
        let _observer = watch(&topics, &log);
        registers.join().unwrap();
        assert_eq!(told(&log), [Gained]);
    }
}

#[test]
fn a_topic_that_is_crowded_is_told_of_at_each_multiple() {
    let (topics, log) = (Topics::new(), Log::new());
    let told = log.clone();
    let observer =
        topics.observe_handler_limit(10, move |key, handlers| told.push((key.clone(), handlers)));
    let register_at_once = |count| {
        topics.update("a", |batch| {
            for _ in 0..count {
                batch.register(|_| {});
            }
        });
    };
    let ids: Vec<_> = (0..25).map(|_| topics.register("a", |_| {})).collect();
    topics.register("b", |_| {});
    assert_eq!(log.take(), [("a".into(), 11), ("a".into(), 21)]);
    for id in &ids[..10] {
        topics.unregister("a", *id);
    }
    assert_eq!(log.take(), [], "it shrinks");
    register_at_once(30);
    assert_eq!(log.take(), [("a".into(), 45)], "once a batch");
    drop(observer);
    register_at_once(30);
    assert_eq!(log.take(), []);
}

#[test]
fn an_observer_of_crowds_may_call_everything_and_panic() {
    within("an observer of crowds that removes", || {
        let topics = Topics::new();
        let same = topics.clone();
        let observer = topics.observe_handler_limit(1, move |key, _| {
            same.remove(key);
            panic!("too many");
        });
        topics.register("a", |_| {});
        topics.register("a", |_| {});
        assert_eq!((topics.len(), topics.panic_count()), (0, 1));
        drop(observer);
    });
}

/// Also when the one with the lowest limit has ended.
#[test]
fn each_observer_of_crowds_has_its_own_limit() {
    let (topics, log) = (Topics::new(), Log::new());
    let watch = |limit| {
        let told = log.clone();
        topics.observe_handler_limit(limit, move |_, handlers| told.push((limit, handlers)))
    };
    let [_highest, lowest, _middle] = [10, 2, 4].map(watch);
    let crowd = || {
        for _ in 0..12 {
            topics.register("a", |_| {});
        }
        topics.remove("a");
        log.take()
    };
    let told = [
        (2, 3),
        (2, 5),
        (4, 5),
        (2, 7),
        (2, 9),
        (4, 9),
        (10, 11),
        (2, 11),
    ];
    assert_eq!(crowd(), told);
    drop(lowest);
    assert_eq!(crowd(), [(4, 5), (4, 9), (10, 11)]);
}

#[test]
#[should_panic(expected = "a limit of 0 handlers")]
fn a_crowd_has_a_limit() {
    Topics::new().observe_handler_limit(0, |_, _| {}).forget();
}
