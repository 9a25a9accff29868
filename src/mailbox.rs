//! Where a handler leaves values for a thread or a task that waits for them.

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
    /// Nothing comes any more.
    ended: bool,
    /// Of the task that waits. It is one at most.
    waker: Option<Waker>,
}

/// Why a wait for events ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitError {
    /// The handler was removed in some other way, or its registry is gone: nothing comes any more.
    Removed,
    /// It did not come within that time.
    TimedOut,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Registers a handler with a mailbox. After `receive` has returned `Break`, it is removed.
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

/// A handler with a mailbox, which ends when the handler is removed. When the handler is dropped
/// would be too late: a dispatch or a pin may keep it, and somebody waits.
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

/// The registry is gone, if nobody has removed the handler.
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

    /// Leaves a value, unless nothing is to come any more: then it is dropped here.
    pub(crate) fn push(&self, value: T) {
        self.leave(value, false);
    }

    /// Leaves the last value, as [`push`](Self::push) does.
    pub(crate) fn push_last(&self, value: T) {
        self.leave(value, true);
    }

    fn leave(&self, value: T, is_last: bool) {
        let mut state = self.lock();
        if state.ended {
            // Not under the lock: its destructor is the user's.
            drop(state);
            drop(value);
            return;
        }
        state.values.push(value);
        state.ended = is_last;
        self.changed(state);
    }

    /// Says that nothing comes any more.
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

    /// Takes what has come.
    pub(crate) fn take(&self) -> Vec<T> {
        mem::take(&mut self.lock().values)
    }

    /// Waits until so many values are there.
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

    /// As [`wait`](Self::wait), for that long. A time that is too far away to be told is none.
    pub(crate) fn wait_timeout(&self, count: usize, timeout: Duration) -> Result<(), WaitError> {
        self.wait(count, Instant::now().checked_add(timeout))
    }

    /// Takes a value, or `None` if there is none and none comes any more.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<T>> {
        // Cloned before and dropped after the lock is held: both run code of the executor's.
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

    /// Forgets the task that waited, which waits no longer.
    pub(crate) fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        catch_and_discard(|| drop(waker));
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last owner may be anybody, so nobody is told of what destructors throw.
impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        // Each by itself: a second one that panics while the first unwinds would abort.
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
