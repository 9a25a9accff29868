//! Measures several things in turn, so that whatever slows the machine slows all of them.
//!
//! Where the heap puts things makes the same code up to a quarter faster or slower. So
//! everything is made anew several times, among other allocations each time.

use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::time::Duration;

use benches::Work;

/// Makes what is measured.
pub(crate) type Make = Box<dyn Fn() -> Work>;

/// How much to measure.
pub(crate) struct Plan {
    /// How often everything is made anew.
    pub(crate) makes: usize,
    /// How many batches of each are timed then.
    pub(crate) rounds: usize,
    /// How long a batch is to take.
    pub(crate) batch: Duration,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        makes: 20,
        rounds: 100,
        batch: Duration::from_micros(200),
    };
    pub(crate) const PLOT: Self = Self {
        makes: 6,
        rounds: 20,
        batch: Duration::from_micros(200),
    };
    pub(crate) const QUICK: Self = Self {
        makes: 3,
        rounds: 11,
        batch: Duration::from_micros(50),
    };
}

/// The nanoseconds that each takes for one time, batch by batch. What is at the same place in
/// two of the lists was measured one right after the other.
pub(crate) fn in_turn(makes: &[Make], plan: &Plan) -> Vec<Vec<f64>> {
    let mut nanos = vec![Vec::new(); makes.len()];
    for turn in 0..plan.makes {
        let _padding = padding();
        let mut order: Vec<usize> = (0..makes.len()).collect();
        order.rotate_left(turn % makes.len());
        let ready = |at: usize| (at, Sized::new(makes[at](), plan.batch));
        let mut works: Vec<_> = order.into_iter().map(ready).collect();
        for _ in 0..plan.rounds {
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
struct Sized {
    work: Work,
    times: u32,
}

impl Sized {
    /// Also warms it up.
    fn new(work: Work, batch: Duration) -> Self {
        let mut sized = Self { work, times: 1 };
        let doublings = iter::repeat_with(|| {
            let took = sized.work.run(sized.times.into());
            let enough = took >= batch / 2;
            if !enough {
                sized.times *= 2;
            }
            enough
        });
        doublings.take(24).find(|enough| *enough);
        sized
    }

    fn nanos(&mut self) -> f64 {
        let took = self.work.run(self.times.into());
        took.as_secs_f64() * 1e9 / f64::from(self.times)
    }
}

/// Allocations of random number and size, with gaps between them.
fn padding() -> Vec<Box<[u8]>> {
    let mut blocks: Vec<Box<[u8]>> = (0..random(64))
        .map(|_| vec![0; random(512)].into())
        .collect();
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

/// The value that this share of the others is below.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "it is a place in the list"
    )]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}
