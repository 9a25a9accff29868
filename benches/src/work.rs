//! [`Work`]: something to be run so many times, by the clock.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::{Churn, Place, Subject, notify_once, ours};

/// Something to be run so many times. It owns what it works on.
pub struct Work(Box<dyn FnMut(u64) -> Duration>);

impl Work {
    /// What is timed here.
    pub fn new(mut run: impl FnMut(u64) + 'static) -> Self {
        Self::timed(move |times| {
            let start = Instant::now();
            run(times);
            start.elapsed()
        })
    }

    /// What knows its time itself.
    pub fn timed(run: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self(Box::new(run))
    }

    /// Runs it; how long that took.
    pub fn run(&mut self, times: u64) -> Duration {
        (self.0)(times)
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// Notifies so many handlers.
#[must_use]
pub fn notifying<S: Subject>(handlers: u64) -> Work {
    let mut subject = S::with_handlers(handlers);
    Work::new(move |times| {
        for event in 0..times {
            notify_once(&mut subject, black_box(&event));
        }
    })
}

/// Registers a handler beside so many others, and removes it.
#[must_use]
pub fn churning<S: Churn>(beside: u64, place: Place) -> Work {
    let mut subject = S::with_handlers(beside);
    Work::new(move |times| {
        for _ in 0..times {
            subject.churn(black_box(place.priority()));
        }
    })
}

/// Notifies one handler so often, and then registers another and removes it.
#[must_use]
pub fn changing<S: Churn>(dispatches: u64) -> Work {
    let mut subject = S::with_handlers(1);
    Work::new(move |times| {
        for _ in 0..times {
            for event in 0..dispatches {
                notify_once(&mut subject, black_box(&event));
            }
            subject.churn(black_box(Place::End.priority()));
        }
    })
}

/// Registers some handlers together beside so many others, and removes them together.
#[must_use]
pub fn churning_at_once(handlers: u64, beside: u64) -> Work {
    let mut registry = ours::Registry::with_handlers(beside);
    Work::new(move |times| {
        for _ in 0..times {
            registry.churn_at_once(black_box(handlers));
        }
    })
}
