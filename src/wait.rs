//! [`WaitFor`]: the first event that fits, for a thread or a task that waits for it.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::mailbox::{Mailbox, WaitError};
use crate::{Flavor, HandlerGuard, HandlerId, Registry};

/// Waits for the first event that a closure makes something of; made by [`Registry::wait_for`].
///
/// A task awaits it: it is a future of `Some`, or of `None` if its handler was removed otherwise, or
/// its registry is gone. A thread calls [`wait`](Self::wait) or
/// [`wait_timeout`](Self::wait_timeout). Dropping it unregisters the handler.
#[must_use = "dropping it ends the wait at once: bind it, `let waiting = ...`"]
pub struct WaitFor<T> {
    guard: HandlerGuard,
    found: Arc<Mailbox<T>>,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Waits for the first event of which `f` makes something.
    ///
    /// The handler is registered when this returns, not when the wait begins: an event between the
    /// two is not missed. It is removed by the first event that fits, and no longer registered when
    /// the wait returns; of several events at once, on whichever threads, one wins, and what was made of
    /// the others is dropped. `f` runs inline, also in an async registry, in its turn at priority 0.
    ///
    /// ```
    /// use std::thread;
    /// use std::time::Duration;
    /// use topic_registry::{SyncRegistry, WaitError};
    ///
    /// let jobs = SyncRegistry::<str>::new();
    /// let mut done = jobs.wait_for(|line| line.strip_prefix("done: ").map(str::to_owned));
    /// assert_eq!(done.wait_timeout(Duration::ZERO), Err(WaitError::TimedOut));
    ///
    /// thread::spawn(move || jobs.notify("done: 3 files"));
    /// assert_eq!(done.wait().as_deref(), Ok("3 files"));
    /// ```
    #[track_caller]
    pub fn wait_for<T, P>(&self, f: P) -> WaitFor<T>
    where
        T: Send + 'static,
        P: Fn(&E) -> Option<T> + Send + Sync + 'static,
    {
        let (guard, found) = self.register_mailbox(move |event, found| match f(event) {
            Some(value) => {
                found.push_last(value);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        });
        WaitFor { guard, found }
    }
}

impl<T> WaitFor<T> {
    /// Returns the id of the handler that waits.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.guard.id()
    }

    /// Blocks the thread until an event fits, and returns what was made of it.
    ///
    /// Do not call it from async code, nor from a handler that the event waits for.
    ///
    /// # Errors
    ///
    /// If the handler was removed otherwise, or its registry is gone.
    pub fn wait(self) -> Result<T, WaitError> {
        let waited = self.found.wait(1, None);
        waited.and_then(|()| self.take())
    }

    /// Blocks the thread, as [`wait`](Self::wait) does, but for no longer than that; may be called again. A
    /// time of 0 only looks.
    ///
    /// # Errors
    ///
    /// As `wait`, also if what was waited for was returned before; and if no event that fits came
    /// within that time.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<T, WaitError> {
        let waited = self.found.wait_timeout(1, timeout);
        waited.and_then(|()| self.take())
    }

    fn take(&self) -> Result<T, WaitError> {
        self.guard.remove();
        self.found.take().pop().ok_or(WaitError::Removed)
    }
}

impl<T> Future for WaitFor<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let polled = self.found.poll(context);
        if polled.is_ready() {
            self.guard.remove();
        }
        polled
    }
}

/// Not woken by the end of the handler: a task that polls it and drops it in each of its own polls
/// would never come to rest.
impl<T> Drop for WaitFor<T> {
    fn drop(&mut self) {
        self.found.forget_waker();
    }
}

// What a panic leaves behind is behind a lock.
impl<T> UnwindSafe for WaitFor<T> {}
impl<T> RefUnwindSafe for WaitFor<T> {}

impl<T> fmt::Debug for WaitFor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitFor").field(&self.id()).finish()
    }
}
