//! Whoever needs a shard for itself comes through beside look-ups by key, however many there are.
//!
//! What counts is progress: how many look-ups pass while a writer makes one round. That hangs
//! neither on the speed of the machine nor on how many threads share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use topic_registry::TopicRegistry;

use crate::within;

type Topics = TopicRegistry<String, u64>;

/// How many look-ups may pass for each round of a writer, on average.
const PASSES_A_ROUND: u64 = 100_000;

/// How many may pass during the longest: two cores make as many in two to four seconds. A writer
/// that is not kept waiting may still wait for a core, for a tenth of that.
const PASSES_OF_THE_LONGEST: u64 = 50_000_000;

/// One round of a writer, which takes a shard exclusively at least once; and its name.
type Round = (&'static str, fn(&Topics, u64));

const ROUNDS: [Round; 5] = [
    ("a handler beside others", |topics, _| {
        let id = topics.register("key", |_| {});
        assert!(topics.unregister("key", id));
    }),
    ("a topic's only handler", |topics, _| {
        let id = topics.register("lonely", |_| {});
        assert!(topics.unregister("lonely", id));
    }),
    ("handles of other keys", |topics, n| {
        drop(topics.handle(format!("other {}", n % 64)));
    }),
    ("a removal that is waited for", |topics, _| {
        let joinable = topics.handle("key").options().joinable().register(|_| {});
        // A thread that is inside may not run for longer than that.
        let _ = joinable.join_timeout(Duration::from_millis(10));
    }),
    ("all topics", |topics, _| {
        topics.clear();
        topics.register("key", |_| {});
    }),
];

/// How far a writer has come beside look-ups.
struct Progress {
    goal: u64,
    rounds: AtomicU64,
    passes: AtomicU64,
    at_last_round: AtomicU64,
    is_starved: AtomicBool,
}

impl Progress {
    fn of(goal: u64) -> Self {
        Self {
            goal,
            rounds: AtomicU64::new(0),
            passes: AtomicU64::new(0),
            at_last_round: AtomicU64::new(0),
            is_starved: AtomicBool::new(false),
        }
    }

    fn goes_on(&self) -> bool {
        let is_starved = self.is_starved.load(Ordering::Relaxed);
        self.rounds.load(Ordering::Relaxed) < self.goal && !is_starved
    }

    /// Looks keys up until the writer is done, or has starved.
    fn look_up(&self, topics: &Topics) {
        while self.goes_on() {
            for _ in 0..128 {
                topics.notify("key", &0);
                topics.notify("lonely", &0);
            }
            let passes = self.passes.fetch_add(256, Ordering::Relaxed) + 256;
            let of_this_round = passes.saturating_sub(self.at_last_round.load(Ordering::Relaxed));
            if passes > self.goal * PASSES_A_ROUND || of_this_round > PASSES_OF_THE_LONGEST {
                self.is_starved.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Makes the rounds; how many look-ups passed during the longest.
    fn write(&self, topics: &Topics, round: fn(&Topics, u64)) -> u64 {
        let mut longest = 0;
        for n in (0..self.goal).take_while(|_| self.goes_on()) {
            round(topics, n);
            let passes = self.passes.load(Ordering::Relaxed);
            let before = self.at_last_round.swap(passes, Ordering::Relaxed);
            longest = longest.max(passes - before);
            self.rounds.fetch_add(1, Ordering::Relaxed);
        }
        longest
    }
}

/// Has one thread make each kind of round beside threads that look keys up, and `churners` that
/// make and drop handles of other keys all the time.
fn writers_come_through(rounds: u64, look_ups: usize, churners: usize) {
    for (what, round) in ROUNDS {
        let case = format!("{what}, beside {look_ups} look-ups and {churners} writers");
        let (progress, longest) = within(&case, move || {
            let (topics, progress) = (Topics::new(), Progress::of(rounds));
            topics.register("key", |_| {});
            let longest = thread::scope(|scope| {
                for _ in 0..look_ups {
                    scope.spawn(|| progress.look_up(&topics));
                }
                for _ in 0..churners {
                    scope.spawn(|| {
                        for n in (0..64).cycle().take_while(|_| progress.goes_on()) {
                            drop(topics.handle(format!("churn {n}")));
                        }
                    });
                }
                // Until all of them are likely to be at it.
                while progress.passes.load(Ordering::Relaxed) < 100_000 {
                    thread::yield_now();
                }
                progress.write(&topics, round)
            });
            (progress, longest)
        });
        let (rounds, passes) = (progress.rounds.into_inner(), progress.passes.into_inner());
        let so_far = format!("{rounds} rounds, {passes} passes, {longest} during the longest");
        assert_eq!(rounds, progress.goal, "starved: {case}: {so_far}");
        println!("{case}: {so_far}");
    }
}

const FEW: u64 = 1_000;
const MANY: u64 = 20_000;

#[test]
fn a_writer_comes_through_beside_four_look_ups() {
    writers_come_through(FEW, 4, 0);
}

#[test]
fn a_writer_comes_through_beside_sixteen_look_ups() {
    writers_come_through(FEW, 16, 0);
}

#[test]
fn a_writer_comes_through_beside_thirty_two_look_ups() {
    writers_come_through(FEW, 32, 0);
}

#[test]
fn a_writer_comes_through_beside_look_ups_and_another_writer() {
    writers_come_through(FEW, 4, 1);
    writers_come_through(FEW, 16, 1);
}

#[test]
#[ignore = "takes a minute"]
fn writers_come_through_beside_look_ups_for_long() {
    for look_ups in [4, 16, 32] {
        writers_come_through(MANY, look_ups, 0);
        writers_come_through(MANY, look_ups, 1);
    }
}
