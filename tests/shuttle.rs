//! Random interleavings of more threads than `loom` can explore:
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --test shuttle`.
//!
//! Each scenario is run under a schedule that switches at random, and under one that delays a few
//! threads as errors of some depth need it (`pct`). With `FEWER_RUNS=1` in the environment, a tenth
//! as often.
//!
//! Under miri, the same scenarios run once, with the locks and atomics of `std`: each seed of
//! miri's is another interleaving, and stores may be seen late, as on a weak processor.
#![cfg(all(any(shuttle, miri), not(loom)))]

mod interleavings;

use interleavings::lane::Before::{Cold, Hot};
use interleavings::lane::{self};
use interleavings::look_ups::Before::{Biased, Open};
use interleavings::look_ups::{self, WRITES, Write};
use interleavings::{stops, waits, weak};

#[cfg(shuttle)]
fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let fewer = std::env::var_os("FEWER_RUNS").is_some();
    let runs = if fewer { 5_000 } else { 50_000 };
    shuttle::check_random(scenario.clone(), runs);
    shuttle::check_pct(scenario, runs, 4);
}

#[cfg(not(shuttle))]
fn explore(scenario: impl Fn()) {
    scenario();
}

#[test]
fn subscribers_hear_their_own_notifications_beside_handles() {
    explore(|| interleavings::subscribe_beside_handles(4, 2));
}

#[test]
fn handles_that_are_dropped_together_leave_no_topic() {
    explore(|| interleavings::drop_handles(6));
}

#[test]
fn a_topic_that_goes_takes_no_new_handler_with_it() {
    explore(interleavings::register_beside_the_last_removal);
}

#[test]
fn once_is_once() {
    explore(|| interleavings::once_beside_notifiers(6));
    explore(interleavings::once_beside_its_removal);
}

#[test]
fn a_dispatch_does_not_start_what_was_removed() {
    explore(|| interleavings::remove_beside_a_dispatch(1));
    explore(|| interleavings::remove_beside_a_dispatch(3));
}

#[test]
fn what_happened_before_is_seen() {
    explore(|| interleavings::register_before_a_notification(0));
    explore(|| interleavings::register_before_a_notification(65));
    explore(|| interleavings::remove_before_a_notification(65));
}

#[test]
fn what_was_seen_once_is_seen_by_every_way_to_notify() {
    for first in 0..3 {
        explore(move || interleavings::call_beside_a_registration(first, 0));
        explore(move || interleavings::call_beside_a_registration(first, 1));
    }
}

#[test]
fn a_closure_goes_with_its_removal() {
    explore(|| interleavings::remove_beside_removals(3));
    for (_, other) in interleavings::BESIDE_A_REMOVAL {
        explore(move || interleavings::remove_beside(other));
    }
}

#[test]
fn no_destructor_runs_under_a_lock() {
    for before in [Open, Biased] {
        explore(move || lane::remove_beside_look_ups(|topics, _| before.prepare(topics), 1, 4));
    }
}

#[test]
fn interest_is_told_in_order_and_ends_with_what_is() {
    explore(|| interleavings::edges_beside_edges(4));
    explore(interleavings::edge_beside_an_edge);
    explore(interleavings::edge_beside_one_that_is_undone);
    explore(interleavings::watch_beside_a_registration);
    explore(interleavings::watch_beside_a_removal);
}

#[test]
fn each_observer_hears_its_own_edges() {
    explore(|| interleavings::two_observers_beside_edges(3));
}

#[test]
fn an_observer_that_has_ended_is_not_called() {
    explore(interleavings::end_an_observer_beside_edges);
    explore(interleavings::end_an_observer_beside_the_end_of_its_topics);
}

#[test]
fn a_crowd_is_told_to_whom_it_is_one() {
    explore(interleavings::set_limits_beside_each_other);
    explore(interleavings::end_a_limit_beside_a_registration);
}

#[test]
fn a_join_waits_for_the_calls_inside_and_no_longer() {
    explore(|| interleavings::join_beside_notifiers(4));
}

#[test]
fn joins_that_wait_for_each_other_end() {
    explore(interleavings::join_each_other);
}

#[test]
fn what_is_upgraded_is_the_live_topic_of_its_key() {
    for (_, end) in weak::ENDS {
        explore(move || weak::upgrade_beside_an_end(end, 2, true));
    }
    explore(weak::upgrade_beside_the_last_clone);
}

#[test]
fn topics_end_with_their_last_clone() {
    explore(weak::the_last_clone_beside_a_prune);
    explore(weak::upgrade_beside_the_last_topics);
}

#[test]
fn a_call_that_lost_its_race_is_not_slow() {
    explore(|| stops::a_single_call_that_is_timed(3));
}

#[test]
fn a_handler_that_ends_itself_is_not_started_again() {
    explore(|| stops::until_beside_notifiers(3));
    explore(stops::until_beside_its_removal);
    explore(stops::until_beside_its_join);
}

#[test]
fn a_paused_handler_is_not_started() {
    explore(|| stops::pause_beside_a_dispatch(2));
    explore(|| stops::pause_and_resume_beside(2, 1));
    explore(|| stops::pause_beside_its_removal(1));
    explore(stops::resume_beside_the_end_of_a_topic);
}

#[test]
fn who_waits_for_an_event_gets_the_first_or_is_told() {
    explore(|| waits::wait_beside_notifiers(3));
    explore(waits::wait_that_is_dropped);
    explore(|| waits::wait_beside_a_removal(waits::REMOVALS[0], [false, true], true));
    explore(waits::wait_beside_a_notifier_and_a_removal);
    explore(waits::wait_beside_the_last_clone);
    for is_notified in [false, true] {
        explore(move || waits::await_beside_an_end(is_notified));
    }
}

#[test]
fn who_waits_for_records_is_woken() {
    explore(|| waits::record_beside_notifiers(3));
    explore(waits::record_beside_its_removal);
}

#[cfg(feature = "async")]
#[test]
fn a_task_that_joins_is_woken_by_the_last_future() {
    for is_cancelled in [false, true] {
        explore(move || waits::asynchronous::join_beside_notifiers(2, is_cancelled));
    }
}

#[test]
fn a_list_outlives_the_dispatches_that_are_inside_and_no_longer() {
    for before in [Cold, Hot] {
        explore(move || lane::remove_beside_dispatches(before, 0, &[2]));
        explore(move || lane::remove_beside_dispatches(before, 1, &[1, 2, 1]));
        explore(move || lane::remove_both_beside_a_dispatch(before, 3));
        explore(move || lane::remove_beside_threads_that_end(before));
    }
}

#[test]
fn a_list_outlives_nested_dispatches() {
    for before in [Cold, Hot] {
        explore(move || lane::remove_beside_a_nested_dispatch(before, 3));
        explore(move || lane::remove_from_inside(before, true));
        explore(move || lane::remove_from_inside(before, false));
    }
    for removed in 0..3 {
        explore(move || lane::remove_beside_nested_registries(removed));
    }
}

#[test]
fn a_look_up_drops_no_list_under_its_lock() {
    for before in [Cold, Hot] {
        for others in [0, 1] {
            explore(move || {
                lane::remove_beside_look_ups(|_, handle| before.prepare(handle), others, 3);
            });
        }
    }
}

#[cfg(shuttle)]
#[test]
fn without_barriers_all_goes_on() {
    explore(|| lane::remove_without_barriers(true));
    explore(|| lane::remove_without_barriers(false));
    for before in [Cold, Hot] {
        explore(move || lane::remove_while_barriers_are_refused(before));
    }
}

#[test]
fn who_registers_and_who_notifies_do_not_miss_each_other() {
    for (before, others) in [(Cold, 0), (Cold, 1), (Hot, 1)] {
        explore(move || lane::register_and_look_beside_set_and_notify(before, others));
    }
}

#[test]
fn no_look_up_reads_beside_a_writer() {
    for bias in [Open, Biased] {
        for write in WRITES {
            explore(move || look_ups::look_up_beside(bias, &[2, 2], &[write]));
        }
        explore(move || look_ups::notify_beside(bias, Write::Remove));
        explore(move || look_ups::look_up_on_threads_that_end(bias, Write::CreateThree));
    }
}

#[test]
fn no_look_up_reads_beside_writers() {
    for bias in [Open, Biased] {
        let writes = &[Write::Create, Write::Elsewhere, Write::Remove];
        explore(move || look_ups::look_up_beside(bias, &[2], &writes[..2]));
        explore(move || look_ups::look_up_beside(bias, &[2, 2], writes));
        explore(move || look_ups::write_and_look_up_beside(bias, 4));
    }
}

#[test]
fn look_ups_in_look_ups() {
    for bias in [Open, Biased] {
        explore(move || look_ups::look_up_in_a_look_up(bias, true));
        explore(move || look_ups::look_up_in_a_look_up(bias, false));
    }
}
