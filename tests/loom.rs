//! All interleavings of a few threads, as the memory model allows them:
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom`.
//!
//! With `FEWER_PREEMPTIONS=1` in the environment, each bound of more than one preemption is lower
//! by one, what has no bound has one of four, and the longest scenario is left out.
//!
//! What `loom` cannot tell: it takes sequentially consistent steps for acquire and release, `Arc`
//! is not explored, and some orders in which locks are taken are passed over. `shuttle.rs` makes
//! up for that.
#![cfg(loom)]

mod interleavings;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interleavings::lane::Before::{self, Cold, Hot};
use interleavings::lane::{self};
use interleavings::look_ups::{self, WRITES, Write};
use interleavings::{stops, waits, weak};

/// Whether only what finds most is explored.
fn is_short() -> bool {
    env::var_os("FEWER_PREEMPTIONS").is_some()
}

fn explore(name: &str, scenario: impl Fn() + Send + Sync + 'static) {
    explore_up_to(None, name, scenario);
}

/// Leaves out what takes more preemptions than that in one run; few errors do.
fn explore_up_to(
    preemptions: Option<usize>,
    name: &str,
    scenario: impl Fn() + Send + Sync + 'static,
) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = if is_short() {
        Some(preemptions.map_or(4, |bound| (bound - 1).max(1)))
    } else {
        preemptions
    };
    model.max_branches = 10_000;
    let counted = Arc::clone(&runs);
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scenario();
    });
    println!("{name}: {} interleavings", runs.load(Ordering::Relaxed));
}

#[test]
fn a_subscriber_hears_its_own_notification_beside_a_handle() {
    explore_up_to(Some(3), "subscriber and handle", || {
        interleavings::subscribe_beside_handles(1, 1);
    });
}

#[test]
fn two_subscribers_hear_their_own_notifications() {
    explore_up_to(Some(2), "two subscribers", || {
        interleavings::subscribe_beside_handles(2, 0);
    });
    if !is_short() {
        explore_up_to(Some(1), "two subscribers and a handle", || {
            interleavings::subscribe_beside_handles(2, 1);
        });
    }
}

#[test]
fn handles_that_are_dropped_together_leave_no_topic() {
    explore("two handles", || interleavings::drop_handles(2));
    explore("three handles", || interleavings::drop_handles(3));
}

#[test]
fn a_topic_that_goes_takes_no_new_handler_with_it() {
    explore_up_to(
        Some(3),
        "register and last removal",
        interleavings::register_beside_the_last_removal,
    );
}

#[test]
fn once_is_once() {
    explore_up_to(Some(3), "once", || interleavings::once_beside_notifiers(2));
    explore_up_to(Some(2), "once, three notifiers", || {
        interleavings::once_beside_notifiers(3);
    });
    explore_up_to(
        Some(5),
        "once and removal",
        interleavings::once_beside_its_removal,
    );
}

#[test]
fn a_dispatch_does_not_start_what_was_removed() {
    explore_up_to(Some(4), "removed flag", || {
        interleavings::remove_beside_a_dispatch(1);
    });
    explore_up_to(Some(3), "removed flag, two removals", || {
        interleavings::remove_beside_a_dispatch(2);
    });
}

#[test]
fn what_happened_before_is_seen() {
    explore_up_to(Some(4), "registered first", || {
        interleavings::register_before_a_notification(0);
    });
    explore_up_to(Some(4), "registered second", || {
        interleavings::register_before_a_notification(1);
    });
    explore_up_to(Some(4), "removed last", || {
        interleavings::remove_before_a_notification(1);
    });
    explore_up_to(Some(3), "removed two", || {
        interleavings::remove_before_a_notification(2);
    });
}

#[test]
fn what_was_seen_once_is_seen_by_every_way_to_notify() {
    for (first, way) in ["pin", "handle", "key"].into_iter().enumerate() {
        for others in [0, 1] {
            let name = format!("called by {way} first, {others} others");
            explore_up_to(Some(4), &name, move || {
                interleavings::call_beside_a_registration(first, others);
            });
        }
    }
}

#[test]
fn a_closure_goes_with_its_removal() {
    explore("two removals", || interleavings::remove_beside_removals(1));
    for (what, other) in interleavings::BESIDE_A_REMOVAL {
        explore(&format!("removal beside {what}"), move || {
            interleavings::remove_beside(other);
        });
    }
    explore_up_to(Some(2), "three removals", || {
        interleavings::remove_beside_removals(2);
    });
}

#[test]
fn no_destructor_runs_under_a_lock() {
    for before in BIAS {
        for (preemptions, look_ups) in [(4, 1), (2, 2)] {
            let name = format!("{before:?}, destructor, {look_ups} look-ups");
            explore_up_to(Some(preemptions), &name, move || {
                lane::remove_beside_look_ups(|topics, _| before.prepare(topics), 1, look_ups);
            });
        }
    }
}

#[test]
fn interest_is_told_in_order_and_ends_with_what_is() {
    explore_up_to(Some(3), "two subscribers' edges", || {
        interleavings::edges_beside_edges(2);
    });
    explore_up_to(Some(4), "edge beside an edge", || {
        interleavings::edge_beside_an_edge();
    });
    explore_up_to(Some(4), "edge beside one that is undone", || {
        interleavings::edge_beside_one_that_is_undone();
    });
    explore(
        "watch and register",
        interleavings::watch_beside_a_registration,
    );
    explore("watch and remove", interleavings::watch_beside_a_removal);
}

#[test]
fn each_observer_hears_its_own_edges() {
    explore_up_to(Some(3), "two observers", || {
        interleavings::two_observers_beside_edges(2);
    });
}

#[test]
fn an_observer_that_has_ended_is_not_called() {
    explore_up_to(
        Some(3),
        "end beside edges",
        interleavings::end_an_observer_beside_edges,
    );
    explore_up_to(
        Some(3),
        "end beside that of the topics",
        interleavings::end_an_observer_beside_the_end_of_its_topics,
    );
}

#[test]
fn a_crowd_is_told_to_whom_it_is_one() {
    explore("two limits", interleavings::set_limits_beside_each_other);
    explore_up_to(
        Some(4),
        "a limit that goes, and one that comes",
        interleavings::end_a_limit_beside_a_registration,
    );
}

#[test]
fn a_join_waits_for_the_calls_inside_and_no_longer() {
    explore_up_to(Some(4), "join", || interleavings::join_beside_notifiers(1));
    explore_up_to(Some(2), "join, two notifiers", || {
        interleavings::join_beside_notifiers(2);
    });
}

#[test]
fn joins_that_wait_for_each_other_end() {
    explore_up_to(Some(5), "joins in a circle", interleavings::join_each_other);
}

#[test]
fn what_is_upgraded_is_the_live_topic_of_its_key() {
    let [last_handle, last_handler, twice] = weak::ENDS;
    for (what, end) in [last_handle, last_handler] {
        explore_up_to(Some(3), &format!("upgrade and {what}"), move || {
            weak::upgrade_beside_an_end(end, 1, false);
        });
        explore_up_to(
            Some(2),
            &format!("upgrade, {what}, made again"),
            move || {
                weak::upgrade_beside_an_end(end, 1, true);
            },
        );
    }
    explore_up_to(Some(2), "upgrade and the last handler, twice", move || {
        weak::upgrade_beside_an_end(twice.1, 1, false);
    });
    explore_up_to(Some(2), "two upgrades", move || {
        weak::upgrade_beside_an_end(last_handle.1, 2, false);
    });
    explore(
        "upgrade and the last clone",
        weak::upgrade_beside_the_last_clone,
    );
}

#[test]
fn topics_end_with_their_last_clone() {
    explore(
        "the last clone and a prune",
        weak::the_last_clone_beside_a_prune,
    );
    explore_up_to(
        Some(3),
        "upgrade and the last topics",
        weak::upgrade_beside_the_last_topics,
    );
}

#[test]
fn a_call_that_lost_its_race_is_not_slow() {
    explore_up_to(Some(3), "a single call, timed", || {
        stops::a_single_call_that_is_timed(2);
    });
}

#[test]
fn a_handler_that_ends_itself_is_not_started_again() {
    explore_up_to(Some(3), "until, two notifiers", || {
        stops::until_beside_notifiers(2);
    });
    explore_up_to(
        Some(4),
        "until and removal",
        stops::until_beside_its_removal,
    );
    explore_up_to(Some(3), "until and join", stops::until_beside_its_join);
}

#[test]
fn a_paused_handler_is_not_started() {
    explore_up_to(Some(4), "pause", || stops::pause_beside_a_dispatch(1));
    explore_up_to(Some(2), "two pauses", || {
        stops::pause_beside_a_dispatch(2);
    });
    explore_up_to(Some(4), "pause, resume, dispatch", || {
        stops::pause_and_resume_beside(1, 1);
    });
    explore_up_to(Some(4), "pause, resume, pause", || {
        stops::pause_and_resume_beside(2, 0);
    });
    explore_up_to(Some(4), "pause and removal", || {
        stops::pause_beside_its_removal(0);
    });
    explore_up_to(Some(2), "pause, removal, dispatch", || {
        stops::pause_beside_its_removal(1);
    });
    explore("a closure, removal beside a pause", || {
        interleavings::remove_beside(|registry, stays| drop(registry.pause(stays)));
    });
    explore_up_to(
        Some(3),
        "resume and the end of a topic",
        stops::resume_beside_the_end_of_a_topic,
    );
}

#[test]
fn who_waits_for_an_event_gets_the_first_or_is_told() {
    explore_up_to(Some(3), "wait, a notifier", || {
        waits::wait_beside_notifiers(1);
    });
    explore_up_to(Some(2), "wait, two notifiers", || {
        waits::wait_beside_notifiers(2);
    });
    explore_up_to(Some(2), "wait that is dropped", waits::wait_that_is_dropped);
    for removal in waits::REMOVALS {
        for notified in [[false, false], [true, false], [false, true]] {
            let name = format!("wait and {}, notified {notified:?}", removal.0);
            explore_up_to(Some(3), &name, move || {
                waits::wait_beside_a_removal(removal, notified, false);
            });
        }
    }
    explore_up_to(Some(3), "timed wait and removal", || {
        waits::wait_beside_a_removal(waits::REMOVALS[0], [false, false], true);
    });
    explore_up_to(
        Some(2),
        "wait, notifier, removal",
        waits::wait_beside_a_notifier_and_a_removal,
    );
    explore("wait and the last clone", waits::wait_beside_the_last_clone);
    for is_notified in [true, false] {
        explore_up_to(
            Some(3),
            &format!("await, notified {is_notified}"),
            move || {
                waits::await_beside_an_end(is_notified);
            },
        );
    }
}

#[test]
fn who_waits_for_records_is_woken() {
    explore_up_to(Some(2), "record, two notifiers", || {
        waits::record_beside_notifiers(2);
    });
    explore_up_to(
        Some(2),
        "record and removal",
        waits::record_beside_its_removal,
    );
}

#[cfg(feature = "async")]
#[test]
fn a_task_that_joins_is_woken_by_the_last_future() {
    for is_cancelled in [false, true] {
        explore_up_to(
            Some(3),
            &format!("async join, cancelled {is_cancelled}"),
            move || {
                waits::asynchronous::join_beside_notifiers(1, is_cancelled);
            },
        );
    }
    explore_up_to(Some(2), "async join, two notifiers", || {
        waits::asynchronous::join_beside_notifiers(2, false);
    });
}

const BEFORE: [Before; 2] = [Cold, Hot];

fn explore_lane(before: Before, name: &str, scenario: impl Fn(Before) + Send + Sync + 'static) {
    explore_up_to(Some(3), &format!("{before:?}, {name}"), move || {
        scenario(before)
    });
}

#[test]
fn a_dispatch_keeps_nothing_of_a_list_that_it_does_not_run_over() {
    for before in BEFORE {
        explore_up_to(Some(4), &format!("{before:?}, replaced"), move || {
            lane::replace_beside_a_dispatch(before);
        });
    }
}

#[test]
fn a_list_outlives_the_dispatches_that_are_inside_and_no_longer() {
    for before in BEFORE {
        for others in [0, 1] {
            let name = format!("{before:?}, a dispatch, {others} others");
            explore_up_to(Some(5), &name, move || {
                lane::remove_beside_dispatches(before, others, &[1]);
            });
        }
        explore_lane(before, "two dispatches", |before| {
            lane::remove_beside_dispatches(before, 0, &[2]);
        });
        explore_up_to(Some(2), &format!("{before:?}, two threads"), move || {
            lane::remove_beside_dispatches(before, 0, &[1, 1]);
        });
        for times in [1, 2] {
            explore_lane(
                before,
                &format!("two changes, {times} dispatches"),
                move |before| {
                    lane::remove_both_beside_a_dispatch(before, times);
                },
            );
        }
    }
}

#[test]
fn a_list_outlives_nested_dispatches() {
    for before in BEFORE {
        explore_lane(before, "nested", |before| {
            lane::remove_beside_a_nested_dispatch(before, 2);
        });
        explore_lane(before, "itself from inside", |before| {
            lane::remove_from_inside(before, true);
        });
        explore_lane(before, "the other from inside", |before| {
            lane::remove_from_inside(before, false);
        });
    }
    for removed in 0..3 {
        explore_lane(
            Hot,
            &format!("of three nested, from {removed}"),
            move |_| {
                lane::remove_beside_nested_registries(removed);
            },
        );
    }
}

#[test]
fn a_look_up_drops_no_list_under_its_lock() {
    for before in BEFORE {
        for others in [0, 1] {
            explore_lane(before, &format!("by key, {others} others"), move |before| {
                lane::remove_beside_look_ups(|_, handle| before.prepare(handle), others, 1);
            });
        }
    }
    explore_up_to(Some(2), "Hot, two by key", || {
        lane::remove_beside_look_ups(|_, handle| Hot.prepare(handle), 0, 2);
    });
}

#[test]
fn a_record_is_used_again() {
    for before in BEFORE {
        explore_lane(
            before,
            "threads that end",
            lane::remove_beside_threads_that_end,
        );
    }
}

#[test]
fn without_barriers_all_goes_on() {
    explore_lane(Cold, "refused from the start", |_| {
        lane::remove_without_barriers(true);
    });
    explore_lane(Cold, "refused between two changes", |_| {
        lane::remove_without_barriers(false);
    });
    for before in BEFORE {
        explore_up_to(
            Some(2),
            &format!("{before:?}, refused meanwhile"),
            move || {
                lane::remove_while_barriers_are_refused(before);
            },
        );
    }
}

#[test]
fn who_registers_and_who_notifies_do_not_miss_each_other() {
    for (before, others) in [(Cold, 0), (Cold, 1), (Hot, 1)] {
        explore_up_to(
            Some(4),
            &format!("{before:?}, a flag, {others} others"),
            move || {
                lane::register_and_look_beside_set_and_notify(before, others);
            },
        );
    }
}

const BIAS: [look_ups::Before; 2] = [look_ups::Before::Open, look_ups::Before::Biased];

#[test]
fn no_look_up_reads_beside_a_writer() {
    for bias in BIAS {
        for write in WRITES {
            let explore = |preemptions, look_ups: &'static [usize]| {
                let name = format!("{bias:?}, {look_ups:?} look-ups, {write:?}");
                explore_up_to(Some(preemptions), &name, move || {
                    look_ups::look_up_beside(bias, look_ups, &[write]);
                });
            };
            explore(4, &[1]);
            explore(3, &[2]);
            explore(2, &[1, 1]);
        }
        for write in [Write::Create, Write::Remove] {
            let name = format!("{bias:?}, a dispatch, {write:?}");
            explore_up_to(Some(3), &name, move || {
                look_ups::notify_beside(bias, write);
            });
        }
    }
}

#[test]
fn no_look_up_reads_beside_two_writers() {
    for bias in BIAS {
        for other in [Write::Create, Write::Elsewhere] {
            let name = format!("{bias:?}, two writers, {other:?}");
            explore_up_to(Some(2), &name, move || {
                look_ups::look_up_beside(bias, &[2], &[other, Write::Create]);
            });
        }
    }
}

#[test]
fn who_writes_to_the_map_finds_it_by_key() {
    for bias in BIAS {
        for times in [1, 2] {
            let name = format!("{bias:?}, a writer that looks up, {times} look-ups");
            explore_up_to(Some(3), &name, move || {
                look_ups::write_and_look_up_beside(bias, times);
            });
        }
    }
}

#[test]
fn look_ups_of_threads_that_end() {
    for bias in BIAS {
        for write in [Write::Create, Write::Remove] {
            let name = format!("{bias:?}, threads that end, {write:?}");
            explore_up_to(Some(2), &name, move || {
                look_ups::look_up_on_threads_that_end(bias, write);
            });
        }
    }
}

#[test]
fn look_ups_in_look_ups() {
    for bias in BIAS {
        for is_outer in [true, false] {
            let name = format!("{bias:?}, nested, outer {is_outer}");
            explore_up_to(Some(3), &name, move || {
                look_ups::look_up_in_a_look_up(bias, is_outer);
            });
        }
    }
}
