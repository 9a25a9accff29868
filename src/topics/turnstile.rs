//! Look-ups in the topic map that take no lock, and writers that come through beside look-ups.
//!
//! The shards of the map are behind gates. A writer claims the gate of its shard. A look-up
//! announces in its thread's record that it is behind a gate, or it takes the shard's lock and
//! gives way to writers. One word says which gates are claimed, and whether the map is *biased* to
//! look-ups, as it is most of the time:
//!
//! ```text
//! look up  biased, and the gate not claimed: announce the gate; load the word again; if that is
//!          still so, read the shard without its lock. Take the announcement back
//!          otherwise: give way; read the shard with its lock
//! write    lock the gate; claim it; if the map was biased, or its bias was ending: wait until no
//!          record announces the gate. Write to the shard with its lock; release the gate; unlock it
//! begin    after many look-ups that took a lock: from neither to biased
//! end      after some writers since then: from biased to ending; look for a moment for a time when
//!          no record announces a gate of the map; from ending to neither, or back to biased
//! ```
//!
//! # Why no look-up reads beside a writer
//!
//! All that a writer does with a shard comes after its claim and before its release, and all
//! changes of the word are read-modify-writes. A look-up with the lock is kept out by the lock.
//! Take a look-up `L` without it, whose second load found the map biased and the gate not claimed.
//!
//! *Writers that came before.* The word that `L` found belongs to the release sequences of their
//! releases, and its load is an acquire. So it reads after they have written.
//!
//! *A writer `W` whose claim comes later in the modification order of the word.* The announcement,
//! the second load, the claim, the step from biased to ending, and the loads of the records are
//! sequentially consistent. The second load comes before the claim in their single total order,
//! because it found an earlier word. If `W` finds the map biased or ending, it loads the records
//! after that, and so it sees the announcement of `L` and waits, or it sees what the slot holds
//! later. That was stored after `L` had read: by a release, or by steps that continue its release
//! sequence. If `W` finds neither, the bias that `L` found has ended in between. So the thread that
//! took the step to ending has seen the same of `L` as `W` would have, and `W` comes after its
//! release, the step to neither.
//!
//! *Records* are never freed. A new one is pushed by a step of the same total order before its
//! thread announces anything. A thread that ends gives its record back by a release, without an
//! announcement.
//!
//! *Deadlocks.* A look-up that is announced waits for no writer, no gate and no lock, unless `Eq`
//! or `Borrow` of a key uses the same map, or waits for a thread that does: that hangs with a lock
//! as well. A look-up inside of one of another map takes the lock.
//!
//! # Who is first
//!
//! A claim lets no further look-up in without the lock, so a writer waits for as many as there are
//! threads. `dashmap`'s locks prefer readers: as long as look-ups overlap, a writer waits. So a
//! look-up that finds the gate claimed may overtake the writer as long as fewer than [`OVERTAKES`]
//! others have; after that, it waits until the writer has left. A look-up waits for the writer that
//! holds the gate, and for the writers that the gate's lock admits before it.
//!
//! # When the map is biased
//!
//! A look-up without a lock writes nothing that others read, so threads do not slow each other
//! down. In return, each writer looks at all records. With many writers, this costs more than it
//! saves: so the bias ends after some writers, and begins after so many look-ups that it costs them
//! a small part of that. There is one bias for the whole map, so that the processor can predict it.
//! It is not ended by force: a look-up whose thread does not run would hold up all others.
//!
//! All counts only say what to try. They publish nothing and protect nothing, so they are relaxed.
//! A gate is always locked before the shard, and never under the lock of a shard.

use std::ops::Range;
use std::sync::PoisonError;
use std::{array, ptr};

use crate::primitive::atomic::{AtomicU32, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard};
use crate::topics::look_up;
use crate::topics::look_up::LookUp;

/// The number of gates: shards `n` and `n + GATES` share one. There are few where interleavings are
/// explored, because each gate adds to them.
const GATES: usize = if cfg!(any(loom, shuttle)) { 2 } else { 16 };

