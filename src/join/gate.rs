//! The gate through which the calls of a joinable handler enter and leave.
//!
//! The handler is owned by its gate and by the calls that are inside. A call drops its reference
//! before it leaves, and the thread that closes the gate counts as inside until it has dropped the
//! gate's reference. So when the gate is closed and nothing is inside, the closure has been
//! dropped. Once the gate is closed, no call enters any more.

use std::sync::{Arc, PoisonError, Weak};
use std::task::Waker;
use std::time::Instant;

use crate::handler::Handler;
use crate::join::ThreadId;
use crate::panic::catch_and_discard;
use crate::primitive::atomic::{Ordering, fence};
use crate::primitive::{Condvar, Mutex, MutexGuard};
use crate::wrapper::{Call, Wrapper};

/// The entrance to a gate, which lists hold. It closes the gate when the last list that holds it is
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
    /// For each call that is inside, the thread on which it began; likewise for a call that drops
    /// the handler.
    inside: Vec<ThreadId>,
    /// The waker of the waiting task; there is at most one, because there is one guard.
    waker: Option<Waker>,
}

/// A [`Gate`] of any handler.
pub(crate) trait Gated: Send + Sync {
    /// Closes the gate: no call enters any more.
    fn close(self: Arc<Self>);

    /// Returns the threads that are inside.
    fn inside(&self) -> Vec<ThreadId>;

    /// Waits until nothing is inside. Returns whether that happened before the deadline.
    fn wait_until_empty(&self, deadline: Option<Instant>) -> bool;

    /// Returns whether nothing is inside. Otherwise, the last call to leave wakes this task.
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "only tasks wait that way")
    )]
    fn is_empty_or_wakes(&self, waker: &Waker) -> bool;

    /// Forgets the task that waited, which waits no longer.
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "only tasks wait that way")
    )]
    fn forget_waker(&self);
}

/// Closes a gate, and returns it; `None` if it is gone, and with it the handler.
pub(crate) fn close(gate: &Weak<dyn Gated>) -> Option<Arc<dyn Gated>> {
    let gate = gate.upgrade();
    match &gate {
        Some(gate) => Arc::clone(gate).close(),
        // For the releases of those who owned it, one of whom dropped the handler: `upgrade` finds that there
        // is no owner by a relaxed load.
        None => fence(Ordering::Acquire),
    }
    gate
}

impl<H: Handler + ?Sized> Gate<H> {
    pub(crate) fn new(handler: Arc<H>) -> Self {
        let state = State {
            handler: Some(handler),
            // For up to four calls at once; more of them allocate.
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
        // Cloned before the lock is taken and dropped after it is released: both run the executor's
        // code.
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

    fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        catch_and_discard(|| drop(waker));
    }
}

/// A call that is inside, with its reference to the handler.
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

/// Drops the call's reference to the handler before the call leaves. By then, the payload of a
/// panic of the call has been dropped, too.
impl<H: Handler + ?Sized> Drop for Inside<H> {
    fn drop(&mut self) {
        // A slot reports a panic of its closure's destructor; nothing unwinds out of it.
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
