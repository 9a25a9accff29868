//! The model of `tests/model`, fed by a fuzzer that looks for code that it has not seen.

#![no_main]

#[path = "../../tests/model/plain.rs"]
mod plain;
#[path = "../../tests/model/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|ops: Vec<plain::Op>| world::run(&ops));
