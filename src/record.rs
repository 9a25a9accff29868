//! [`Recorder`]: what tests want to know of the events that came.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::mailbox::{Mailbox, WaitError};
use crate::{Flavor, HandlerGuard, HandlerId, Registry};

/// Records what a closure makes of each event, until it is dropped; made by [`Registry::record`].
#[must_use = "dropping it ends the recording at once: bind it, `let recorder = ...`"]
pub struct Recorder<T> {
    guard: HandlerGuard,
    log: Arc<Mailbox<T>>,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Records what `f` makes of each event, for a test to look at.
    ///
    /// `f` runs inline, also in an async registry, in its turn at priority 0. What it makes is kept
    /// until it is [taken](Recorder::take): each event takes a lock, and memory.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let recorder = saves.record(str::to_owned);
    /// saves.notify("one.toml").assert_no_panics();
    /// saves.notify("two.toml").assert_no_panics();
    /// assert_eq!(recorder.take(), ["one.toml", "two.toml"]);
    /// ```
    #[track_caller]
    pub fn record<T, P>(&self, f: P) -> Recorder<T>
    where
        T: Send + 'static,
        P: Fn(&E) -> T + Send + Sync + 'static,
    {
        let (guard, log) = self.register_mailbox(move |event, log| {
            log.push(f(event));
            ControlFlow::Continue(())
        });
        Recorder { guard, log }
    }
}

impl<T> Recorder<T> {
    /// Returns the id of the handler that records.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.guard.id()
    }

    /// Takes what was recorded since the last `take`, in the order in which it came.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        self.log.take()
    }

    /// Returns how much was recorded since the last [`take`](Self::take).
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Returns whether nothing was recorded since the last [`take`](Self::take).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Blocks the thread until so many events are recorded since the last [`take`](Self::take), but
    /// for no longer than that. For events that other threads notify.
    ///
    /// # Errors
    ///
    /// If they do not come within that time, or never, because the handler was removed or its registry
    /// is gone.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<(), WaitError> {
        self.log.wait_timeout(count, timeout)
    }
}

// What a panic leaves behind is behind a lock.
impl<T> UnwindSafe for Recorder<T> {}
impl<T> RefUnwindSafe for Recorder<T> {}

impl<T> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("id", &self.id())
            .field("len", &self.len())
            .finish()
    }
}
