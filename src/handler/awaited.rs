//! A state behind a lock, for which threads wait, and one task.

use std::panic::RefUnwindSafe;
use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::report::panic::PanicOrigin;
use crate::report::scope::Reporter;

pub(crate) struct Awaited<S> {
    inner: Mutex<Inner<S>>,
    changed: Condvar,
    /// Receives the panics of wakers: they are the executor's code, which may do anything.
    reporter: Reporter,
}

struct Inner<S> {
    state: S,
    /// How many threads wait: without one, a change need not make a system call.
    waiting: usize,
    /// The waker of the waiting task; there is at most one.
    waker: Option<Waker>,
}

// The state is behind a lock, and no user code runs under it.
impl<S> RefUnwindSafe for Awaited<S> {}

impl<S> Awaited<S> {
    pub(crate) fn new(state: S, reporter: Reporter) -> Self {
        let inner = Inner {
            state,
            waiting: 0,
            waker: None,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            reporter,
        }
    }

    pub(crate) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Uses the state, in a way that ends no wait. `f` runs under the lock.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.lock().state)
    }

    /// Changes the state, and wakes those who wait if `change` returns `true` with its result.
    /// `change` runs under the lock.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut S) -> (R, bool)) -> R {
        let mut inner = self.lock();
        let (result, ends_waits) = change(&mut inner.state);
        if ends_waits {
            let (waker, waiting) = (inner.waker.take(), inner.waiting);
            drop(inner);
            if waiting != 0 {
                self.changed.notify_all();
            }
            if let Some(waker) = waker {
                self.reporter.guard(PanicOrigin::Waker, || waker.wake());
            }
        }
        result
    }

    /// Blocks the thread until `done` returns a result, or returns `None` after the deadline.
    pub(crate) fn wait<R>(
        &self,
        deadline: Option<Instant>,
        mut done: impl FnMut(&mut S) -> Option<R>,
    ) -> Option<R> {
        let mut inner = self.lock();
        loop {
            if let Some(result) = done(&mut inner.state) {
                return Some(result);
            }
            let time = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if time.is_some_and(|time| time.is_zero()) {
                return None;
            }
            inner.waiting += 1;
            inner = if let Some(time) = time {
                let woken = self.changed.wait_timeout(inner, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let woken = self.changed.wait(inner);
                woken.unwrap_or_else(PoisonError::into_inner)
            };
            inner.waiting -= 1;
        }
    }

    /// Returns what `done` returns; if that is `None`, the next change wakes this task.
    ///
    /// A panic of the waker's `Clone` unwinds to the executor that polls: nothing has changed then.
    pub(crate) fn poll<R>(
        &self,
        waker: &Waker,
        mut done: impl FnMut(&mut S) -> Option<R>,
    ) -> Poll<R> {
        if let Some(result) = self.with(&mut done) {
            return Poll::Ready(result);
        }
        // Cloned before the lock is taken and dropped after it is released: both run the executor's
        // code. The waker of another task may be the last owner of that task.
        let waker = waker.clone();
        let mut inner = self.lock();
        let (polled, unused) = match done(&mut inner.state) {
            Some(result) => (Poll::Ready(result), Some(waker)),
            None => (Poll::Pending, inner.waker.replace(waker)),
        };
        drop(inner);
        self.discard(unused);
        polled
    }

    /// Forgets the task that waited, which waits no longer.
    pub(crate) fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        self.discard(waker);
    }

    fn discard(&self, waker: Option<Waker>) {
        self.reporter.guard(PanicOrigin::Destructor, || drop(waker));
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
