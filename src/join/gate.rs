//! Where the calls of a joinable handler enter and leave.
//!
//! The handler is shared between its gate and the calls that are inside. A call lets go of
//! its share before it leaves, and the one that closes the gate counts as inside until it has let
//! go of the gate's. So when the gate is closed and nobody is inside, the closure has been
//! dropped. Once it is closed nobody enters any more.

use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::handler::Handler;
use crate::join::ThreadId;
use crate::panic::catch_and_discard;
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::wrapper::{Call, Wrapper};

/// The way into a gate, as lists have it. It closes the gate when the last list that holds it is
/// gone, so that a handler that is removed in some other way is dropped then.
pub(crate) struct Entrance<H: Handler + ?Sized + 'static>(pub(crate) Arc<Gate<H>>);

impl<H: Handler + ?Sized + 'static> Wrapper for Entrance<H> {
    type Handler = H;
    type Call = Inside<H>;

    fn begin(&self) -> Option<Inside<H>> {
        self.0.enter(|handler| handler.clone())
    }
}

impl<H: Handler + ?Sized + 'static> Drop for Entrance<H> {
    fn drop(&mut self) {
        Arc::clone(&self.0).close();
    }
}

pub(crate) struct Gate<H: ?Sized> {
    state: Mutex<State<H>>,
    left: Condvar,
}

struct State<H: ?Sized> {
    /// `None` once the gate is closed.
    handler: Option<Arc<H>>,
    /// The thread on which it began, for each call that is inside, and for one that drops the
    /// handler.
    inside: Vec<ThreadId>,
    /// Of the task that waits. It is one at most, because there is one guard.
    waker: Option<Waker>,
}

/// A [`Gate`], whatever its handler is.
pub(crate) trait Gated: Send + Sync {
    /// Lets nobody in any more.
    fn close(self: Arc<Self>);

    /// The threads that are inside.
    fn inside(&self) -> Vec<ThreadId>;

    /// Waits until nobody is inside; returns whether that came to pass.
    fn wait_until_empty(&self, deadline: Option<Instant>) -> bool;

    /// Returns whether nobody is inside; if somebody is, the last to leave wakes this task.
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "only tasks wait that way")
    )]
    fn is_empty_or_wakes(&self, waker: &Waker) -> bool;
}

impl<H: Handler + ?Sized> Gate<H> {
    pub(crate) fn new(handler: Arc<H>) -> Self {
        let state = State {
            handler: Some(handler),
            // For a few calls at once; more of them allocate.
            inside: Vec::with_capacity(4),
            waker: None,
        };
        Self {
            state: Mutex::new(state),
            left: Condvar::new(),
        }
    }

    fn enter(
        self: &Arc<Self>,
        share: impl FnOnce(&mut Option<Arc<H>>) -> Option<Arc<H>>,
    ) -> Option<Inside<H>> {
        let mut state = self.lock();
        let handler = share(&mut state.handler)?;
        let visitor = ThreadId::current();
        state.inside.push(visitor);
        Some(Inside {
            gate: Arc::clone(self),
            handler: Some(handler),
            visitor,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Handler + ?Sized + 'static> Gated for Gate<H> {
    fn close(self: Arc<Self>) {
        drop(self.enter(Option::take));
    }

    fn inside(&self) -> Vec<ThreadId> {
        self.lock().inside.clone()
    }

    fn wait_until_empty(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while !state.inside.is_empty() {
            let Some(deadline) = deadline else {
                let woken = self.left.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return false;
            }
            let woken = self.left.wait_timeout(state, time);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    fn is_empty_or_wakes(&self, waker: &Waker) -> bool {
        // Cloned before and dropped after the lock is held: both run code of the executor's.
        let waker = waker.clone();
        let mut state = self.lock();
        let is_empty = state.inside.is_empty();
        let unused = if is_empty {
            Some(waker)
        } else {
            state.waker.replace(waker)
        };
        drop(state);
        drop(unused);
        is_empty
    }
}

/// A call that is inside, with its share of the handler.
pub(crate) struct Inside<H: Handler + ?Sized> {
    gate: Arc<Gate<H>>,
    // `None` only while it is dropped.
    handler: Option<Arc<H>>,
    visitor: ThreadId,
}

impl<H: Handler + ?Sized + 'static> Call<H> for Inside<H> {
    fn handler(&self) -> &H {
        let handler = self.handler.as_deref();
        handler.expect("taken only by its own destructor")
    }
}

/// The handler, and with it what the call's panic threw, is dropped before the call leaves.
impl<H: Handler + ?Sized> Drop for Inside<H> {
    fn drop(&mut self) {
        // A slot reports what the destructor of its closure throws; nothing unwinds out of it.
        drop(self.handler.take());
        let mut state = self.gate.lock();
        let at = state.inside.iter().rposition(|other| *other == self.visitor);
        if let Some(at) = at {
            state.inside.swap_remove(at);
        }
        if state.handler.is_some() || !state.inside.is_empty() {
            return;
        }
        let waker = state.waker.take();
        drop(state);
        self.gate.left.notify_all();
        if let Some(waker) = waker {
            catch_and_discard(|| waker.wake());
        }
    }
}
