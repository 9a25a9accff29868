//! [`JoinGuard`]: a registration whose removal a thread or a task can wait for.

use std::error::Error;
use std::fmt;
use std::future::{self, Future};
use std::sync::{Arc, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::handler::guard::{HandlerGuard, Paused};
use crate::handler::room::{self, AnyRoom, ThreadId};
use crate::primitive::{Mutex, MutexGuard, explored_static};
use crate::report::id::HandlerId;

/// A guard of a handler, which can wait until no call of the handler is inside, no future of it is
/// alive, and its closure has been dropped.
///
/// For a component that is about to free what its handler uses. Returned by
/// [`joinable`](crate::RegisterOptions::joinable) registrations of every flavor: a thread calls
/// [`join`](Self::join), a task awaits [`join_async`](Self::join_async). Dropping it removes the
/// handler without waiting, like a [`HandlerGuard`](crate::HandlerGuard). See the
/// [guide](crate::guide#guards-and-removal).
///
/// A call of a joinable handler briefly takes a lock twice (and for each poll of a future that was
/// pending, twice more), and allocates if more calls are inside than ever before; other handlers
/// pay nothing.
///
/// What is gone after a join is the closure. The object around it may still be part of a list that
/// a dispatch or a pin holds, so the code of the module that *registered* the handler must not be
/// unloaded: see the [guide](crate::guide#plugins) on plugins.
///
/// ```
/// use topic_registry::SyncRegistry;
///
/// let saves = SyncRegistry::<str>::new();
/// let joinable = saves.options().joinable().register(|path| println!("{path} was saved"));
/// saves.notify("app.toml");
/// joinable.join().expect("we are not inside the handler");
/// // Whatever the closure owned is gone by now.
/// ```
#[must_use = "dropping it removes the handler at once, without waiting: bind it, `let guard = ...`"]
pub struct JoinGuard {
    handler: HandlerGuard,
    // Weak, because a room keeps the `on_panic` callback alive, which may own this guard. The room
    // is dropped with the handler, and the handler's closure before it.
    room: Weak<dyn AnyRoom>,
}

/// The reason why a join did not wait, or gave up. The handler is removed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinError {
    /// The caller is inside the handler, and would wait for its own return. An `on_panic` or
    /// `on_slow` callback that reports a call of the handler is inside that call.
    Inside,
    /// A thread that is inside the handler waits without a time limit, directly or through other
    /// threads, for a handler that the caller is inside.
    Deadlock,
    /// A thread was still inside the handler when the time was up.
    TimedOut,
}

impl JoinGuard {
    pub(crate) fn new(handler: HandlerGuard, room: Weak<dyn AnyRoom>) -> Self {
        Self { handler, room }
    }

    /// Returns the handler's id.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.handler.id()
    }

    /// Removes the handler, without waiting. Returns whether this call removed it.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let joinable = saves.options().joinable().register(|path| println!("{path} was saved"));
    /// assert!(joinable.remove() && !saves.contains(joinable.id()));
    /// assert_eq!(joinable.join(), Ok(()), "it can still be joined");
    /// ```
    pub fn remove(&self) -> bool {
        self.handler.remove()
    }

    /// Pauses the handler: [`HandlerGuard::pause`].
    ///
    /// # Panics
    ///
    /// If the handler is already paused 32,767 times.
    #[must_use = "dropping it resumes the handler at once: bind it, `let paused = ...`"]
    pub fn pause(&self) -> Option<Paused> {
        self.handler.pause()
    }

    /// Keeps the handler registered until it is removed in some other way, for example by its id.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.options().joinable().register(|path| println!("{path}")).forget();
    /// assert!(saves.unregister(id));
    /// ```
    pub fn forget(self) -> HandlerId {
        self.handler.forget()
    }

    /// Removes the handler, and waits until no call is inside, no future of it is alive, and its
    /// closure has been dropped.
    ///
    /// Blocks the thread: do not call it from async code; use [`join_async`](Self::join_async). It
    /// does not wait for anything else: not for other handlers of the same dispatch, for pins, or
    /// for dispatches that begin later. It makes no difference whether this call removed the
    /// handler or it was removed before.
    ///
    /// Only threads that wait in `join` are known: it hangs if a call of the handler waits in some
    /// other way (on a channel, a lock, a thread) for the thread that joins it. It also hangs in
    /// the child of a fork, if another thread was inside at that moment: that thread is not in the
    /// child. And of the futures of an async handler nobody knows which thread will poll them next:
    /// it hangs if that is this one.
    ///
    /// # Errors
    ///
    /// If the wait would be a deadlock, because the caller is inside the handler, or because a
    /// thread inside it waits for the caller in the same way. In this case, `join` does not wait;
    /// the handler is removed, and its closure is dropped when the last call has returned.
    pub fn join(self) -> Result<(), JoinError> {
        self.wait(None)
    }

    /// Joins, as [`join`](Self::join) does, but waits no longer than `timeout`; can be called
    /// again. The handler is removed in any case. The call as a whole may take longer: the
    /// destructor of the closure and observers of interest run here.
    ///
    /// # Errors
    ///
    /// As `join`, and also if a thread is still inside the handler when the time is up.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        // If the deadline is too far away to be represented, there is none.
        self.wait(Instant::now().checked_add(timeout))
    }

    /// Removes all of these handlers, and then [joins](Self::join) them, so that none of them is
    /// called while this waits for another.
    ///
    /// ```
    /// use topic_registry::{JoinGuard, TopicRegistry};
    ///
    /// let topics = TopicRegistry::<String, str>::new();
    /// let guards = ["saved", "closed"].map(|key| {
    ///     let topic = topics.handle(key);
    ///     topic.options().joinable().register(move |path| println!("{path}: {key}"))
    /// });
    /// JoinGuard::join_all(guards).expect("we are inside of none of them");
    /// ```
    ///
    /// # Errors
    ///
    /// The first error that [`join`](Self::join) returns for one of them. All others have been
    /// joined.
    pub fn join_all(guards: impl IntoIterator<Item = Self>) -> Result<(), JoinError> {
        let guards: Vec<Self> = guards.into_iter().collect();
        for guard in &guards {
            guard.remove();
        }
        let joined = guards.into_iter().map(Self::join);
        joined.fold(Ok(()), Result::and)
    }

    /// Removes the handler at once, and returns a future that completes when no call is inside, no
    /// future of the handler is alive, and its closure has been dropped.
    ///
    /// It waits for nothing else, and for no further calls: a dispatch that is already running does
    /// not start the handler any more. To join several handlers, call this for each of them before
    /// you await the first of these futures. For a time-out, use the runtime's. If the future is
    /// dropped before it completes, the handler stays removed.
    ///
    /// Inside a future of the same handler, awaiting it never completes: it would wait for itself.
    /// The same holds for a task that awaits first this and then the dispatch that runs the
    /// handler.
    ///
    /// ```
    /// # #[cfg(feature = "async")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use topic_registry::AsyncRegistry;
    ///
    /// let saves = AsyncRegistry::<str>::new();
    /// let joinable = saves.options().joinable().register(|path| {
    ///     let path = path.to_owned();
    ///     async move { println!("{path} was saved") }
    /// });
    /// saves.notify("app.toml").await;
    /// joinable.join_async().await;
    /// // Whatever the closure and its futures owned is gone by now.
    /// # }
    /// # #[cfg(not(feature = "async"))] fn main() {}
    /// ```
    pub fn join_async(self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.remove();
        let room = room::close(&self.room).map(ForgetWaker);
        future::poll_fn(move |context| match &room {
            Some(ForgetWaker(room)) => room.poll_until_empty(context.waker()),
            None => Poll::Ready(()),
        })
    }

    fn wait(&self, deadline: Option<Instant>) -> Result<(), JoinError> {
        self.remove();
        room::close(&self.room).map_or(Ok(()), |room| wait(&room, deadline))
    }
}

