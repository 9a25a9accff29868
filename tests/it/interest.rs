//! Who is told that topics gain and lose their handlers, or gather too many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::Interest::{self, Gained, Lost};
use topic_registry::{SyncRegistry, TopicHandle, TopicRegistry};

use crate::support::{Bomb, Log, OnDrop, gate, within};

type Topics = TopicRegistry<String, u32>;

/// Topics, and what is told of them.
fn watched() -> (Topics, Log<(String, Interest)>) {
    let (topics, log) = (Topics::new(), Log::new());
    watch(&topics, &log);
    (topics, log)
}

fn watch(topics: &Topics, log: &Log<(String, Interest)>) {
    let told = log.clone();
    topics.on_interest(move |key, interest| told.push((key.clone(), interest)));
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
fn topics_that_have_handlers_already_are_told_of_at_once() {
    let (topics, log) = (Topics::new(), Log::new());
    topics.register("a", |_| {});
    let _empty = topics.handle("b");
    watch(&topics, &log);
    assert_eq!(log.take(), [("a".into(), Gained)]);
    watch(&topics, &log);
    assert_eq!(log.take(), [("a".into(), Gained)], "each callback anew");
    topics.clear_interest_callback();
    topics.remove("a");
    assert_eq!(log.take(), [], "nobody is told");
    watch(&topics, &log);
    assert_eq!(log.take(), [], "nobody listens");
    topics.register("a", |_| {});
    assert_eq!(log.take(), [("a".into(), Gained)]);
}

/// The callback's own changes are told when it has returned.
#[test]
fn the_callback_may_call_everything() {
    within("an interest callback that registers and removes", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (same, told) = (topics.clone(), log.clone());
        let (depth, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
        topics.on_interest(move |key, interest| {
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
        topics.clear_interest_callback();
        assert!(topics.is_empty());
    });
}

/// The thread that is making a call makes those of others too.
#[test]
fn calls_for_a_key_do_not_overlap_and_other_keys_do_not_wait() {
    within("interest from two threads", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (entered, is_entered) = gate("the callback");
        let (leave, left) = gate("the other thread");
        let (told, first) = (log.clone(), AtomicBool::new(true));
        topics.on_interest(move |key, interest| {
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

/// A handle keeps what is shared, which the callback is part of.
#[test]
fn callbacks_that_own_a_handle_go_with_the_topics() {
    type Set = fn(&Topics, OnDrop<Box<dyn Fn() + Send + Sync>>, TopicHandle<String, u32>);
    let sets: [Set; 2] = [
        |topics, dropped, handle| topics.on_interest(move |_, _| _ = (&dropped, &handle)),
        |topics, dropped, handle| topics.on_handler_limit(1, move |_, _| _ = (&dropped, &handle)),
    ];
    for set in sets {
        let (topics, log) = (Topics::new(), Log::new());
        let dropped = log.clone();
        let on_drop: Box<dyn Fn() + Send + Sync> = Box::new(move || dropped.push("dropped"));
        set(&topics, OnDrop(on_drop), topics.handle("a"));
        drop(topics);
        assert_eq!(log.take(), ["dropped"]);
    }
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
fn a_callback_that_panics_is_counted_and_goes_on() {
    let (topics, log) = (Topics::new(), Log::new());
    let told = log.clone();
    let bomb = Bomb("dropped with its callback");
    topics.on_interest(move |_, interest| {
        let _ = &bomb;
        told.push(interest);
        std::panic::panic_any(Bomb("thrown by a callback"));
    });
    let guard = topics.register_guard("a", |_| {});
    drop(guard);
    assert_eq!(log.take(), [Gained, Lost]);
    assert_eq!(topics.panic_count(), 2);
    topics.clear_interest_callback();
    assert_eq!(topics.panic_count(), 3, "its destructor is counted too");
}

/// A callback that is replaced from inside of itself is dropped by its last call.
#[test]
fn a_callback_may_replace_itself() {
    within("an interest callback that replaces itself", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (same, told, dropped) = (topics.clone(), log.clone(), log.clone());
        let on_drop = OnDrop(move || dropped.push("dropped"));
        topics.on_interest(move |_, _| {
            let _ = &on_drop;
            let again = told.clone();
            same.on_interest(move |_, _| again.push("new"));
            told.push("old");
        });
        topics.register("a", |_| {});
        assert_eq!(log.take(), ["new", "old", "dropped"]);
        topics.remove("a");
        assert_eq!(log.take(), ["new"]);
        topics.clear_interest_callback();
    });
}

#[test]
fn a_callback_that_forgets_itself_and_whose_destructor_panics_is_contained_and_counted() {
    let (topics, bomb) = (Topics::new(), Bomb("dropped by its own last call"));
    let same = topics.clone();
    topics.on_interest(move |_, _| {
        let _ = &bomb;
        same.clear_interest_callback();
    });
    topics.register("a", |_| {});
    assert_eq!((topics.len(), topics.panic_count()), (1, 1));
}

/// An edge and its opposite that nobody was told of yet are none.
#[test]
fn what_comes_and_goes_while_the_callback_runs_cancels_out() {
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
        within("an interest callback that churns", move || {
            let (topics, log) = (Topics::new(), Log::new());
            let (same, told, first) = (topics.clone(), log.clone(), AtomicBool::new(true));
            topics.on_interest(move |key, interest| {
                told.push(interest);
                if first.swap(false, Ordering::Relaxed) {
                    churn(&same, key);
                }
            });
            topics.register("a", |_| {});
            assert_eq!(log.take(), expected);
            topics.clear_interest_callback();
        });
    }
}

/// Nothing queues for the thread that is making a call.
#[test]
fn a_thread_that_is_inside_of_the_callback_does_not_tell_what_others_make_and_undo() {
    within("a guard that is dropped beside a churn", || {
        let (topics, log) = (Topics::new(), Log::new());
        let (enter, entered) = gate("the callback");
        let (leave, left) = gate("the churn");
        let (told, first) = (log.clone(), AtomicBool::new(true));
        topics.on_interest(move |_, interest| {
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
fn a_callback_that_panics_is_counted_at_once() {
    const CALLS: u64 = 6;
    within(
        "an interest callback that panics and makes the next edge",
        || {
            let (topics, log) = (Topics::new(), Log::new());
            let (same, counts, calls) = (topics.clone(), log.clone(), AtomicU64::new(0));
            topics.on_interest(move |key, interest| {
                counts.push(same.panic_count());
                if calls.fetch_add(1, Ordering::Relaxed) + 1 < CALLS {
                    match interest {
                        Gained => assert!(same.remove(key)),
                        Lost => drop(same.register(key.clone(), |_| {})),
                    }
                }
                std::panic::panic_any(Bomb("thrown by a callback"));
            });
            topics.register("a", |_| {});
            assert_eq!(log.take(), (0..CALLS).collect::<Vec<_>>());
            assert_eq!(topics.panic_count(), CALLS);
            topics.clear_interest_callback();
        },
    );
}

#[test]
fn the_destructor_of_a_callback_may_call_everything() {
    within("the destructor of an interest callback", || {
        let (topics, log) = (Topics::new(), Log::new());
        for name in ["replaced", "cleared"] {
            let (same, dropped) = (topics.clone(), log.clone());
            let on_drop = OnDrop(move || {
                drop(same.register_guard("a", |_| {}));
                dropped.push(name);
            });
            topics.on_interest(move |_, _| {
                let _ = &on_drop;
            });
        }
        topics.clear_interest_callback();
        assert_eq!(log.take(), ["replaced", "cleared"]);
    });
}

/// What is left for the new callback is told by who tells it already.
#[test]
fn a_callback_that_is_replaced_while_it_runs_makes_no_calls_for_the_new_one() {
    within("a replaced interest callback", || {
        let (topics, log) = (Topics::new(), Log::new());
        let [(in_old, is_in_old), (in_new, is_in_new)] = [gate("the old"), gate("the new")];
        let [(leave_old, left_old), (leave_new, left_new)] = [gate("the end"), gate("the end")];
        topics.on_interest(move |_, _| {
            in_old();
            left_old();
        });
        let registers = topics.clone();
        let old = thread::spawn(move || {
            registers.register("a", |_| {});
        });
        is_in_old();
        let (replaces, told) = (topics.clone(), log.clone());
        let new = thread::spawn(move || {
            replaces.on_interest(move |_, interest| {
                told.push((interest, "begins"));
                if interest == Gained {
                    in_new();
                    left_new();
                }
                told.push((interest, "ends"));
            });
        });
        is_in_new();
        topics.remove("a");
        leave_old();
        old.join().unwrap();
        assert_eq!(log.take(), [(Gained, "begins")]);
        leave_new();
        new.join().unwrap();
        assert_eq!(
            log.take(),
            [(Gained, "ends"), (Lost, "begins"), (Lost, "ends")]
        );
    });
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

fn race_for_interest(time: Duration) {
    const KEYS: [&str; 3] = ["a", "b", "c"];
    let (topics, last) = (Topics::new(), Arc::new(Mutex::new(HashMap::new())));
    let (edges, wrong) = (Arc::new(AtomicUsize::new(0)), Log::new());
    let (seen, count, errors) = (Arc::clone(&last), Arc::clone(&edges), wrong.clone());
    topics.on_interest(move |key, interest| {
        count.fetch_add(1, Ordering::Relaxed);
        let before = seen.lock().unwrap().insert(key.clone(), interest);
        if before.unwrap_or(Lost) == interest {
            errors.push((key.clone(), interest));
        }
    });
    let start = Instant::now();
    thread::scope(|scope| {
        for of in 0..4 {
            let topics = &topics;
            scope.spawn(move || {
                for n in of.. {
                    if start.elapsed() >= time {
                        break;
                    }
                    let key = KEYS[n % KEYS.len()];
                    match n % 4 {
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
            });
        }
    });
    for key in KEYS {
        topics.notify(key, &0);
        let is_there = last.lock().unwrap().get(key) == Some(&Gained);
        assert_eq!(is_there, topics.contains_key(key), "{key}");
    }
    assert_eq!(wrong.take(), []);
    println!("{} edges", edges.load(Ordering::Relaxed));
}

/// A callback that is set while handlers come and go misses none that stays.
#[test]
fn a_callback_that_is_set_beside_a_registration_is_told_of_it() {
    for _ in 0..500 {
        let (topics, log, both) = (Topics::new(), Log::new(), Arc::new(Barrier::new(2)));
        let (same, other) = (topics.clone(), Arc::clone(&both));
        let registers = thread::spawn(move || {
            other.wait();
            same.register("a", |_| {});
        });
        both.wait();
        watch(&topics, &log);
        registers.join().unwrap();
        assert_eq!(told(&log), [Gained]);
    }
}

#[test]
fn a_topic_that_is_crowded_is_told_of_at_each_multiple() {
    let (topics, log) = (Topics::new(), Log::new());
    let told = log.clone();
    topics.on_handler_limit(10, move |key, handlers| told.push((key.clone(), handlers)));
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
    topics.clear_handler_limit_callback();
    register_at_once(30);
    assert_eq!(log.take(), []);
}

#[test]
fn a_crowd_callback_may_call_everything_and_panic() {
    within("a crowd callback that removes", || {
        let topics = Topics::new();
        let same = topics.clone();
        topics.on_handler_limit(1, move |key, _| {
            same.remove(key);
            panic!("too many");
        });
        topics.register("a", |_| {});
        topics.register("a", |_| {});
        assert_eq!((topics.len(), topics.panic_count()), (0, 1));
        topics.clear_handler_limit_callback();
    });
}

#[test]
fn a_crowd_callback_is_replaced_together_with_its_limit() {
    let (topics, log) = (Topics::new(), Log::new());
    for limit in [10, 2, 4] {
        let told = log.clone();
        topics.on_handler_limit(limit, move |_, handlers| told.push((limit, handlers)));
        for _ in 0..5 {
            topics.register("a", |_| {});
        }
        topics.remove("a");
    }
    assert_eq!(log.take(), [(2, 3), (2, 5), (4, 5)]);
}

#[test]
fn a_crowd_callback_whose_destructor_panics_is_contained_and_counted() {
    let topics = Topics::new();
    for bomb in [Bomb("replaced"), Bomb("cleared")] {
        topics.on_handler_limit(1, move |_, _| {
            let _ = &bomb;
        });
    }
    topics.clear_handler_limit_callback();
    assert_eq!(topics.panic_count(), 2);
}

#[test]
#[should_panic(expected = "a limit of 0 handlers")]
fn a_crowd_has_a_limit() {
    Topics::new().on_handler_limit(0, |_, _| {});
}
