//! Several threads that notify at once.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::keys::{Keyed, filled_with};
use crate::{Churn, Notify, Place, Shared, Subject, Work, notify_once, ours};

/// How many handlers each of the topics has.
const HANDLERS: u64 = 4;

/// So many times more is run than was asked for: a batch must be long beside what it takes
/// to start its threads.
const LONGER: u32 = 4;

/// One subject that all of the threads notify.
#[must_use]
pub fn sharing<S: Subject + Shared>(threads: usize) -> Work {
    let subject = S::with_handlers(HANDLERS);
    Work::timed(move |times| race(vec![&subject; threads], times))
}

/// A handle a thread, all of one topic.
#[must_use]
pub fn with_own_handles(threads: usize) -> Work {
    let handles = vec![ours::Handle::with_handlers(HANDLERS); threads];
    Work::timed(move |times| race(handles.clone(), times))
}

/// A pin a thread, all of one topic.
#[must_use]
pub fn with_own_pins(threads: usize) -> Work {
    let handle = ours::Handle::with_handlers(HANDLERS);
    Work::timed(move |times| race((0..threads).map(|_| handle.pin()).collect(), times))
}

/// A topic a thread: nothing is shared.
#[must_use]
pub fn with_own_topics(threads: usize) -> Work {
    let topics = (0..threads).map(|_| ours::Handle::with_handlers(HANDLERS));
    let topics: Vec<_> = topics.collect();
    Work::timed(move |times| race(topics.iter().collect(), times))
}

/// Notifies topics by key, of so many topics at random.
struct AtRandom<'t, M> {
    topics: &'t M,
    keys: &'t [String],
    random: u32,
}

impl<M: Keyed> Notify for AtRandom<'_, M> {
    type Answer = M::Answer;

    #[inline(always)]
    fn call(&mut self, event: &u64) -> M::Answer {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = (self.random >> 16) as usize % self.keys.len();
        self.topics.notify(&self.keys[at], event)
    }
}

/// Topics of four handlers that all of the threads notify by key, each in its own order.
#[must_use]
pub fn by_key<M: Keyed>(threads: usize, topics: u64) -> Work {
    let (topics, keys, _handles) = filled_with::<M>(topics, HANDLERS);
    Work::timed(move |times| {
        let at_random = |random| AtRandom {
            topics: &topics,
            keys: &keys,
            random,
        };
        race((0..).take(threads).map(at_random).collect(), times)
    })
}

/// One handle that all of the threads notify, while one more registers and removes.
#[must_use]
pub fn beside_a_writer(threads: usize) -> Work {
    let handle = ours::Handle::with_handlers(HANDLERS);
    Work::timed(move |times| {
        let (mut writer, stop) = (handle.clone(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    writer.churn(Place::End.priority());
                }
            });
            let time = race(vec![&handle; threads], times);
            stop.store(true, Ordering::Relaxed);
            time
        })
    })
}

/// Each notifies on a thread of its own, so many times; how long the slowest took, divided by
/// the number of threads: what one notification costs all of them together.
fn race<N: Notify + Send>(subjects: Vec<N>, times: u64) -> Duration {
    let threads = subjects.len();
    let waiting = AtomicUsize::new(threads);
    let run = |mut subject: N| {
        waiting.fetch_sub(1, Ordering::Relaxed);
        // They sleep on nothing, so that they start together.
        while waiting.load(Ordering::Relaxed) != 0 {
            spin_loop();
        }
        let start = Instant::now();
        for event in 0..times * u64::from(LONGER) {
            notify_once(&mut subject, black_box(&event));
        }
        start.elapsed()
    };
    let slowest = thread::scope(|scope| {
        let spawn = |subject| scope.spawn(|| run(subject));
        let running: Vec<_> = subjects.into_iter().map(spawn).collect();
        let times = running.into_iter().filter_map(|thread| thread.join().ok());
        times.max().unwrap_or_default()
    });
    slowest.div_f64(f64::from(LONGER) * f64::from(u32::try_from(threads).unwrap_or(u32::MAX)))
}
