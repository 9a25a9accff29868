//! [`AsyncJoinGuard`]: a registration whose removal a task can wait for.

use std::fmt;
use std::future::{self, Future};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};
use std::task::Poll;

use crate::handler::gate;
use crate::handler::gate::Gated;
use crate::join::Gateway;
use crate::registry::guard::HandlerGuard;
use crate::report::id::HandlerId;

/// A guard of an async handler, which can wait until no future of the handler is alive and its
/// closure has been dropped.
///
/// It is the [`JoinGuard`](crate::JoinGuard) of async handlers, returned by
/// [`joinable`](crate::RegisterOptions::joinable) registrations. Dropping it removes the handler
/// without waiting. See the [guide](crate::guide#guards-and-removal).
///
/// ```
/// use topic_registry::AsyncRegistry;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let saves = AsyncRegistry::<str>::new();
/// let joinable = saves.options().joinable().register(|path| {
///     let path = path.to_owned();
///     async move { println!("{path} was saved") }
/// });
/// saves.notify("app.toml").await;
/// joinable.join().await;
/// // Whatever the closure and its futures owned is gone by now.
/// # }
/// ```
#[must_use = "dropping it removes the handler at once, without waiting: bind it, `let guard = ...`"]
pub struct AsyncJoinGuard {
    handler: HandlerGuard,
    // Weak, as in `JoinGuard`.
    gate: Weak<dyn Gated>,
}

impl From<Gateway> for AsyncJoinGuard {
    fn from((handler, gate): Gateway) -> Self {
        Self { handler, gate }
    }
}

impl AsyncJoinGuard {
    /// Returns the handler's id.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.handler.id()
    }

    /// Removes the handler, without waiting.
    pub fn remove(&self) {
        self.handler.remove();
    }

    /// Removes the handler at once, and returns a future that completes when no future of the
    /// handler is alive and its closure has been dropped.
    ///
    /// It waits for nothing else, and for no further calls: a dispatch that is already running does
    /// not start the handler any more. To join several handlers, call this for each of them before
    /// you await the first of these futures. For a time-out, use the runtime's. If the future is
    /// dropped before it completes, the handler stays removed.
    ///
    /// Inside a future of the same handler, awaiting it never completes: it would wait for itself.
    /// The same holds for a task that awaits first this and then the dispatch that runs the
    /// handler.
    pub fn join(self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.remove();
        let gate = gate::close(&self.gate).map(Waiting);
        future::poll_fn(move |context| match &gate {
            Some(Waiting(gate)) => gate.poll_until_empty(context.waker()),
            None => Poll::Ready(()),
        })
    }
}

// State that a handler's panic leaves inconsistent is behind the handler's own locks, not here.
impl UnwindSafe for AsyncJoinGuard {}
impl RefUnwindSafe for AsyncJoinGuard {}

impl fmt::Debug for AsyncJoinGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncJoinGuard").field(&self.id()).finish()
    }
}

/// The gate that a task waits for. When the task waits no longer, a handler whose future lives on must
/// neither wake nor keep it.
struct Waiting(Arc<dyn Gated>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.forget_waker();
    }
}