/// Look-ups need no lock. (Below it, there is a bit for each gate.)
const BIASED: usize = 1 << GATES;

/// Look-ups need the lock, but some that do without may be inside.
const ENDING: usize = BIASED << 1;

/// How many look-ups may overtake a writer: enough for look-ups to make progress beside many short
/// writes, and few enough for a writer to wait for microseconds only.
const OVERTAKES: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 64 };

/// How many samples of look-ups begin a bias, and how many of them at least for each record:
/// writers look at all records as long as there is a bias.
const SAMPLES: u32 = if IS_EAGER { 1 } else { 64 };
const SAMPLES_A_RECORD: u32 = if IS_EAGER { 0 } else { 16 };

/// How many writers end a bias.
const WRITERS: u32 = if IS_EAGER { 2 } else { 16 };

/// Whether little is enough to begin and to end a bias, so that all code paths are explored.
pub(super) const IS_EAGER: bool = cfg!(any(loom, shuttle, miri, hot_lanes));

pub(crate) struct Turnstile {
    /// A bit for each gate that a writer holds, and `BIASED` or `ENDING` or neither.
    state: AtomicUsize,
    gates: [Gate; GATES],
    counts: Counts,
}

struct Gate {
    /// How many look-ups have overtaken the writer that holds the gate.
    overtaken: AtomicU32,
    writer: Mutex<()>,
}

// Apart from the state, which each look-up loads.
#[repr(align(128))]
struct Counts {
    /// How many samples there were since a bias ended.
    samples: AtomicU32,
    /// How many samples begin the next one.
    needed: AtomicU32,
    /// How many writers there were since the bias began.
    writers: AtomicU32,
}

