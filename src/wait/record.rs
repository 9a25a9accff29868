//! [`Recorder`]: records events, for tests.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::handler::flavor::{EventRef, Flavor, SharedFlavor};
use crate::registry::Registry;
use crate::report::id::HandlerId;
use crate::wait::mailbox::{Receiver, WaitError};

/// A recorder of what a closure makes of each event, until dropped; returned by
/// [`Registry::record`].
///
/// ```
/// use std::thread;
/// use std::time::Duration;
/// use topic_registry::SyncRegistry;
///
/// let saves = SyncRegistry::<str>::new();
/// let recorder = saves.record(str::len);
/// assert!(recorder.is_empty() && saves.contains(recorder.id()));
/// let sender = saves.clone();
/// thread::spawn(move || ["a", "bcd"].map(|path| sender.notify(path)));
/// recorder.wait_for_count(2, Duration::from_secs(10)).expect("they come");
/// assert_eq!((recorder.len(), recorder.take()), (2, vec![1, 3]));
/// ```
#[must_use = "dropping it ends the recording at once: bind it, `let recorder = ...`"]
pub struct Recorder<T> {
    receiver: Receiver<T>,
}

impl<F: SharedFlavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Records what `f` returns for each event, for tests. See the
    /// [guide](crate::guide#testing-code-that-uses-it).
    ///
    /// `f` runs inline, even in an async registry, as a handler with priority 0. What it returns is
    /// kept until it is [taken](Recorder::take), or dropped with the recorder: each event takes a
    /// lock, and memory. It makes a system call only if a thread waits.
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
        Recorder::new(self, f)
    }
}

impl<T> Recorder<T> {
    #[track_caller]
    pub(crate) fn new<F, E, P>(registry: &Registry<F, E>, f: P) -> Self
    where
        F: Flavor<E>,
        E: ?Sized + 'static,
        T: Send + 'static,
        P: Fn(EventRef<'_, '_, F, E>) -> T + Send + Sync + 'static,
    {
        let receiver = registry.register_mailbox(f, |log, value| {
            log.push(value);
            ControlFlow::Continue(())
        });
        Self { receiver }
    }

    /// Returns the id of the handler that records.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.receiver.guard.id()
    }

    /// Removes and returns what was recorded since the last `take`, in order.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        self.receiver.mailbox.take()
    }

    /// Returns the number of values that were recorded since the last [`take`](Self::take).
    #[must_use]
    pub fn len(&self) -> usize {
        self.receiver.mailbox.len()
    }

    /// Returns whether nothing was recorded since the last [`take`](Self::take).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Blocks the thread until `count` events have been recorded since the last
    /// [`take`](Self::take), but no longer than `timeout`. For events from other threads.
    ///
    /// # Errors
    ///
    /// If the events do not come within that time, or if no more can come because the handler was
    /// removed or its registry is gone.
    pub fn wait_for_count(&self, count: usize, timeout: Duration) -> Result<(), WaitError> {
        self.receiver.mailbox.wait_timeout(count, timeout)
    }
}

impl<T> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("id", &self.id())
            .field("len", &self.len())
            .finish()
    }
}
