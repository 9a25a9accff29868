//! Handlers that wrap other handlers, to do something around each of their calls. Other handlers
//! pay nothing, because a dispatch does not know about wrappers.

use crate::handler::counted::Counted;
use crate::handler::{Handler, Header};

/// A handler that takes the place of another one in lists, with the same id and priority.
pub(crate) struct Wrapped<W> {
    header: Header,
    wrapper: W,
}

/// An object that does something around the calls of a handler.
#[allow(
    unreachable_pub,
    reason = "in a sealed trait: outside the crate nobody can name it"
)]
pub trait Wrapper: Send + Sync + 'static {
    /// The trait object type of the handler.
    type Handler: Handler + ?Sized;

    /// A call of the handler.
    type Call: Call<Self::Handler>;

    /// Begins a call, unless the handler has ended.
    fn begin(&self) -> Option<Self::Call>;

    /// Handles the removal of the handler. Called by the thread that removed it, with no lock held.
    fn removed(&self) {}
}

/// A call of a handler. It is kept until the call's result, which may be a future, is dropped.
#[allow(
    unreachable_pub,
    reason = "in a sealed trait: outside the crate nobody can name it"
)]
pub trait Call<H: ?Sized>: Unpin + Send + 'static {
    fn handler(&self) -> &H;
}

/// A call with nothing done around it.
impl<H: Handler + ?Sized + 'static> Call<H> for Counted<H> {
    fn handler(&self) -> &H {
        self
    }
}

impl<W: Wrapper> Wrapped<W> {
    pub(crate) fn new(header: Header, wrapper: W) -> Self {
        Self { header, wrapper }
    }

    /// Begins a call, unless the handler was removed, is paused, or has ended.
    pub(crate) fn begin(&self) -> Option<W::Call> {
        let may_start = self.header.may_start();
        may_start.then(|| self.wrapper.begin())?
    }
}

impl<W: Wrapper> Handler for Wrapped<W> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn removed(&self) {
        self.wrapper.removed();
    }
}