impl Turnstile {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicUsize::new(0),
            gates: array::from_fn(|_| Gate {
                overtaken: AtomicU32::new(0),
                writer: Mutex::new(()),
            }),
            counts: Counts {
                samples: AtomicU32::new(0),
                needed: AtomicU32::new(SAMPLES),
                writers: AtomicU32::new(0),
            },
        }
    }

    /// Lets a look-up in the shard in. Returns `None` if it must take the shard's lock; by then it
    /// has given way to a writer, if necessary.
    #[inline(always)]
    pub(super) fn enter(&self, shard: usize) -> Option<LookUp> {
        let bit = bit(gate_of(shard));
        // Step first_look of tests/protocols/gates.tla.
        let is_let_in = |state: usize| state & (BIASED | bit) == BIASED;
        // Relaxed: the second load decides. A look-up that is not let in does not announce itself,
        // or a writer might see one after the other.
        let state = self.state.load(Ordering::Relaxed);
        if is_let_in(state) {
            // Step second_look of tests/protocols/gates.tla.
            let again = || is_let_in(self.state.load(Ordering::SeqCst));
            let entered = LookUp::announce(self.address_of(gate_of(shard)), again);
            if entered.is_some() {
                return entered;
            }
        }
        self.before_lock(state, bit);
        None
    }

    /// Prepares for a look-up with the lock.
    #[inline]
    fn before_lock(&self, state: usize, bit: usize) {
        // Step before_lock of tests/protocols/gates.tla.
        if state & BIASED != 0 {
            // For the next one.
            look_up::attach();
        } else if look_up::is_sample() {
            self.sample();
        }
        if state & bit != 0 {
            self.give_way(bit);
        }
    }

    /// Counts a sample, and begins a bias after so many.
    #[cold]
    fn sample(&self) {
        let samples = self.counts.samples.fetch_add(1, Ordering::Relaxed) + 1;
        if samples >= self.counts.needed.load(Ordering::Relaxed) {
            self.counts.writers.store(0, Ordering::Relaxed);
            // Step begin_bias of tests/protocols/gates.tla.
            let begin = |state| (state & (BIASED | ENDING) == 0).then_some(state | BIASED);
            // Relaxed: it publishes nothing new, and continues the release sequences of the word.
            let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin);
        }
    }

    /// Ends the bias, unless a look-up takes long. Returns whether this call has ended it.
    fn end_bias(&self) -> bool {
        // Step end_bias of tests/protocols/gates.tla.
        let end = |state| (state & BIASED != 0).then_some(state ^ BIASED ^ ENDING);
        if self.state.fetch_update(Ordering::SeqCst, Ordering::Relaxed, end).is_err() {
            return false;
        }
        // From here on, only this thread can end the state `ENDING`.
        let ended = look_up::end_soon(&self.addresses());
        if let Some(records) = ended {
            let needed = SAMPLES.max(records.saturating_mul(SAMPLES_A_RECORD));
            self.counts.needed.store(needed, Ordering::Relaxed);
            self.counts.samples.store(0, Ordering::Relaxed);
        } else {
            self.counts.writers.store(0, Ordering::Relaxed);
        }
        // Steps ended and go_back of tests/protocols/gates.tla.
        let next = if ended.is_some() { 0 } else { BIASED };
        // A release, for the writers that find neither, and do not wait.
        self.state.fetch_xor(ENDING ^ next, Ordering::Release);
        ended.is_some()
    }

    /// Gives way to writers, if necessary, before an operation on all shards.
    pub(super) fn before_look_at_all(&self) {
        self.give_way(self.state.load(Ordering::Relaxed));
    }

    /// Runs `work`, which locks the shard exclusively.
    pub(super) fn with_shard<R>(&self, shard: usize, work: impl FnOnce() -> R) -> R {
        let _claim = self.claim(gate_of(shard));
        work()
    }

    /// Returns whether each look-up in the shard that had begun without the lock has ended. Waits
    /// for a moment only, keeps none from beginning, and is no writer that counts. Without a bias,
    /// it does not try.
    pub(super) fn look_ups_end_soon(&self, shard: usize) -> bool {
        let gate = self.address_of(gate_of(shard));
        // Relaxed: what it returns is true with and without a bias.
        // Step look_ups_end_soon of tests/protocols/gates.tla.
        self.state.load(Ordering::Relaxed) & BIASED != 0
            && look_up::end_soon(&(gate..gate + 1)).is_some()
    }

    fn claim(&self, gate: usize) -> Claim<'_> {
        let Gate { overtaken, writer } = &self.gates[gate];
        // Step lock_gate of tests/protocols/gates.tla.
        let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        overtaken.store(0, Ordering::Relaxed);
        // Step claim of tests/protocols/gates.tla.
        let was = self.state.fetch_or(bit(gate), Ordering::SeqCst);
        let claim = Claim {
            state: &self.state,
            bit: bit(gate),
            _writer: writer,
        };
        if was & (BIASED | ENDING) != 0 {
            self.wait_for_look_ups(gate);
        }
        claim
    }

    fn wait_for_look_ups(&self, gate: usize) {
        let writers = self.counts.writers.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever ends the bias has waited for all gates.
        if writers < WRITERS || !self.end_bias() {
            look_up::wait_for(self.address_of(gate));
        }
    }

    /// Returns the address that stands for a gate: no other gate has it, of this map or another.
    #[inline(always)]
    fn address_of(&self, gate: usize) -> usize {
        self.addresses().start + gate
    }

    #[inline(always)]
    fn addresses(&self) -> Range<usize> {
        const { assert!(size_of::<Self>() >= GATES, "an address for each gate") };
        let first = ptr::from_ref(self).addr();
        first..first + GATES
    }

    #[cold]
    fn give_way(&self, claimed: usize) {
        let claimed_gates = (0..GATES).filter(|gate| claimed & bit(*gate) != 0);
        for gate in claimed_gates.map(|gate| &self.gates[gate]) {
            // Step give_way of tests/protocols/gates.tla.
            if gate.overtaken.fetch_add(1, Ordering::Relaxed) >= OVERTAKES {
                // Step wait_for_writer of tests/protocols/gates.tla.
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
    state: &'t AtomicUsize,
    bit: usize,
    // Unlocked after the bit is cleared: the next writer sets it again.
    // Step unlock_gate of tests/protocols/gates.tla.
    _writer: MutexGuard<'t, ()>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // A release, for the look-ups that are let in later.
        // Step release of tests/protocols/gates.tla.
        self.state.fetch_and(!self.bit, Ordering::Release);
    }
}

#[cfg(all(test, feature = "fast-lane", not(any(loom, shuttle))))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::{BIASED, ENDING, GATES, OVERTAKES, SAMPLES, Turnstile, WRITERS, bit};
    use crate::topics::look_up::LOOK_UPS_A_SAMPLE;

    /// How many look-ups of one thread begin the first bias.
    const ENOUGH: usize = (SAMPLES * LOOK_UPS_A_SAMPLE) as usize;

    /// Runs a test on a thread that has looked up nothing yet.
    fn on_a_new_thread(test: impl FnOnce(&Turnstile) + Send + 'static) {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            test(&Turnstile::new());
            sender.send(()).expect("the test waits");
        });
        match receiver.recv_timeout(Duration::from_secs(60)) {
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("hung: a look-up or a writer"),
            _ => thread.join().expect("the test passes"),
        }
    }

    fn state(turnstile: &Turnstile) -> usize {
        turnstile.state.load(Ordering::Relaxed)
    }

    fn needs_no_lock(turnstile: &Turnstile, shard: usize) -> bool {
        turnstile.enter(shard).is_some()
    }

    /// Looks up until one look-up is let in. Returns how many were not.
    fn bias(turnstile: &Turnstile) -> usize {
        let with_lock = (0..1_000_000).position(|_| needs_no_lock(turnstile, 0));
        with_lock.expect("a bias begins")
    }

    fn write(turnstile: &Turnstile, times: u32) {
        (0..times).for_each(|_| turnstile.with_shard(0, || ()));
    }

    #[test]
    fn each_part_of_the_state_has_a_bit_of_its_own() {
        let bits = (0..GATES).map(bit).chain([BIASED, ENDING]);
        assert_eq!(bits.sum::<usize>(), 2 * ENDING - 1);
    }

    #[test]
    fn enough_look_ups_begin_a_bias_and_enough_writers_end_it() {
        on_a_new_thread(|turnstile| {
            // One more for the thread's record.
            assert_eq!(bias(turnstile), ENOUGH + 1);
            assert_eq!(state(turnstile), BIASED);
            write(turnstile, WRITERS - 1);
            assert!(needs_no_lock(turnstile, 0), "writers were too few");
            write(turnstile, 1);
            assert_eq!(state(turnstile), 0);
            assert!(!needs_no_lock(turnstile, 0));
            // By as many samples as before, or more if there are many records.
            let begins_again = bias(turnstile);
            assert!(begins_again >= ENOUGH - 1, "{begins_again}");
            write(turnstile, WRITERS - 1);
            assert!(needs_no_lock(turnstile, 0), "writers count anew");
        });
    }

    #[test]
    fn a_writer_keeps_look_ups_behind_its_gate_out_and_no_others() {
        for at in [0, 1, GATES - 1] {
            on_a_new_thread(move |turnstile| {
                bias(turnstile);
                let passes = |shard| needs_no_lock(turnstile, shard);
                turnstile.with_shard(at, || {
                    for shard in 0..2 * GATES {
                        assert_eq!(passes(shard), shard % GATES != at, "{shard} beside {at}");
                    }
                });
                assert!((0..2 * GATES).all(passes));
            });
        }
    }

    #[test]
    fn a_look_up_that_takes_long_keeps_the_bias() {
        on_a_new_thread(|turnstile| {
            bias(turnstile);
            for gate in 1..GATES {
                let _inside = turnstile.enter(gate).expect("it is let in");
                write(turnstile, 2 * WRITERS);
                assert_eq!(state(turnstile), BIASED, "beside a look-up behind {gate}");
            }
            write(turnstile, WRITERS);
            assert_eq!(state(turnstile), 0);
        });
    }

    #[test]
    fn a_look_up_in_another_map_keeps_no_bias() {
        on_a_new_thread(|_| {
            let maps = [(); 2].map(|()| Turnstile::new());
            for [map, other] in [[&maps[0], &maps[1]], [&maps[1], &maps[0]]] {
                bias(map);
                bias(other);
                let _inside = other.enter(0).expect("it is let in");
                write(map, WRITERS);
                assert_eq!(state(map), 0);
            }
        });
    }

    /// The last of the writers before tries to end the bias, and cannot.
    #[test]
    fn a_writer_waits_for_the_look_up_behind_its_gate() {
        on_a_new_thread(|turnstile| {
            let is_done = AtomicBool::new(false);
            for writers_before in [0, WRITERS - 1].repeat(10) {
                bias(turnstile);
                write(turnstile, writers_before);
                is_done.store(false, Ordering::Relaxed);
                let inside = turnstile.enter(1).expect("it is let in");
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let is_done = || is_done.load(Ordering::Relaxed);
                        turnstile.with_shard(1, || assert!(is_done(), "it did not wait"));
                    });
                    while state(turnstile) & bit(1) == 0 {
                        thread::yield_now();
                    }
                    // Time for a writer that would not wait.
                    (0..50).for_each(|_| thread::yield_now());
                    is_done.store(true, Ordering::Relaxed);
                    drop(inside);
                });
                write(turnstile, WRITERS);
            }
        });
    }

    #[test]
    fn a_bias_neither_begins_nor_ends_while_one_ends() {
        on_a_new_thread(|turnstile| {
            for state_before in [ENDING, 0] {
                turnstile.state.store(state_before, Ordering::Relaxed);
                assert!(!turnstile.end_bias());
                assert_eq!(state(turnstile), state_before);
            }
            turnstile.state.store(ENDING, Ordering::Relaxed);
            (0..SAMPLES).for_each(|_| turnstile.sample());
            assert_eq!(state(turnstile), ENDING);
            let writers = || turnstile.counts.writers.load(Ordering::Relaxed);
            write(turnstile, 1);
            assert_eq!(writers(), 1, "it waits for look-ups");
            turnstile.state.store(0, Ordering::Relaxed);
            write(turnstile, 1);
            assert_eq!(writers(), 1, "there is none to wait for");
        });
    }

    #[test]
    fn whether_look_ups_end_soon_is_asked_of_one_gate_while_there_is_a_bias() {
        on_a_new_thread(|turnstile| {
            assert!(!turnstile.look_ups_end_soon(0), "without a bias");
            bias(turnstile);
            assert!((0..2 * GATES).all(|shard| turnstile.look_ups_end_soon(shard)));
            let _inside = turnstile.enter(1).expect("it is let in");
            for shard in 0..2 * GATES {
                assert_eq!(turnstile.look_ups_end_soon(shard), shard % GATES != 1);
            }
        });
    }

    #[test]
    fn look_ups_overtake_a_writer_so_often_and_then_wait_for_it() {
        on_a_new_thread(|turnstile| {
            let is_done = AtomicBool::new(false);
            let overtaken = || turnstile.gates[1].overtaken.load(Ordering::Relaxed);
            drop(turnstile.enter(1));
            assert_eq!(overtaken(), 0, "there is no writer");
            thread::scope(|scope| {
                turnstile.with_shard(1, || {
                    // Behind another gate, nobody waits, and nobody is counted.
                    (0..2 * OVERTAKES).for_each(|_| drop(turnstile.enter(0)));
                    turnstile.before_look_at_all();
                    (1..OVERTAKES).for_each(|_| drop(turnstile.enter(1)));
                    assert_eq!(overtaken(), OVERTAKES);
                    scope.spawn(|| {
                        drop(turnstile.enter(1));
                        assert!(is_done.load(Ordering::Relaxed), "it did not wait");
                    });
                    while overtaken() == OVERTAKES {
                        thread::yield_now();
                    }
                    is_done.store(true, Ordering::Relaxed);
                });
            });
            write(turnstile, 1);
            turnstile.with_shard(1, || assert_eq!(overtaken(), 0, "of the writer before"));
        });
    }
}
