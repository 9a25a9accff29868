//! Random sequences of what one thread can do with topics; see `world.rs`. The fuzzer in
//! `fuzz/` makes up its own.

mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use world::{Does, How, Key, Op, Way};

fn op() -> impl Strategy<Value = Op> {
    let key = || prop_oneof![Just(Key::A), Just(Key::B), Just(Key::C)];
    let does = prop_oneof![
        4 => Just(Does::Nothing),
        1 => Just(Does::Panics),
        1 => Just(Does::PanicsInItsDrop),
        1 => key().prop_map(Does::RegistersAndRemovesInItsDrop),
        1 => (key(), -1..2_i8).prop_map(|(key, priority)| Does::Registers(key, priority)),
        1 => key().prop_map(Does::Removes),
        1 => Just(Does::Clears),
        2 => key().prop_map(Does::DropsItsHandle),
    ];
    let how = prop_oneof![
        2 => Just(How::Always),
        2 => Just(How::Guarded),
        1 => Just(How::Once),
        1 => Just(How::Joinable),
        1 => Just(How::Interceptor),
    ];
    let way = prop_oneof![Just(Way::Key), Just(Way::Handle), Just(Way::Pin)];
    let changes = vec((-2..3_i8, does.clone()), 0..4);
    prop_oneof![
        8 => (key(), -2..3_i8, does, how).prop_map(|(k, p, d, h)| Op::Register(k, p, d, h)),
        3 => any::<u8>().prop_map(Op::Unregister),
        3 => any::<u8>().prop_map(Op::DropGuard),
        6 => (key(), way).prop_map(|(key, way)| Op::Notify(key, way)),
        1 => key().prop_map(Op::Remove),
        1 => Just(Op::Clear),
        2 => key().prop_map(Op::Handle),
        2 => key().prop_map(Op::Pin),
        1 => key().prop_map(Op::Bare),
        3 => any::<u8>().prop_map(Op::DropOwner),
        2 => (key(), changes, vec(any::<u8>(), 0..4), any::<bool>())
            .prop_map(|(key, adds, removes, clear)| Op::Batch(key, adds, removes, clear)),
        1 => Just(Op::Prune),
    ]
}

proptest! {
    #[test]
    fn topics_do_what_a_plain_map_does(ops in vec(op(), 0..80)) {
        world::run(&ops);
    }
}
