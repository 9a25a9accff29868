//! A mailbox: a handler leaves values in it, and a thread or a task waits for them.

use std::mem;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use std::{error, fmt};

use crate::delivery::Outcome;
use crate::handler::Handler;
use crate::panic::catch_and_discard;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::wrapper::{Wrapped, Wrapper};
use crate::{Flavor, HandlerGuard, Registry};

pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    values: Vec<T>,
    /// Whether no more values can come.
    ended: bool,
    /// The waker of the waiting task; there is at most one.
    waker: Option<Waker>,
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
    /// Registers a handler with a mailbox. The handler is removed after `receive` has returned
    /// `Break`.
    #[track_caller]
    pub(crate) fn register_mailbox<T: Send + 'static>(
        &self,
        receive: impl Fn(&E, &Mailbox<T>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> (HandlerGuard, Arc<Mailbox<T>>) {
        let (options, mailbox) = (self.options(), Arc::new(Mailbox::new()));
        let header = options.header();
        let outer = header.duplicate();
        let registration = self.registration(header.id());
        let receives = Arc::clone(&mailbox);
        let handler = F::inline(header, move |event| {
            if receive(event, &receives).is_break() {
                registration.remove();
            }
            Outcome::Called
        });
        let sender = Sender {
            handler,
            mailbox: Arc::clone(&mailbox),
        };
        let id = options.add(F::wrap(Wrapped::new(outer, sender)));
        (self.guard(id), mailbox)
    }
}

/// A handler with a mailbox, which ends when the handler is removed. Its drop would be too late: a
/// dispatch or a pin may keep the handler while a thread or a task waits.
struct Sender<H: ?Sized, T> {
    handler: Arc<H>,
    mailbox: Arc<Mailbox<T>>,
}

impl<H, T> Wrapper for Sender<H, T>
where
    H: Handler + ?Sized + 'static,
    T: Send + 'static,
{
    type Handler = H;
    type Call = Arc<H>;

    fn begin(&self) -> Option<Arc<H>> {
        Some(Arc::clone(&self.handler))
    }

    fn removed(&self) {
        self.mailbox.end();
    }
}

/// Ends the mailbox. If the handler was not removed before, the registry is gone.
impl<H: ?Sized, T> Drop for Sender<H, T> {
    fn drop(&mut self) {
        self.mailbox.end();
    }
}

impl<T> Mailbox<T> {
    fn new() -> Self {
        let state = State {
            values: Vec::new(),
            ended: false,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
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
        let mut state = self.lock();
        if state.ended {
            // Not under the lock: its destructor is user code.
            drop(state);
            drop(value);
            return;
        }
        state.values.push(value);
        state.ended = is_last;
        self.changed(state);
    }

    /// Marks that no more values can come.
    fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        self.changed(state);
    }

    fn changed(&self, mut state: MutexGuard<'_, State<T>>) {
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            catch_and_discard(|| waker.wake());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().values.len()
    }

    /// Removes and returns all values.
    pub(crate) fn take(&self) -> Vec<T> {
        mem::take(&mut self.lock().values)
    }

    /// Waits until there are `count` values.
    pub(crate) fn wait(&self, count: usize, deadline: Option<Instant>) -> Result<(), WaitError> {
        let mut state = self.lock();
        while state.values.len() < count {
            if state.ended {
                return Err(WaitError::Removed);
            }
            let Some(deadline) = deadline else {
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return Err(WaitError::TimedOut);
            }
            let woken = self.changed.wait_timeout(state, time);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Waits as [`wait`](Self::wait) does, but no longer than `timeout`. If the deadline is too far
    /// away to be represented, there is none.
    pub(crate) fn wait_timeout(&self, count: usize, timeout: Duration) -> Result<(), WaitError> {
        self.wait(count, Instant::now().checked_add(timeout))
    }

    /// Takes a value. Ready with `None` if there is none and none can come any more.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<T>> {
        // Cloned before the lock is taken and dropped after it is released: both run the executor's
        // code.
        let waker = context.waker().clone();
        let mut state = self.lock();
        let value = state.values.pop();
        let (polled, unused) = if value.is_some() || state.ended {
            (Poll::Ready(value), Some(waker))
        } else {
            (Poll::Pending, state.waker.replace(waker))
        };
        drop(state);
        drop(unused);
        polled
    }

    /// Removes the waker of a task that no longer waits.
    pub(crate) fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        catch_and_discard(|| drop(waker));
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the values. Any owner may be the last one, so panics of their destructors are not
/// reported.
impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        // One by one: if a second destructor panicked while the first one unwinds, the process
        // would abort.
        for value in self.take() {
            catch_and_discard(|| drop(value));
        }
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
