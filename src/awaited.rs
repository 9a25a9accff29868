//! A state behind a lock, for which threads wait, and one task.

use std::sync::PoisonError;
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::panic::catch_and_discard;
use crate::primitive::{Condvar, Mutex, MutexGuard};

pub(crate) struct Awaited<S> {
    inner: Mutex<Inner<S>>,
    changed: Condvar,
}

struct Inner<S> {
    state: S,
    /// The waker of the waiting task; there is at most one.
    waker: Option<Waker>,
}

impl<S> Awaited<S> {
    pub(crate) fn new(state: S) -> Self {
        let inner = Inner { state, waker: None };
        Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
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
            let waker = inner.waker.take();
            drop(inner);
            self.changed.notify_all();
            if let Some(waker) = waker {
                catch_and_discard(|| waker.wake());
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
            let Some(deadline) = deadline else {
                let woken = self.changed.wait(inner);
                inner = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return None;
            }
            let woken = self.changed.wait_timeout(inner, time);
            (inner, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns what `done` returns; if that is `None`, the next change wakes this task.
    pub(crate) fn poll<R>(&self, waker: &Waker, done: impl FnOnce(&mut S) -> Option<R>) -> Poll<R> {
        // Cloned before the lock is taken and dropped after it is released: both run the executor's
        // code.
        let waker = waker.clone();
        let mut inner = self.lock();
        let (polled, unused) = match done(&mut inner.state) {
            Some(result) => (Poll::Ready(result), Some(waker)),
            None => (Poll::Pending, inner.waker.replace(waker)),
        };
        drop(inner);
        drop(unused);
        polled
    }

    /// Forgets the task that waited, which waits no longer.
    pub(crate) fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        catch_and_discard(|| drop(waker));
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
