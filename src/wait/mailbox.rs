//! A mailbox: a handler leaves values in it, and a thread or a task waits for them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{error, fmt, mem};

use crate::handler::awaited::Awaited;
use crate::handler::delivery::Outcome;
use crate::handler::flavor::{EventRef, Flavor};
use crate::handler::guard::HandlerGuard;
use crate::handler::stopwatch;
use crate::handler::wrapped::{Around, End, Wrapped};
use crate::registry::Registry;
use crate::report::panic::PanicOrigin;
use crate::report::scope::Reporter;

pub(crate) struct Mailbox<T> {
    state: Awaited<State<T>>,
}

struct State<T> {
    values: Vec<T>,
    /// Whether no more values can come.
    ended: bool,
}

/// The reason why a wait for events failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitError {
    /// The handler was removed in some other way, or its registry is gone: no event can come any
    /// more.
    Removed,
    /// The events did not come within the time limit.
    TimedOut,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Registers a handler with a mailbox, in which `leave` leaves what `user` returned. The
    /// handler is removed after `leave` has returned `Break`.
    #[track_caller]
    pub(crate) fn register_mailbox<T: Send + 'static, V>(
        &self,
        user: impl Fn(EventRef<'_, '_, F, E>) -> V + Send + Sync + 'static,
        leave: impl Fn(&Mailbox<T>, V) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Receiver<T> {
        let options = self.options();
        let header = options.header();
        let mailbox = Arc::new(Mailbox::new(header.reporter()));
        let outer = header.duplicate();
        let registration = self.registration(header.id());
        let receives = Arc::clone(&mailbox);
        let handler = stopwatch::inline::<F, E, V>(header, user, move |value| {
            if leave(&receives, value).is_break() {
                registration.remove();
            }
            Outcome::Called
        });
        let waited: Arc<dyn End> = mailbox.clone();
        let around = Around::Waited(handler, waited);
        let id = options.add(F::wrap(Wrapped::new(outer, around)));
        let guard = self.guard(id);
        Receiver { guard, mailbox }
    }
}

/// The receiving end of a mailbox. Values that were not taken are dropped with it, even if a
/// dispatch or a pin keeps the handler.
pub(crate) struct Receiver<T> {
    pub(crate) guard: HandlerGuard,
    pub(crate) mailbox: Arc<Mailbox<T>>,
}

/// Removes the handler. The end of the handler does not wake the task: a task that polls and drops
/// a wait in each of its own polls would otherwise be woken endlessly.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // The values report their panics to it, and the topic may go with this handler.
        let _scope = self.mailbox.state.reporter().scope();
        self.mailbox.state.forget_waker();
        // Before the values are dropped: no more can come then, even from a call that has begun, or
        // while another thread is still removing the handler.
        self.mailbox.end();
        self.guard.remove();
        self.mailbox.clear();
    }
}

impl<T: Send> End for Mailbox<T> {
    fn end(&self) {
        Mailbox::end(self);
    }
}

impl<T> Mailbox<T> {
    fn new(reporter: Reporter) -> Self {
        let state = State {
            values: Vec::new(),
            ended: false,
        };
        Self {
            state: Awaited::new(state, reporter),
        }
    }

    /// Adds a value. If the mailbox has ended, the value is dropped here.
    pub(crate) fn push(&self, value: T) {
        self.leave(value, false);
    }

    /// Adds the last value, as [`push`](Self::push) does, and ends the mailbox.
    pub(crate) fn push_last(&self, value: T) {
        self.leave(value, true);
    }

    fn leave(&self, value: T, is_last: bool) {
        let late = self.state.change(|state| {
            if state.ended {
                return (Some(value), false);
            }
            state.values.push(value);
            state.ended = is_last;
            (None, true)
        });
        // Not under the lock: its destructor is user code.
        drop(late);
    }

    /// Marks that no more values can come.
    fn end(&self) {
        self.state.change(|state| {
            state.ended = true;
            ((), true)
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.state.with(|state| state.values.len())
    }

    /// Removes and returns all values.
    pub(crate) fn take(&self) -> Vec<T> {
        self.state.with(|state| mem::take(&mut state.values))
    }

    /// Drops the values, and reports panics of their destructors.
    fn clear(&self) {
        let mut values = self.take();
        values.reverse();
        // One by one: if a second destructor panicked while the first one unwinds, the process
        // would abort.
        while let Some(rest) = values.len().checked_sub(1) {
            let reporter = self.state.reporter();
            reporter.guard(PanicOrigin::Destructor, || values.truncate(rest));
        }
    }

    /// Waits until there are `count` values.
    pub(crate) fn wait(&self, count: usize, deadline: Option<Instant>) -> Result<(), WaitError> {
        let waited = self.state.wait(deadline, |state| {
            if state.values.len() >= count {
                return Some(Ok(()));
            }
            state.ended.then_some(Err(WaitError::Removed))
        });
        waited.unwrap_or(Err(WaitError::TimedOut))
    }

    /// Waits as [`wait`](Self::wait) does, but no longer than `timeout`. If the deadline is too far
    /// away to be represented, there is none.
    pub(crate) fn wait_timeout(&self, count: usize, timeout: Duration) -> Result<(), WaitError> {
        self.wait(count, Instant::now().checked_add(timeout))
    }

    /// Takes a value. Ready with `None` if there is none and none can come any more.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<T>> {
        self.state.poll(context.waker(), |state| {
            let value = state.values.pop();
            (value.is_some() || state.ended).then_some(value)
        })
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Removed => "the handler that waits was removed before the event came",
            Self::TimedOut => "the event did not come in time",
        })
    }
}

impl error::Error for WaitError {}