impl fmt::Debug for JoinGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinGuard").field(&self.id()).finish()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inside => "cannot wait for a handler from inside of it",
            Self::Deadlock => "cannot wait for a handler that waits for this one",
            Self::TimedOut => "a thread was still inside the handler when the time was up",
        })
    }
}

impl Error for JoinError {}

/// Makes a room forget the task that waits, when it waits no longer: a handler whose future lives
/// on must neither wake nor keep that task.
struct ForgetWaker(Arc<dyn AnyRoom>);

impl Drop for ForgetWaker {
    fn drop(&mut self) {
        self.0.forget_waker();
    }
}

// The threads that wait without a time limit, each with the room that it waits for: one at a time.
explored_static!(WAITS: Mutex<Vec<(ThreadId, Arc<dyn AnyRoom>)>> = Mutex::new(Vec::new()));

/// Waits until nothing is inside a closed room, unless that would be a deadlock.
///
/// A cycle of waits is detected by the wait that would close it: each wait checks for a cycle
/// before it is added to the list of all waits, under that list's lock. This is sufficient. The
/// other half of a cycle, which threads are inside which rooms, cannot grow after the check: all
/// rooms that are waited for are closed. (A future that is inside may be polled by another thread
/// then. That thread does not wait, and checks before it does.) A wait with a time limit breaks the
/// cycle by itself, and is not in the list.
fn wait(room: &Arc<dyn AnyRoom>, deadline: Option<Instant>) -> Result<(), JoinError> {
    let (this, inside) = (ThreadId::current(), room.inside());
    if inside.is_empty() {
        return Ok(());
    }
    if inside.contains(&this) {
        return Err(JoinError::Inside);
    }
    {
        let mut waiting = all_waits();
        if waits_for(&waiting, room, this) {
            return Err(JoinError::Deadlock);
        }
        if deadline.is_none() {
            waiting.push((this, Arc::clone(room)));
        }
    }
    let is_empty = room.wait_until_empty(deadline);
    let gone = {
        let mut waiting = all_waits();
        let at = waiting.iter().position(|(thread, _)| *thread == this);
        at.map(|at| waiting.swap_remove(at))
    };
    drop(gone);
    is_empty.then_some(()).ok_or(JoinError::TimedOut)
}

fn all_waits() -> MutexGuard<'static, Vec<(ThreadId, Arc<dyn AnyRoom>)>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether a thread that is inside the room waits for `this`, directly or through others.
fn waits_for(
    waiting: &[(ThreadId, Arc<dyn AnyRoom>)],
    room: &Arc<dyn AnyRoom>,
    this: ThreadId,
) -> bool {
    let (mut seen, mut next) = (Vec::new(), room.inside());
    while let Some(thread) = next.pop() {
        if thread == this {
            return true;
        }
        if !seen.contains(&thread) {
            seen.push(thread);
            let rooms = waiting.iter().filter(|(waits, _)| *waits == thread);
            next.extend(rooms.flat_map(|(_, room)| room.inside()));
        }
    }
    false
}
