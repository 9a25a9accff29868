//! Counts the bytes that are requested of the heap, while it is asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use benches::keys::{Keyed, name};
use benches::ours::Topics;
use benches::protocol::{Pair, row_name};

use crate::{HandMade, MAP};

/// The system's allocator. It only looks at one flag while nobody weighs anything.
pub(crate) struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

fn grow(size: usize, sign: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        let by = sign * i64::try_from(size).unwrap_or(i64::MAX);
        let live = LIVE.fetch_add(by, Ordering::Relaxed) + by;
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        grow(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What weighs one side, if so many topics come and go.
type Weigh = fn(u64) -> f64;

/// Weighs ours and the hand-made map.
pub(crate) fn rows(only: &str, topics: u64) -> impl Iterator<Item = Pair> {
    let rows: [(String, Option<f64>, [Weigh; 2]); 4] = [
        (
            "a topic, 0 handlers".into(),
            Some(1.0),
            [
                |_| a_topic::<Topics>(COUNT, 0),
                |_| a_topic::<HandMade>(COUNT, 0),
            ],
        ),
        (
            "a topic, 1 handler".into(),
            Some(1.0),
            [
                |_| a_topic::<Topics>(COUNT, 1),
                |_| a_topic::<HandMade>(COUNT, 1),
            ],
        ),
        (
            format!("{topics} topics that come and go, at most"),
            None,
            [
                |n| come_and_gone::<Topics>(n).peak,
                |n| come_and_gone::<HandMade>(n).peak,
            ],
        ),
        (
            format!("{topics} topics that come and go, at the end"),
            None,
            [
                |n| come_and_gone::<Topics>(n).kept,
                |n| come_and_gone::<HandMade>(n).kept,
            ],
        ),
    ];
    let asked = rows.into_iter().filter(move |(what, ..)| row_name(what, MAP).contains(only));
    asked.map(move |(what, at_most, sides)| {
        let [ours, theirs] = sides.map(|side| side(topics));
        Pair {
            what,
            against: MAP.into(),
            unit: "bytes".into(),
            at_most,
            ours,
            theirs,
            ratio: ours / theirs,
        }
    })
}

/// So many topics are weighed together.
const COUNT: u32 = 100_000;

/// What some work did to the heap.
struct Weight {
    /// How many bytes it asked for and has not given back.
    kept: f64,
    /// The most that it had at any time.
    peak: f64,
}

/// Weighs what `work` returns, before that is dropped.
fn weigh<R>(work: impl FnOnce() -> R) -> Weight {
    for count in [&LIVE, &PEAK] {
        count.store(0, Ordering::Relaxed);
    }
    COUNTS.store(true, Ordering::Relaxed);
    // Dropped when nothing is counted any more.
    let _result = work();
    COUNTS.store(false, Ordering::Relaxed);
    let [kept, peak] = [&LIVE, &PEAK].map(exactly);
    Weight { kept, peak }
}

#[expect(clippy::cast_precision_loss, reason = "no heap is so large")]
fn exactly(count: &AtomicI64) -> f64 {
    count.load(Ordering::Relaxed) as f64
}

/// The bytes a topic, of so many. Their handles are kept, because without one an empty topic
/// goes; the list that they are in is not weighed.
pub(crate) fn a_topic<M: Keyed>(count: u32, handlers: u64) -> f64 {
    let mut kept = Vec::with_capacity(count as usize);
    let weight = weigh(|| {
        let topics = M::default();
        kept.extend((0..count).map(|n| topics.add(name(n.into()), handlers)));
        topics
    });
    weight.kept / f64::from(count)
}

/// So many topics of one handler are made, all of them are notified, and all are dropped.
fn come_and_gone<M: Keyed>(count: u64) -> Weight {
    weigh(|| {
        let topics = M::default();
        for n in 0..count {
            drop(topics.add(name(n), 1));
        }
        for n in 0..count {
            topics.notify(&name(n), &n);
        }
        for n in 0..count {
            topics.remove(&name(n));
        }
        topics
    })
}
