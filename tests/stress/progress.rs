//! Whoever needs a shard for itself comes through beside look-ups by key, however many there are;
//! and look-ups come through beside writers.
//!
//! What counts is progress: how often the others pass during one round. That hangs neither on the
//! speed of the machine nor on how many threads share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::TopicRegistry;

use crate::within;

type Topics = TopicRegistry<String, u64>;

/// How often others may pass for each round, on average.
const PASSES_A_ROUND: u64 = 800_000;

/// How often during the longest, if they look up without a lock: two cores make as many in two to
/// four seconds. A writer that is not kept waiting may still wait for a core, or for a thread that
/// has none and is inside of a look-up, for a tenth of that.
const PASSES_OF_THE_LONGEST: u64 = 400_000_000;

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

/// How far one thread has come with its rounds, beside others that pass.
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

    /// Does this, which passes so often, until the rounds are done, or their thread has starved.
    fn pass(&self, times: u64, pass: impl Fn(u64)) {
        while self.goes_on() {
            pass(self.passes.load(Ordering::Relaxed));
            let passes = self.passes.fetch_add(times, Ordering::Relaxed) + times;
            let of_this_round = passes.saturating_sub(self.at_last_round.load(Ordering::Relaxed));
            if passes > self.goal * PASSES_A_ROUND || of_this_round > PASSES_OF_THE_LONGEST {
                self.is_starved.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Makes the rounds; how often others passed during the longest.
    fn make(&self, topics: &Topics, round: fn(&Topics, u64)) -> u64 {
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

    /// Fails, naming the case, if the thread has starved.
    fn check(self, case: &str, longest: u64, took: Duration) {
        let (rounds, passes) = (self.rounds.into_inner(), self.passes.into_inner());
        let so_far = format!("{rounds} rounds in {took:.1?}, {passes} passes");
        let so_far = format!("{so_far}, {longest} during the longest");
        assert_eq!(rounds, self.goal, "starved: {case}: {so_far}");
        println!("{case}: {so_far}");
    }
}

fn look_up(topics: &Topics) {
    for _ in 0..128 {
        topics.notify("key", &0);
        topics.notify("lonely", &0);
    }
}

/// Has one thread make each kind of round beside threads that look keys up, and `churners` that
/// make and drop handles of other keys all the time.
fn writers_come_through(rounds: u64, look_ups: usize, churners: usize) {
    for (what, round) in ROUNDS {
        let case = format!("{what}, beside {look_ups} look-ups and {churners} writers");
        let (progress, longest, took) = within(&case, move || {
            let (topics, progress) = (Topics::new(), Progress::of(rounds));
            topics.register("key", |_| {});
            let (longest, took) = thread::scope(|scope| {
                for _ in 0..look_ups {
                    scope.spawn(|| progress.pass(256, |_| look_up(&topics)));
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
                let start = Instant::now();
                (progress.make(&topics, round), start.elapsed())
            });
            (progress, longest, took)
        });
        progress.check(&case, longest, took);
    }
}

/// Has one thread look up beside so many that make and drop topics without a pause.
fn look_ups_come_through(rounds: u64, writers: usize) {
    const ROUND: fn(&Topics, u64) = |topics, _| look_up(topics);
    let case = format!("look-ups beside {writers} writers");
    let (progress, longest, took) = within(&case, move || {
        let (topics, progress) = (Topics::new(), Progress::of(rounds));
        topics.register("key", |_| {});
        let (longest, took) = thread::scope(|scope| {
            for writer in 0..writers {
                let (topics, progress) = (&topics, &progress);
                let churn = move |n| {
                    drop(topics.register_guard(format!("churn {writer} {}", n % 64), |_| {}));
                };
                scope.spawn(move || progress.pass(1, churn));
            }
            while progress.passes.load(Ordering::Relaxed) < 1_000 {
                thread::yield_now();
            }
            let start = Instant::now();
            (progress.make(&topics, ROUND), start.elapsed())
        });
        (progress, longest, took)
    });
    progress.check(&case, longest, took);
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
fn look_ups_come_through_beside_writers() {
    look_ups_come_through(FEW, 1);
    look_ups_come_through(FEW, 4);
}

#[test]
#[ignore = "takes a minute"]
fn writers_come_through_beside_look_ups_for_long() {
    for look_ups in [4, 16, 32] {
        writers_come_through(MANY, look_ups, 0);
        writers_come_through(MANY, look_ups, 1);
    }
}
