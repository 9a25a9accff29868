//! What real threads do to each other, by invariants that no schedule may break.
//!
//! Each test runs for a short time by default, and for ten seconds and longer with
//! `cargo test --release --test stress -- --ignored`.

mod growth;
mod hostile;
mod lanes;
mod observers;
mod progress;
mod removals;
mod subscriptions;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(10);

/// Runs `work` on `threads` threads, beside `disturb` on two more, for about `time`; how
/// often `work` ran.
fn race(time: Duration, threads: u64, work: impl Fn(u64) + Sync, disturb: impl Fn() + Sync) -> u64 {
    let (rounds, done, start) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (work, rounds) = (&work, &rounds);
                scope.spawn(move || {
                    while start.elapsed() < time {
                        work(thread);
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    disturb();
                }
            });
        }
        // Also if one of them has failed, for the disturbers to end.
        let outcomes: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok), "a worker has failed");
    });
    rounds.into_inner()
}

/// Runs `f` on a thread of its own; fails, naming `what`, if it does not end.
fn within<R: Send + 'static>(what: &str, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // The receiver is gone if the time was up.
        let _ = sender.send(panic::catch_unwind(AssertUnwindSafe(f)));
    });
    match receiver.recv_timeout(Duration::from_secs(120)) {
        Ok(Ok(result)) => result,
        Ok(Err(payload)) => panic::resume_unwind(payload),
        Err(RecvTimeoutError::Timeout) => panic!("hung: {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("lost: {what}"),
    }
}
