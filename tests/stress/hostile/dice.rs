//! Random numbers that a seed repeats, for each thread.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn seed(seed: u64) {
    STATE.set(seed);
}

/// A number from 0 to `end` - 1.
pub(super) fn below(end: usize) -> usize {
    // SplitMix64.
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let number = (mixed ^ mixed >> 31) % end as u64;
    usize::try_from(number).expect("it is less than `end`")
}

/// True once in so many times.
pub(super) fn once_in(times: usize) -> bool {
    below(times) == 0
}
