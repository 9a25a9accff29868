//! [`JoinGuard`]: a registration whose end can be waited for.
//!
//! The closure is shared between its gate and the calls that are inside. A call lets go of
//! its share before it leaves, and whoever closes the gate counts as inside until it has let
//! go of the gate's. So when the gate is closed and nobody is inside, the closure has been
//! dropped. Once it is closed nobody enters any more.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::HandlerId;
use crate::delivery::Outcome;
use crate::guard::Registration;
use crate::handler::Header;
use crate::panic::catch;
use crate::primitive::{Condvar, Mutex, MutexGuard, explored_static, thread_local_const};

/// A handler whose removal can be waited for: until no thread is inside it, and its closure
/// has been dropped.
///
/// It is what a component wants that is about to free what its handler uses. Dropping it
/// removes the handler without waiting, as a [`HandlerGuard`](crate::HandlerGuard) does.
///
/// A call of a joinable handler takes a lock twice, briefly, and allocates if more calls are
/// inside than ever before; other handlers pay nothing.
///
/// ```
/// use topic_registry::SyncRegistry;
///
/// let saves = SyncRegistry::<str>::new();
/// let joinable = saves.register_joinable(|path| println!("{path} was saved"));
/// saves.notify("app.toml");
/// joinable.join().expect("we are not inside the handler");
/// // Whatever the closure owned is gone by now.
/// ```
#[must_use = "dropping it removes the handler at once, without waiting"]
pub struct JoinGuard {
    registration: Registration,
    // Weak, because a gate owns the way to the `on_panic` callback, which may own this. It goes
    // with the handler, and the handler's closure goes before it.
    gate: Weak<dyn Gated>,
}

/// Why a handler was not waited for. It is removed all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinError {
    /// The caller is inside the handler itself, and would wait for its own return.
    Inside,
    /// A thread that is inside the handler waits, itself or through others, and without a
    /// limit of time, for one that the caller is inside of.
    Deadlock,
    /// A thread was still inside the handler after that time.
    TimedOut,
}

impl JoinGuard {
    pub(crate) fn new(registration: Registration, gate: Weak<dyn Gated>) -> Self {
        Self { registration, gate }
    }

    /// The handler's id.
    #[must_use]
    pub fn id(&self) -> HandlerId {
        self.registration.id
    }

    /// Removes the handler, and waits until no thread is inside it and its closure has been
    /// dropped.
    ///
    /// Blocks the thread, so it is nothing for async code. It waits for nothing else: not for other
    /// handlers of the same dispatch, not for pins,
    /// not for dispatches that begin later. Whether it was this call that removed the handler
    /// makes no difference.
    ///
    /// # Errors
    ///
    /// If this could never end, because the caller is inside the handler, or because those
    /// who are wait for the caller in the same way. Nothing is waited for then; the handler
    /// is removed, and its closure is dropped when the last call has returned.
    pub fn join(self) -> Result<(), JoinError> {
        self.wait(None)
    }

    /// As [`join`](Self::join), but waits for no longer than that; may be called again. The handler
    /// is removed whatever comes of the wait, which takes as long as its own destructor and an
    /// `on_interest` callback do.
    ///
    /// # Errors
    ///
    /// As `join`, and if a thread is still inside after that time.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        // A time that is too far away to be told is none.
        self.wait(Instant::now().checked_add(timeout))
    }

    fn wait(&self, deadline: Option<Instant>) -> Result<(), JoinError> {
        self.registration.remove();
        let Some(gate) = self.gate.upgrade() else {
            return Ok(());
        };
        gate.close();
        wait(&gate, deadline)
    }
}

impl Drop for JoinGuard {
    fn drop(&mut self) {
        self.registration.remove();
    }
}

// What a handler leaves half changed is behind its own locks, not here.
impl UnwindSafe for JoinGuard {}
impl RefUnwindSafe for JoinGuard {}

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

/// Where calls of one handler enter and leave.
pub(crate) struct Gate<F> {
    // To report what the closure throws when it is dropped.
    header: Header,
    state: Mutex<State<F>>,
    left: Condvar,
}

struct State<F> {
    /// `None` once the gate is closed.
    closure: Option<Arc<F>>,
    /// A thread for each call that is inside, or that drops the closure.
    inside: Vec<ThreadId>,
}

/// A [`Gate`], whatever its closure is.
pub(crate) trait Gated: Send + Sync {
    /// Lets nobody in any more.
    fn close(&self);

    /// The threads that are inside.
    fn inside(&self) -> Vec<ThreadId>;

    /// Waits until nobody is inside; whether that came to pass.
    fn wait_until_empty(&self, deadline: Option<Instant>) -> bool;
}

