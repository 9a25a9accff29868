//! Random sequences of what one thread can do with topics; see `world.rs`, and `plain.rs` for what
//! ought to be. The fuzzer in `fuzz/` makes up its own. And of what several threads can do at once;
//! see `threads.rs`.

mod plain;
mod threads;
mod world;

use plain::{Does, How, Key, Op, Way};
use proptest::collection::vec;
use proptest::prelude::*;
use threads::{Phase, Step};

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![Just(Key::A), Just(Key::B), Just(Key::C)]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Key), Just(Way::Handle), Just(Way::Pin)]
}

fn op() -> impl Strategy<Value = Op> {
    let does = prop_oneof![
        4 => Just(Does::Nothing),
        1 => Just(Does::Panics),
        1 => Just(Does::PanicsInItsDrop),
        1 => key().prop_map(Does::RegistersAndRemovesInItsDrop),
        1 => (key(), -1..2_i8).prop_map(|(key, priority)| Does::Registers(key, priority)),
        1 => key().prop_map(Does::Removes),
        1 => Just(Does::Clears),
        2 => key().prop_map(Does::DropsItsHandle),
        1 => key().prop_map(Does::NotifiesWhatItPauses),
    ];
    let how = prop_oneof![
        2 => Just(How::Always),
        2 => Just(How::Guarded),
        1 => Just(How::Once),
        1 => Just(How::JoinGuard),
        1 => Just(How::GuardedOnce),
        1 => Just(How::Interceptor),
        1 => Just(How::Until),
        1 => Just(How::JoinableUntil),
        1 => Just(How::WaitFor),
        1 => Just(How::Recorder),
    ];
    let changes = vec((-2..3_i8, does.clone()), 0..4);
    prop_oneof![
        8 => (key(), -2..3_i8, does, how).prop_map(|(k, p, d, h)| Op::Register(k, p, d, h)),
        3 => any::<u8>().prop_map(Op::Unregister),
        3 => any::<u8>().prop_map(Op::DropGuard),
        6 => (key(), way()).prop_map(|(key, way)| Op::Notify(key, way)),
        1 => key().prop_map(Op::Remove),
        1 => Just(Op::Clear),
        2 => key().prop_map(Op::Handle),
        2 => key().prop_map(Op::Pin),
        1 => key().prop_map(Op::Bare),
        3 => any::<u8>().prop_map(Op::DropOwner),
        1 => key().prop_map(Op::Downgrade),
        2 => any::<u8>().prop_map(Op::Upgrade),
        2 => any::<u8>().prop_map(Op::Pause),
        2 => any::<u8>().prop_map(Op::Resume),
        3 => any::<u8>().prop_map(Op::Look),
        2 => (key(), changes, vec(any::<u8>(), 0..4), any::<bool>())
            .prop_map(|(key, adds, removes, clear)| Op::Batch(key, adds, removes, clear)),
        1 => Just(Op::Shrink),
        1 => Just(Op::Observe),
        1 => any::<u8>().prop_map(Op::EndObserver),
    ]
}

/// What a thread does where none notifies, or where some do.
fn step(notifies: bool) -> impl Strategy<Value = Step> {
    use threads::How::{Always, Guarded, JoinGuard, Recorder, ReentersInItsDrop, Until, WaitFor};
    let how = prop_oneof![
        Just(Always),
        Just(Guarded),
        Just(JoinGuard),
        Just(ReentersInItsDrop),
        Just(Until),
        Just(WaitFor),
        Just(Recorder),
    ];
    prop_oneof![
        6 => (key(), -1..2_i8, how).prop_map(|(k, p, h)| Step::Register(k, p, h)),
        6 => any::<u8>().prop_map(Step::Remove),
        2 => (key(), vec(-1..2_i8, 0..3), vec(any::<u8>(), 0..3))
            .prop_map(|(key, adds, removes)| Step::Batch(key, adds, removes)),
        2 => prop_oneof![
            key().prop_map(Step::Handle),
            any::<u8>().prop_map(Step::DropHandle),
        ],
        1 => key().prop_map(Step::Downgrade),
        2 => any::<u8>().prop_map(Step::Upgrade),
        4 => prop_oneof![
            any::<u8>().prop_map(Step::Pause),
            any::<u8>().prop_map(Step::Resume),
        ],
        3 => key().prop_map(Step::Look),
        2 => prop_oneof![
            Just(Step::Observe),
            any::<u8>().prop_map(Step::EndObserver),
        ],
        // A weight of 0 is allowed among ten at most.
        if notifies { 6 } else { 0 } => (key(), way()).prop_map(|(k, w)| Step::Notify(k, w)),
    ]
}

fn phases() -> impl Strategy<Value = Vec<Phase>> {
    let phase = |threads| {
        any::<bool>().prop_flat_map(move |notifies| vec(vec(step(notifies), 1..12), threads))
    };
    (2..=3_usize).prop_flat_map(move |threads| vec(phase(threads), 1..5))
}

proptest! {
    #[test]
    fn topics_do_what_a_plain_map_does(ops in vec(op(), 0..80)) {
        world::run(&ops);
    }
}

proptest! {
    // What fails once may not fail again: there is little to be made smaller, or to be kept.
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn each_thread_finds_what_it_knows_for_certain(phases in phases()) {
        threads::run(&phases);
    }
}
