//! [`Room`]: where the calls of a joinable handler are while they run.
//!
//! The handler is owned by its room and by the calls that are inside. A call drops its reference
//! before it leaves, and the thread that closes the room counts as inside until it has dropped the
//! room's reference. Once it is closed, no call enters any more. So when it is closed and empty,
//! the closure has been dropped.

use std::cell::Cell;
#[cfg(feature = "async")]
use std::mem;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

use crate::handler::Handler;
use crate::handler::awaited::Awaited;
use crate::handler::counted::Counted;
use crate::primitive::atomic::{Ordering, fence};
use crate::primitive::{Serials, thread_local_const};

pub(crate) struct Room<H: ?Sized> {
    state: Awaited<State<H>>,
}

struct State<H: ?Sized> {
    /// `None` once the room is closed.
    handler: Option<Counted<H>>,
    /// For each call that is inside, the thread that runs it; and the thread that closes the room,
    /// while it drops the handler.
    inside: Vec<ThreadId>,
}

/// A [`Room`] of any handler.
pub(crate) trait AnyRoom: Send + Sync + RefUnwindSafe {
    /// Closes the room: no call enters any more.
    fn close(self: Arc<Self>);

    /// Returns the threads that are inside. No thread runs a future that waits for its next poll.
    fn inside(&self) -> Vec<ThreadId>;

    /// Waits until nothing is inside. Returns whether that happened before the deadline.
    fn wait_until_empty(&self, deadline: Option<Instant>) -> bool;

    /// Is ready when nothing is inside. Otherwise, the last call to leave wakes this task.
    fn poll_until_empty(&self, waker: &Waker) -> Poll<()>;

    /// Forgets the task that waited, which waits no longer.
    fn forget_waker(&self);
}

/// Closes a room, and returns it; `None` if it is gone, and with it the handler.
pub(crate) fn close(room: &Weak<dyn AnyRoom>) -> Option<Arc<dyn AnyRoom>> {
    let room = room.upgrade();
    match &room {
        Some(room) => Arc::clone(room).close(),
        // Pairs with the releases of the former owners, one of whom dropped the handler: `upgrade`
        // finds by a relaxed load that no owner is left.
        None => fence(Ordering::Acquire),
    }
    room
}

impl<H: Handler + ?Sized> Room<H> {
    pub(crate) fn new(handler: Counted<H>) -> Self {
        let reporter = handler.header().reporter();
        let state = State {
            handler: Some(handler),
            // For up to four calls at once; more of them allocate.
            inside: Vec::with_capacity(4),
        };
        Self {
            state: Awaited::new(state, reporter),
        }
    }

    /// Lets a call in, unless the room is closed.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Visit<H>> {
        self.let_in(|handler| handler.clone())
    }

    fn let_in(
        self: &Arc<Self>,
        share: impl FnOnce(&mut Option<Counted<H>>) -> Option<Counted<H>>,
    ) -> Option<Visit<H>> {
        let visitor = ThreadId::current();
        let handler = self.state.with(|state| {
            let handler = share(&mut state.handler)?;
            state.inside.push(visitor);
            Some(handler)
        })?;
        Some(Visit {
            room: Arc::clone(self),
            handler: Some(handler),
            visitor,
        })
    }
}

impl<H: Handler + ?Sized + 'static> AnyRoom for Room<H> {
    fn close(self: Arc<Self>) {
        drop(self.let_in(Option::take));
    }

    fn inside(&self) -> Vec<ThreadId> {
        self.state.with(|state| state.inside.clone())
    }

    fn wait_until_empty(&self, deadline: Option<Instant>) -> bool {
        self.state.wait(deadline, State::is_empty).is_some()
    }

    fn poll_until_empty(&self, waker: &Waker) -> Poll<()> {
        self.state.poll(waker, State::is_empty)
    }

    fn forget_waker(&self) {
        self.state.forget_waker();
    }
}

impl<H: ?Sized> State<H> {
    fn is_empty(&mut self) -> Option<()> {
        self.inside.is_empty().then_some(())
    }
}

/// A call that is inside, with its reference to the handler.
pub(crate) struct Visit<H: Handler + ?Sized> {
    room: Arc<Room<H>>,
    // `None` only while it is dropped.
    handler: Option<Counted<H>>,
    visitor: ThreadId,
}

impl<H: Handler + ?Sized> Visit<H> {
    pub(crate) fn handler(&self) -> &H {
        let handler = self.handler.as_deref();
        handler.expect("taken only by its own destructor")
    }
}

#[cfg(feature = "async")]
impl<H: Handler + ?Sized> Visit<H> {
    /// Makes this the call of a future that waits for its next poll: no thread runs it.
    pub(crate) fn suspend(&mut self) {
        self.move_to(ThreadId::NONE);
    }

    /// Makes this a call that the current thread runs.
    pub(crate) fn resume(&mut self) {
        self.move_to(ThreadId::current());
    }

    fn move_to(&mut self, visitor: ThreadId) {
        let from = mem::replace(&mut self.visitor, visitor);
        if from == visitor {
            return;
        }
        self.room.state.with(|state| {
            // Calls of one thread stand for each other.
            if let Some(inside) = state.inside.iter_mut().rfind(|inside| **inside == from) {
                *inside = visitor;
            }
        });
    }
}

/// Drops the call's reference to the handler before the call leaves. By then, the payload of a
/// panic of the call has been dropped, too.
impl<H: Handler + ?Sized> Drop for Visit<H> {
    fn drop(&mut self) {
        // A handler reports a panic of its closure's destructor; nothing unwinds out of it.
        drop(self.handler.take());
        self.room.state.change(|state| {
            let at = state.inside.iter().rposition(|other| *other == self.visitor);
            if let Some(at) = at {
                state.inside.swap_remove(at);
            }
            ((), state.handler.is_none() && state.inside.is_empty())
        });
    }
}

/// A thread's id. Unlike `std::thread::ThreadId`, it is available even while the thread is torn
/// down.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct ThreadId(u64);

impl ThreadId {
    #[cfg(feature = "async")]
    const NONE: Self = Self(0);

    pub(crate) fn current() -> Self {
        static SERIALS: Serials = Serials::new();
        thread_local_const!(ID: Cell<u64> = Cell::new(0));
        ID.with(|id| {
            if id.get() == 0 {
                id.set(SERIALS.next());
            }
            Self(id.get())
        })
    }
}