impl<F: Send + Sync> Gate<F> {
    pub(crate) fn new(header: Header, closure: F) -> Self {
        let state = State {
            closure: Some(Arc::new(closure)),
            // For a few calls at once; more of them allocate.
            inside: Vec::with_capacity(4),
        };
        Self {
            header,
            state: Mutex::new(state),
            left: Condvar::new(),
        }
    }

    fn enter(
        &self,
        share: impl FnOnce(&mut Option<Arc<F>>) -> Option<Arc<F>>,
    ) -> Option<Inside<'_, F>> {
        let mut state = self.lock();
        let closure = share(&mut state.closure)?;
        state.inside.push(ThreadId::current());
        Some(Inside {
            gate: self,
            closure: Some(closure),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Send + Sync> Gated for Gate<F> {
    fn close(&self) {
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
}

/// A call that is inside, with its share of the closure.
pub(crate) struct Inside<'g, F: Send + Sync> {
    gate: &'g Gate<F>,
    // `None` only while it is dropped.
    closure: Option<Arc<F>>,
}

impl<F: Send + Sync> Inside<'_, F> {
    /// Makes the call. What it throws is reported and dropped before the call leaves: it may
    /// own what the closure owned.
    pub(crate) fn run(self, call: impl FnOnce(&F)) -> Outcome {
        let outcome = catch(|| self.closure.as_deref().map(call));
        match outcome {
            Ok(_) => Outcome::Called,
            Err(payload) => self.gate.header.panicked(payload),
        }
    }
}

impl<F: Send + Sync> Drop for Inside<'_, F> {
    fn drop(&mut self) {
        self.gate.header.discard(self.closure.take());
        let (mut state, this) = (self.gate.lock(), ThreadId::current());
        if let Some(at) = state.inside.iter().rposition(|thread| *thread == this) {
            state.inside.swap_remove(at);
        }
        if state.closure.is_none() && state.inside.is_empty() {
            self.gate.left.notify_all();
        }
    }
}

/// What the registry keeps of a gate. It closes the gate when the last list that holds the
/// handler is gone, so that a handler that is removed in some other way is dropped then.
pub(crate) struct Entrance<F: Send + Sync>(pub(crate) Arc<Gate<F>>);

impl<F: Send + Sync> Entrance<F> {
    pub(crate) fn enter(&self) -> Option<Inside<'_, F>> {
        self.0.enter(|closure| closure.clone())
    }
}

impl<F: Send + Sync> Drop for Entrance<F> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A thread, and the gate that it waits for, without a limit of time.
type Wait = (ThreadId, Arc<dyn Gated>);

// All of these. A thread waits for one gate at a time.
explored_static!(WAITING: Mutex<Vec<Wait>> = Mutex::new(Vec::new()));

/// Waits until nobody is inside of a closed gate, unless that would be for ever.
///
/// A circle of waits is met by the one that would close it: each looks, under the lock of
/// all waits, before it is counted among them. That is enough. The other half of a circle,
/// who is inside of what, cannot grow behind its back: all gates that are waited for are
/// closed. A wait that ends by itself breaks the circle, and is not counted.
fn wait(gate: &Arc<dyn Gated>, deadline: Option<Instant>) -> Result<(), JoinError> {
    let (this, inside) = (ThreadId::current(), gate.inside());
    if inside.is_empty() {
        return Ok(());
    }
    if inside.contains(&this) {
        return Err(JoinError::Inside);
    }
    {
        let mut waiting = all_waits();
        if waits_for(&waiting, gate, this) {
            return Err(JoinError::Deadlock);
        }
        if deadline.is_none() {
            waiting.push((this, Arc::clone(gate)));
        }
    }
    let is_empty = gate.wait_until_empty(deadline);
    let gone = {
        let mut waiting = all_waits();
        let at = waiting.iter().position(|(thread, _)| *thread == this);
        at.map(|at| waiting.swap_remove(at))
    };
    drop(gone);
    is_empty.then_some(()).ok_or(JoinError::TimedOut)
}

fn all_waits() -> MutexGuard<'static, Vec<Wait>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a thread that is inside of the gate waits, itself or through others, for `this`.
fn waits_for(waiting: &[Wait], gate: &Arc<dyn Gated>, this: ThreadId) -> bool {
    let (mut seen, mut next) = (Vec::new(), gate.inside());
    while let Some(thread) = next.pop() {
        if thread == this {
            return true;
        }
        if !seen.contains(&thread) {
            seen.push(thread);
            let gates = waiting.iter().filter(|(waits, _)| *waits == thread);
            next.extend(gates.flat_map(|(_, gate)| gate.inside()));
        }
    }
    false
}

/// As `std::thread::ThreadId`, but there is one also while the thread is torn down.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct ThreadId(u64);

impl ThreadId {
    fn current() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local_const!(ID: Cell<u64> = Cell::new(0));
        ID.with(|id| {
            if id.get() == 0 {
                id.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            Self(id.get())
        })
    }
}
