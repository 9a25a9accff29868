//! Measures several things in turn, so that whatever slows the machine slows all of them.
//!
//! Where the heap puts things makes the same code up to a quarter faster or slower. So
//! everything is made anew several times, among other allocations each time. Where the linker
//! puts the code is up to `compare`, which runs the same measurements in several links.

use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::time::{Duration, Instant};

use crate::Work;

/// Makes what is measured.
pub type Make = Box<dyn Fn() -> Work>;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often everything is made anew.
    pub makes: usize,
    /// How long each is measured then.
    pub time: Duration,
    /// How long a batch may take.
    pub batch: Duration,
}

/// However slow something is, so many batches of it are timed.
const LEAST_ROUNDS: usize = 3;

/// Returns the nanoseconds that each takes for one time, batch by batch. What is at the same
/// place in two of the lists was measured one right after the other.
pub fn in_turn(makes: &[Make], plan: &Plan) -> Vec<Vec<f64>> {
    let mut nanos = vec![Vec::new(); makes.len()];
    let time = plan.time * u32::try_from(makes.len()).unwrap_or(1);
    for turn in 0..plan.makes {
        let _padding = padding();
        let mut order: Vec<usize> = (0..makes.len()).collect();
        order.rotate_left(turn % makes.len());
        let ready = |at: usize| (at, Batches::new(makes[at](), plan.batch));
        let mut works: Vec<_> = order.into_iter().map(ready).collect();
        let start = Instant::now();
        for round in 0.. {
            if round >= LEAST_ROUNDS && start.elapsed() >= time {
                break;
            }
            for (at, work) in &mut works {
                nanos[*at].push(work.nanos());
            }
            // Another one is first in each round.
            works.rotate_left(1);
        }
    }
    nanos
}

/// Work in batches of the right length.
struct Batches {
    work: Work,
    times: u32,
}

impl Batches {
    /// Also warms it up.
    fn new(work: Work, batch: Duration) -> Self {
        let mut batches = Self { work, times: 1 };
        let doublings = iter::repeat_with(|| {
            let took = batches.work.run(batches.times.into());
            let enough = took >= batch / 2;
            if !enough {
                batches.times *= 2;
            }
            enough
        });
        doublings.take(24).find(|enough| *enough);
        batches
    }

    fn nanos(&mut self) -> f64 {
        let took = self.work.run(self.times.into());
        took.as_secs_f64() * 1e9 / f64::from(self.times)
    }
}

/// Allocations of random number and size, with gaps between them.
fn padding() -> Vec<Box<[u8]>> {
    let mut blocks: Vec<Box<[u8]>> = (0..random(64)).map(|_| vec![0; random(512)].into()).collect();
    let mut keep = false;
    blocks.retain(|_| {
        keep = !keep;
        keep
    });
    blocks
}

fn random(below: usize) -> usize {
    let bits = RandomState::new().hash_one(());
    usize::try_from(bits % below as u64).unwrap_or(0)
}

/// Returns the median: not a number, if there are no values.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => sorted[even / 2 - 1].midpoint(sorted[even / 2]),
        odd => sorted[odd / 2],
    }
}
