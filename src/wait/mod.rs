//! [`WaitFor`]: waits for the first matching event, in a thread or a task.

pub(crate) mod mailbox;
pub(crate) mod record;

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::handler::flavor::{EventRef, Flavor, SharedFlavor};
use crate::registry::Registry;
use crate::report::id::HandlerId;
use crate::wait::mailbox::{Receiver, WaitError};

/// A wait for the first event for which a closure returns `Some`; returned by
/// [`Registry::wait_for`].
///
/// A task awaits it, a thread calls [`wait`](Self::wait) or [`wait_timeout`](Self::wait_timeout):
/// all three return what the closure returned, or an error if the handler was removed in some other
/// way or its registry is gone. Dropping it removes the handler.
#[must_use = "dropping it ends the wait at once: bind it, `let waiting = ...`"]
pub struct WaitFor<T> {
    receiver: Receiver<T>,
}

impl<F: SharedFlavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Waits for the first event for which `f` returns `Some`. See the
    /// [guide](crate::guide#waiting-for-an-event).
    ///
    /// The handler is registered when this returns, not when the wait begins: an event between the
    /// two is not missed. The first matching event removes the handler, and it is no longer
    /// registered when the wait returns. If several events match at once, on any threads, one of
    /// them wins, and what `f` returned for the others is dropped. `f` runs inline, even in an
    /// async registry, as a handler with priority 0.
    ///
    /// The wait ends, without an event, when the handler is removed in some other way, or with the
    /// registry. It does not keep the registry alive. The waker of a task is the executor's code:
    /// if it panics when it is woken or dropped, that is counted and reported, and no event is
    /// lost.
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
        WaitFor::new(self, f)
    }
}

impl<T> WaitFor<T> {
    #[track_caller]
    pub(crate) fn new<F, E, P>(registry: &Registry<F, E>, f: P) -> Self
    where
        F: Flavor<E>,
        E: ?Sized + 'static,
        T: Send + 'static,
        P: Fn(EventRef<'_, '_, F, E>) -> Option<T> + Send + Sync + 'static,
    {
        let receiver = registry.register_mailbox(f, |found, value| match value {
            Some(value) => {
                found.push_last(value);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        });
        Self { receiver }
    }

    /// Returns the id of the handler that waits.
    ///
    /// ```
    /// use topic_registry::{SyncRegistry, WaitError};
    ///
    /// let jobs = SyncRegistry::<str>::new();
    /// let done = jobs.wait_for(|line| line.strip_prefix("done: ").map(str::to_owned));
    /// // A removal ends the wait.
    /// jobs.unregister(done.id());
    /// assert_eq!(done.wait(), Err(WaitError::Removed));
    /// ```
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.receiver.guard.id()
    }

    /// Blocks the thread until an event matches, and returns what the closure returned for it.
    ///
    /// Do not call it from async code, nor from a handler that must return before the event can
    /// come.
    ///
    /// # Errors
    ///
    /// If the handler was removed in some other way, or its registry is gone.
    pub fn wait(self) -> Result<T, WaitError> {
        let waited = self.receiver.mailbox.wait(1, None);
        waited.and_then(|()| self.take())
    }

    /// Blocks the thread, as [`wait`](Self::wait) does, but no longer than `timeout`; can be called
    /// again. A timeout of 0 only checks.
    ///
    /// # Errors
    ///
    /// As `wait`, and also if the result was returned by an earlier call, or if no matching event
    /// came within that time.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<T, WaitError> {
        let waited = self.receiver.mailbox.wait_timeout(1, timeout);
        waited.and_then(|()| self.take())
    }

    fn take(&self) -> Result<T, WaitError> {
        self.receiver.guard.remove();
        self.receiver.mailbox.take().pop().ok_or(WaitError::Removed)
    }
}

impl<T> Future for WaitFor<T> {
    type Output = Result<T, WaitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.receiver.mailbox.poll(context);
        if polled.is_ready() {
            self.receiver.guard.remove();
        }
        polled.map(|value| value.ok_or(WaitError::Removed))
    }
}

impl<T> fmt::Debug for WaitFor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitFor").field(&self.id()).finish()
    }
}
