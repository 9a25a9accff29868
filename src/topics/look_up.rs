//! A look-up that its thread announces, and that therefore reads a shard without the shard's lock.
//!
//! The announcement is the address of a gate, in a slot of the thread's record (see
//! `snapshot/lane.rs`). It is one locked instruction on a line that only writers read. A plain
//! store beside process-wide barriers, as dispatches have it, is no faster here, and has no answer
//! to a barrier that is refused while a look-up is inside.
//!
//! Which look-ups are let in, and why no writer is beside them, is argued in `turnstile.rs`.
#![allow(
    unsafe_code,
    reason = "a shard is read without its lock; the block has its argument beside it"
)]

use std::cell::Cell;
use std::ops::Range;

use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::primitive::{Shard, give_time, thread_local_const};
use crate::snapshot::barrier;
use crate::snapshot::lane::{Record, record_of_thread, records};

pub(super) use crate::snapshot::lane::attach;

/// A look-up that was let in. It runs `Eq` and `Borrow` of keys, which may panic, and no other user
/// code; it waits for nothing.
pub(super) struct LookUp(&'static AtomicUsize);

impl LookUp {
    /// Announces a look-up behind the gate, and asks afterwards whether it is let in. Returns
    /// `None` if not, if this thread is inside of another one (in `Eq` of a key), or if it has no
    /// record.
    #[inline(always)]
    pub(super) fn announce(gate: usize, is_let_in: impl FnOnce() -> bool) -> Option<Self> {
        let slot = &record_of_thread()?.gate;
        // Relaxed: only this thread fills it.
        if slot.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // Step announce of tests/protocols/gates.tla.
        slot.swap(gate, Ordering::SeqCst);
        barrier::sequential();
        let announced = Self(slot);
        is_let_in().then_some(announced)
    }

    /// Calls `read` with what the shard's lock protects, without the lock, and ends the look-up.
    /// The shard must be one behind the announced gate.
    #[inline(always)]
    pub(super) fn read<T, R>(self, shard: &Shard<T>, read: impl FnOnce(&T) -> R) -> R {
        #[cfg(any(loom, shuttle))]
        let found = shard.read_unlocked(read);
        // SAFETY: whoever writes to the shard holds its gate, and has waited until no look-up that
        // was let in is announced behind it; this one is, until it is dropped.
        #[cfg(not(any(loom, shuttle)))]
        let found = read(unsafe { &*shard.data_ptr() });
        drop(self);
        found
    }
}

/// Takes the announcement back, also if `Eq` or `Borrow` panics.
impl Drop for LookUp {
    #[inline(always)]
    fn drop(&mut self) {
        // A release, for the writer that sees it: its writes come after what was read here.
        // Steps not_let_in and end_look_up of tests/protocols/gates.tla.
        self.0.store(0, Ordering::Release);
    }
}

/// How many look-ups of a thread one sample stands for.
pub(super) const LOOK_UPS_A_SAMPLE: u32 = if super::turnstile::IS_EAGER { 1 } else { 16 };

/// Counts a look-up that takes a lock. Returns whether it is a sample, which stands for the others.
#[inline(always)]
pub(super) fn is_sample() -> bool {
    // Not the count by which lanes are heated: the two would go in lockstep.
    thread_local_const!(LOOK_UPS: Cell<u32> = Cell::new(0));
    let count = |look_ups: &Cell<u32>| {
        let count = look_ups.get().wrapping_add(1);
        look_ups.set(count);
        count % LOOK_UPS_A_SAMPLE == 0
    };
    LOOK_UPS.try_with(count).unwrap_or(false)
}

/// Waits until no thread announces a look-up behind the gate. Those that are announced later are
/// not let in, so there is an end to it.
pub(super) fn wait_for(gate: usize) {
    barrier::sequential();
    // Step wait_for of tests/protocols/gates.tla.
    for record in records() {
        let mut turn = 0;
        // Step wait_for_record of tests/protocols/gates.tla.
        while is_behind(record, &(gate..gate + 1)) {
            give_time(turn);
            turn += 1;
        }
    }
}

/// How often it is looked whether a look-up has ended: its thread may not run for long.
const PATIENCE: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 64 };

/// Waits for a moment until each thread has been seen without a look-up behind these gates. Returns
/// the number of records, or `None` if some look-up takes longer. Keeps none from beginning.
pub(super) fn end_soon(gates: &Range<usize>) -> Option<u32> {
    barrier::sequential();
    let ends_soon = |record: &Record| {
        (0..PATIENCE).any(|turn| {
            if turn != 0 {
                give_time(0);
            }
            // Steps look_at_record and look_for_an_end of tests/protocols/gates.tla.
            !is_behind(record, gates)
        })
    };
    records().try_fold(0, |count, record| ends_soon(record).then_some(count + 1))
}

/// Returns whether the record's thread announces a look-up behind one of these gates. The load is
/// `SeqCst`, to be in the single total order with the announcement and with what is loaded after
/// it.
fn is_behind(record: &Record, gates: &Range<usize>) -> bool {
    gates.contains(&record.gate.load(Ordering::SeqCst))
}
