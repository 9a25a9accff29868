//! Lets writers of the topic map make progress beside look-ups.
//!
//! `dashmap`'s locks prefer readers: as long as look-ups overlap, a writer waits. So a writer first
//! claims the gate of its shard. A look-up that finds the gate claimed may overtake the writer as
//! long as fewer than [`OVERTAKES`] others have; after that, it waits until the writer has left. So
//! a writer waits for a bounded number of look-ups. A look-up waits for the writer that holds the
//! gate, and for the writers that the gate's lock admits before it.
//!
//! Without writers, a look-up costs one relaxed load. The counts only decide who is first. They
//! publish nothing and protect nothing, so all accesses are relaxed; mutual exclusion of look-ups
//! and writers is left to the locks of the map.
//!
//! A gate is always locked before the shard, and never under the lock of a shard.

use std::array;
use std::sync::PoisonError;

use crate::primitive::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard};

/// The number of gates: shards `n` and `n + GATES` share one. There are few where interleavings are
/// explored, because each gate adds to them.
const GATES: usize = if cfg!(any(loom, shuttle)) { 1 } else { 16 };

/// How many look-ups may overtake a writer: enough for look-ups to make progress beside many short
/// writes, and few enough for a writer to wait for microseconds only.
const OVERTAKES: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 64 };

pub(crate) struct Turnstile {
    /// A bit for each gate that a writer holds.
    claimed: AtomicUsize,
    gates: [Gate; GATES],
}

struct Gate {
    /// How many look-ups have overtaken the writer that holds the gate.
    overtaken: AtomicU32,
    writer: Mutex<()>,
}

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self {
            claimed: AtomicUsize::new(0),
            gates: array::from_fn(|_| Gate {
                overtaken: AtomicU32::new(0),
                writer: Mutex::new(()),
            }),
        }
    }

    /// Gives way to a writer, if necessary, before a look-up in the shard.
    #[inline]
    pub(crate) fn before_look_up(&self, shard: usize) {
        let claimed = self.claimed.load(Ordering::Relaxed);
        if claimed != 0 {
            self.give_way(claimed & bit(gate_of(shard)));
        }
    }

    /// Gives way to writers, if necessary, before an operation on all shards.
    pub(crate) fn before_look_at_all(&self) {
        self.give_way(self.claimed.load(Ordering::Relaxed));
    }

    /// Runs `work`, which locks the shard exclusively.
    pub(crate) fn with_shard<R>(&self, shard: usize, work: impl FnOnce() -> R) -> R {
        let _claim = self.claim(gate_of(shard));
        work()
    }

    /// Runs `work`, which locks each shard exclusively, one after the other.
    pub(crate) fn with_all<R>(&self, work: impl FnOnce() -> R) -> R {
        // Always in the same order, so that two such calls cannot deadlock.
        let _claims: Vec<_> = (0..GATES).map(|gate| self.claim(gate)).collect();
        work()
    }

    fn claim(&self, gate: usize) -> Claim<'_> {
        let Gate { overtaken, writer } = &self.gates[gate];
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        overtaken.store(0, Ordering::Relaxed);
        self.claimed.fetch_or(bit(gate), Ordering::Relaxed);
        Claim {
            claimed: &self.claimed,
            bit: bit(gate),
            _writer: writer,
        }
    }

    #[cold]
    fn give_way(&self, claimed: usize) {
        let claimed_gates = (0..GATES).filter(|gate| claimed & bit(*gate) != 0);
        for gate in claimed_gates.map(|gate| &self.gates[gate]) {
            if gate.overtaken.fetch_add(1, Ordering::Relaxed) >= OVERTAKES {
                drop(gate.writer.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

fn gate_of(shard: usize) -> usize {
    shard % GATES
}

fn bit(gate: usize) -> usize {
    1 << gate
}

/// A gate that a writer holds. It is released even if `Hash` or `Eq` of a key panics.
struct Claim<'t> {
    claimed: &'t AtomicUsize,
    bit: usize,
    // Unlocked after the bit is cleared: the next writer sets it again.
    _writer: MutexGuard<'t, ()>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.claimed.fetch_and(!self.bit, Ordering::Relaxed);
    }
}
