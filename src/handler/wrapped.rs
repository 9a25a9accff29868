//! Handlers around other handlers: they do something at each call, and when the handler goes. Other
//! handlers pay nothing, because a dispatch does not know about them.

use std::ops::Deref;
use std::panic::RefUnwindSafe;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Poll;

use crate::handler::counted::Counted;
use crate::handler::room::{AnyRoom, Room, Visit};
use crate::handler::{Handler, Header};

/// A handler that takes the place of another one in lists, with the same id and priority.
pub(crate) struct Wrapped<H: Handler + ?Sized + 'static> {
    header: Header,
    around: Around<H>,
}

/// What is around the calls of a handler.
pub(crate) enum Around<H: Handler + ?Sized + 'static> {
    /// They enter and leave a room, which owns the handler.
    Room(Arc<Room<H>>),
    /// They leave values for someone who waits, until the handler is removed.
    Waited(Counted<H>, Arc<dyn End>),
}

/// What ends with a handler. A removal ends it: the drop of the handler would be too late, because
/// a dispatch or a pin may keep the handler while a thread or a task waits.
pub(crate) trait End: Send + Sync + RefUnwindSafe {
    fn end(&self);
}

/// A call of a wrapped handler. It is kept until the call's result, which may be a future, is
/// dropped.
pub(crate) enum Call<H: Handler + ?Sized + 'static> {
    Inside(Visit<H>),
    Plain(Counted<H>),
}

impl<H: Handler + ?Sized + 'static> Wrapped<H> {
    pub(crate) fn new(header: Header, around: Around<H>) -> Self {
        // The handler inside times its calls, and reports them while they are inside.
        let header = header.untimed();
        Self { header, around }
    }

    /// Begins a call, unless the handler was removed, is paused, or has ended.
    pub(crate) fn begin(&self) -> Option<Call<H>> {
        if !self.header.may_start() {
            return None;
        }
        match &self.around {
            Around::Room(room) => room.enter().map(Call::Inside),
            Around::Waited(handler, _) => Some(Call::Plain(Counted::clone(handler))),
        }
    }
}

impl<H: Handler + ?Sized + 'static> Handler for Wrapped<H> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn removed(&self) {
        if let Around::Waited(_, waited) = &self.around {
            waited.end();
        }
    }
}

/// Ends what is around the handler, if its removal has not: the last list that held it is gone.
impl<H: Handler + ?Sized + 'static> Drop for Wrapped<H> {
    fn drop(&mut self) {
        match &self.around {
            Around::Room(room) => Arc::clone(room).close(),
            Around::Waited(_, waited) => waited.end(),
        }
    }
}

#[cfg(feature = "async")]
impl<H: Handler + ?Sized + 'static> Call<H> {
    /// Runs a poll of the call's future: until it returns, this thread is inside.
    pub(crate) fn poll<T>(&mut self, poll: impl FnOnce(&H) -> Poll<T>) -> Poll<T> {
        self.resume();
        let polled = poll(self);
        // If it is ready, or panics, the call is dropped next, on this thread.
        if polled.is_pending() {
            self.suspend();
        }
        polled
    }

    /// Leaves the call to its next poll.
    pub(crate) fn suspend(&mut self) {
        if let Self::Inside(visit) = self {
            visit.suspend();
        }
    }

    /// Lets this thread in, to drop the call's future.
    pub(crate) fn resume(&mut self) {
        if let Self::Inside(visit) = self {
            visit.resume();
        }
    }
}

impl<H: Handler + ?Sized + 'static> Deref for Call<H> {
    type Target = H;

    fn deref(&self) -> &H {
        match self {
            Self::Inside(visit) => visit.handler(),
            Self::Plain(handler) => handler,
        }
    }
}
