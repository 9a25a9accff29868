//! Async dispatches: polls the futures of handlers, concurrently or one after the other.
//!
//! Everything is polled by the task that polls the dispatch, and no list is protected while it
//! waits: a pending future keeps only its own handler alive.

use std::borrow::Borrow;
use std::future::{Future, poll_fn};
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::handler;
use crate::handler::counted::{Counted, in_run};
use crate::handler::delivery::{Delivery, Outcome, Sum};
use crate::handler::stopwatch::Stopwatch;
use crate::handler::wrapped::{Call, Wrapped};
use crate::handler::{Callable, Handler, Header, Stored};
use crate::primitive::atomic::{AtomicU32, Ordering};
use crate::report::panic::{Held, Payload, catch};
use crate::snapshot::list::{List, Position, Ranked, Run};

/// A handler that an async dispatch can start.
pub trait AsyncHandler<E: ?Sized + 'static>: Handler {
    /// Calls the closure, unless the handler was removed, and polls its future once.
    ///
    /// This is a single call because the compiler knows the future's type here. It inlines the
    /// poll, and if the future can never be pending, it removes the box.
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>>;

    /// Starts all handlers of a run, of which this is the first, in order. Returns the sum with
    /// their outcomes added, and passes on the futures that are pending
    /// to `keep`.
    fn start_run<'e>(
        &self,
        run: Run<'_, AsyncArc<E>>,
        event: &'e E,
        context: &mut Context<'_>,
        sum: Sum,
        keep: &mut dyn FnMut(&AsyncArc<E>, Pending<'e>),
    ) -> Sum;
}

/// A handler, shared by the lists that contain it.
pub(super) type AsyncArc<E> = Counted<dyn AsyncHandler<E>>;

/// A future that has not ended yet.
type Pending<'e> = Pin<Box<dyn Future<Output = ()> + Send + 'e>>;

/// A handler's closure, which makes futures.
pub(super) trait MakeFuture<E: ?Sized>: Send + Sync {
    type Future<'e>: Future<Output = ()> + Send + 'e
    where
        E: 'e;

    /// Makes a future for this event and puts it somewhere, or returns the outcome if there is
    /// none. Only user code is timed.
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome>;
}

/// Makes a future in a box, unless the outcome is known without one; catches a panic.
///
/// A large future is boxed where it is made, because it may be too large to be moved on the stack.
/// A small one is boxed after that, so that the compiler sees the whole life of the box.
#[inline]
fn make_boxed<'e, E: ?Sized, M: MakeFuture<E>, const TIMED: bool>(
    closure: &M,
    event: &'e E,
    stopwatch: &mut Stopwatch<'_, TIMED>,
) -> Result<Result<Pin<Box<M::Future<'e>>>, Outcome>, Payload> {
    if const { handler::is_large::<M::Future<'e>>() } {
        catch(|| closure.make_future(event, stopwatch, Box::pin))
    } else {
        make_small(closure, event, stopwatch)
    }
}

/// A separate function, for its stack frame.
#[inline]
fn make_small<'e, E: ?Sized, M: MakeFuture<E>, const TIMED: bool>(
    closure: &M,
    event: &'e E,
    stopwatch: &mut Stopwatch<'_, TIMED>,
) -> Result<Result<Pin<Box<M::Future<'e>>>, Outcome>, Payload> {
    let made = catch(|| closure.make_future(event, stopwatch, |future| future))?;
    Ok(made.map(Box::pin))
}

impl<E, C> AsyncHandler<E> for Callable<C>
where
    E: ?Sized + 'static,
    C: Stored<Closure: MakeFuture<E>> + Send + Sync + 'static,
{
    #[inline]
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>> {
        let Some(closure) = self.live() else {
            return Ok(Outcome::Skipped);
        };
        if self.header.is_timed() {
            start::<E, _, true>(closure, event, context, &self.header)
        } else {
            start::<E, _, false>(closure, event, context, &self.header)
        }
    }

    fn start_run<'e>(
        &self,
        run: Run<'_, AsyncArc<E>>,
        event: &'e E,
        context: &mut Context<'_>,
        sum: Sum,
        keep: &mut dyn FnMut(&AsyncArc<E>, Pending<'e>),
    ) -> Sum {
        start_run(self, run, event, context, sum, keep)
    }
}

/// Makes a future, and polls it once.
#[inline]
fn start<'e, E: ?Sized, M: MakeFuture<E>, const TIMED: bool>(
    closure: &M,
    event: &'e E,
    context: &mut Context<'_>,
    header: &Header,
) -> Result<Outcome, Pending<'e>> {
    let mut stopwatch = Stopwatch::<TIMED>::new(header, true);
    match make_boxed(closure, event, &mut stopwatch) {
        Ok(Ok(future)) => {
            poll(future, context, stopwatch).map_err(|pending| pending as Pending<'e>)
        }
        Ok(Err(outcome)) => Ok(outcome),
        Err(payload) => {
            drop(stopwatch);
            Ok(header.panicked(payload))
        }
    }
}

impl<E: ?Sized + 'static> AsyncHandler<E> for Wrapped<dyn AsyncHandler<E>> {
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>> {
        let Some(mut call) = self.begin() else {
            return Ok(Outcome::Skipped);
        };
        let started = call.start(event, context);
        started.map_err(|pending| -> Pending<'e> {
            call.suspend();
            let pending = Some(pending);
            Box::pin(WrappedFuture { pending, call })
        })
    }

    fn start_run<'e>(
        &self,
        run: Run<'_, AsyncArc<E>>,
        event: &'e E,
        context: &mut Context<'_>,
        sum: Sum,
        keep: &mut dyn FnMut(&AsyncArc<E>, Pending<'e>),
    ) -> Sum {
        start_run(self, run, event, context, sum, keep)
    }
}

#[inline(always)]
fn start_run<'e, S: AsyncHandler<E>, E: ?Sized + 'static>(
    first: &S,
    run: Run<'_, AsyncArc<E>>,
    event: &'e E,
    context: &mut Context<'_>,
    sum: Sum,
    keep: &mut dyn FnMut(&AsyncArc<E>, Pending<'e>),
) -> Sum {
    in_run(first, run).zip(run.items()).fold(sum, |sum, (handler, counted)| {
        start_one(handler, counted, event, context, sum, keep)
    })
}

/// Starts a handler, which `counted` refers to.
#[inline(always)]
fn start_one<'e, H: AsyncHandler<E> + ?Sized, E: ?Sized + 'static>(
    handler: &H,
    counted: &AsyncArc<E>,
    event: &'e E,
    context: &mut Context<'_>,
    sum: Sum,
    keep: &mut dyn FnMut(&AsyncArc<E>, Pending<'e>),
) -> Sum {
    match handler.start(event, context) {
        Ok(outcome) => sum.and(outcome),
        Err(pending) => {
            keep(counted, pending);
            sum
        }
    }
}

/// A pending future of a wrapped handler.
struct WrappedFuture<'e, E: ?Sized + 'static> {
    // `None` only while it is dropped.
    pending: Option<Pending<'e>>,
    call: Call<dyn AsyncHandler<E>>,
}

impl<E: ?Sized> Future for WrappedFuture<'_, E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { pending, call } = &mut *self;
        let future = pending.as_mut().expect("taken only by its own destructor").as_mut();
        call.poll(|handler| handler.header().time_poll(|| future.poll(context)))
    }
}

/// The future, and what its destructor throws, is dropped before the call ends.
impl<E: ?Sized> Drop for WrappedFuture<'_, E> {
    fn drop(&mut self) {
        let Self { pending, call } = self;
        call.resume();
        call.header().guard_drop(|| *pending = None);
    }
}

/// Polls a future of the handler whose stopwatch this is. A panic of the future, here or when it is
/// dropped after its end, is reported and not propagated.
#[inline]
fn poll<F: Future<Output = ()> + ?Sized, const TIMED: bool>(
    mut future: Pin<Box<F>>,
    context: &mut Context<'_>,
    mut stopwatch: Stopwatch<'_, TIMED>,
) -> Result<Outcome, Pin<Box<F>>> {
    let header = stopwatch.header();
    let polled = catch(|| stopwatch.run(|| future.as_mut().poll(context)));
    // Before the destructor of the future, and a report of its panic.
    drop(stopwatch);
    let outcome = match polled {
        Ok(Poll::Pending) => return Err(future),
        Ok(Poll::Ready(())) => Outcome::Called,
        Err(payload) => header.panicked(payload),
    };
    header.guard_drop(|| drop(future));
    Ok(outcome)
}

/// A future that was pending, with its handler. It does not keep other handlers alive.
struct Running<'e, E: ?Sized + 'static> {
    handler: AsyncArc<E>,
    // `None` once it has ended.
    future: Option<Pending<'e>>,
}

impl<'e, E: ?Sized> Running<'e, E> {
    fn new(handler: &AsyncArc<E>, future: Pending<'e>) -> Self {
        Self {
            handler: Counted::clone(handler),
            future: Some(future),
        }
    }
}

impl<E: ?Sized> Future for Running<'_, E> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let future = self.future.take();
        let future = future.expect("it is not polled after its end");
        let header = self.handler.header();
        let polled = if header.is_timed() {
            poll(future, context, Stopwatch::<true>::new(header, false))
        } else {
            poll(future, context, Stopwatch::<false>::new(header, false))
        };
        match polled {
            Ok(outcome) => Poll::Ready(outcome),
            Err(pending) => {
                self.future = Some(pending);
                Poll::Pending
            }
        }
    }
}

impl<E: ?Sized> Drop for Running<'_, E> {
    fn drop(&mut self) {
        let Self { handler, future } = self;
        handler.header().guard_drop(|| *future = None);
    }
}

/// The source of a dispatch's handlers.
pub(super) trait Source<E: ?Sized + 'static> {
    /// Calls `read` with the current handlers, unless there are none.
    fn read<R: Default>(&self, read: impl FnOnce(&Arc<List<AsyncArc<E>>>) -> R) -> R;
}

/// Starts all handlers, interceptors first, otherwise in order, and waits for the futures that are
/// pending after their first poll: only these are worth the bookkeeping of waiting for several
/// futures at once.
///
/// The list is protected during the first pass only: the protection uses one of the thread's few
/// slots, and the task may move to another thread. `make` makes the event, if there are handlers.
pub(super) async fn concurrently<E: ?Sized + 'static, T: Borrow<E>>(
    source: &impl Source<E>,
    make: impl FnOnce() -> T,
) -> Delivery {
    let (mut event, turn) = (Held::<T>::empty(), Turn::default());
    let (mut sum, mut pending) = (Sum::default(), None);
    // While the key is looked up, which may run its `Hash`, `Eq` and `Borrow`.
    let mut first = Some((&mut event, Held::new(make)));
    poll_fn(|context| {
        let Some((event, make)) = first.take() else {
            return Poll::Ready(());
        };
        pending = source.read(|list| {
            let event = event.insert(make.into_inner()()).borrow();
            start_all(list, event, context, &turn, &mut sum)
        });
        // The pending futures have the waker of this task. They are polled again only when it is
        // woken, with wakers of their own, which are needed to tell them apart. If they were polled
        // for that at once, a handler that has yielded would be resumed before any other task could
        // run.
        match pending {
            None => Poll::Ready(()),
            Some(_) => Poll::Pending,
        }
    })
    .await;
    if let Some(mut pending) = pending {
        let mut next = poll_fn(|context| {
            turn.begin();
            pending.poll_next_unpin(context)
        });
        while let Some(outcome) = (&mut next).await {
            sum = sum.and(outcome);
        }
    }
    sum.into()
}

/// How many polls in a row may be pending before a dispatch returns to its executor.
///
/// A runtime may limit what a task does in one turn. The resources of tokio, for example, are
/// pending once the limit is reached, and ready again in the next turn. If the dispatch still
/// polled all other futures that were woken, its cost would grow with the square of their number.
const TURN: u32 = 64;

/// How many polls in a row were pending. Relaxed: only the task that polls the dispatch counts.
#[derive(Default)]
struct Turn(AtomicU32);

impl Turn {
    fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= TURN
    }

    fn count<T>(&self, polled: &Poll<T>) {
        let pending = match polled {
            Poll::Pending => self.0.load(Ordering::Relaxed) + 1,
            Poll::Ready(_) => 0,
        };
        self.0.store(pending, Ordering::Relaxed);
    }
}

/// A running future among others.
struct InTurn<'e, E: ?Sized + 'static> {
    running: Running<'e, E>,
    turn: &'e Turn,
}

impl<E: ?Sized> Future for InTurn<'_, E> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        if self.turn.is_over() {
            // `FuturesUnordered` keeps it for the next turn, and returns to the executor when two
            // futures have woken themselves.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.running).poll(context);
        self.turn.count(&polled);
        polled
    }
}

/// Calls every handler, and polls its future once. Returns the futures that are pending then.
fn start_all<'e, E: ?Sized + 'static>(
    list: &List<AsyncArc<E>>,
    event: &'e E,
    context: &mut Context<'_>,
    turn: &'e Turn,
    sum: &mut Sum,
) -> Option<FuturesUnordered<InTurn<'e, E>>> {
    let has_interceptors = list.interceptor_count() != 0;
    if has_interceptors {
        // Interceptors have no futures that could be pending.
        let mut interceptors = list.iter().filter(|handler| handler.is_interceptor());
        run_until_pending(&mut interceptors, event, context, sum);
    }
    if sum.is_stopped() {
        return None;
    }
    let mut pending = None;
    let mut keep = |handler: &Counted<_>, future| {
        let running = Running::new(handler, future);
        let in_turn = InTurn { running, turn };
        pending.get_or_insert_with(FuturesUnordered::new).push(in_turn);
    };
    // One by one where interceptors are left out, because wrapped ones are alike to other handlers;
    // and where there is only one, because it is faster.
    if has_interceptors || matches!(list, List::One(_)) {
        for handler in list.iter() {
            if !(has_interceptors && handler.is_interceptor()) {
                *sum = start_one(&**handler, handler, event, context, *sum, &mut keep);
            }
        }
    } else {
        list.for_each_run(|run| {
            *sum = run.items()[0].start_run(run, event, context, *sum, &mut keep);
        });
    }
    pending
}

/// A sequence that waits for one of its handlers.
struct Suspended<'e, E: ?Sized + 'static> {
    event: &'e E,
    running: Running<'e, E>,
    list: Arc<List<AsyncArc<E>>>,
    /// The position from which to continue.
    at: Position,
}

/// Runs the handlers one after the other, in order. The list becomes owned only when it must
/// outlive a wait. `make` makes the event, if there are handlers.
pub(super) async fn in_sequence<E: ?Sized + 'static, T: Borrow<E>>(
    source: &impl Source<E>,
    make: impl FnOnce() -> T,
) -> Delivery {
    let (mut sum, mut event) = (Sum::default(), Held::<T>::empty());
    // While the key is looked up, which may run its `Hash`, `Eq` and `Borrow`.
    let mut first = Some((&mut event, Held::new(make)));
    let mut waiting: Option<Suspended<'_, E>> = None;
    poll_fn(|context| {
        waiting = match first.take() {
            // The first poll: runs from the beginning, over a list that is only protected.
            Some((event, make)) => source.read(|list| {
                let event = event.insert(make.into_inner()()).borrow();
                let mut at = Position::default();
                let running = go_on(list, &mut at, event, context, &mut sum)?;
                let list = Arc::clone(list);
                Some(Suspended {
                    event,
                    running,
                    list,
                    at,
                })
            }),
            // A later poll: first the handler that was pending, then those after it.
            None => waiting.take().and_then(|mut now| {
                match Pin::new(&mut now.running).poll(context) {
                    Poll::Pending => return Some(now),
                    Poll::Ready(outcome) => sum = sum.and(outcome),
                }
                now.running = go_on(&now.list, &mut now.at, now.event, context, &mut sum)?;
                Some(now)
            }),
        };
        match waiting {
            None => Poll::Ready(()),
            Some(_) => Poll::Pending,
        }
    })
    .await;
    sum.into()
}

/// Runs the handlers from a position on, one after the other, until one is pending or stops the
/// dispatch.
fn go_on<'e, E: ?Sized + 'static>(
    list: &List<AsyncArc<E>>,
    at: &mut Position,
    event: &'e E,
    context: &mut Context<'_>,
    sum: &mut Sum,
) -> Option<Running<'e, E>> {
    let mut handlers = iter::from_fn(|| list.next(at));
    run_until_pending(&mut handlers, event, context, sum)
}

/// Runs handlers one after the other, until one is pending or stops the dispatch. Returns the
/// pending one.
#[inline]
fn run_until_pending<'h, 'e, E: ?Sized + 'static>(
    handlers: &mut impl Iterator<Item = &'h AsyncArc<E>>,
    event: &'e E,
    context: &mut Context<'_>,
    sum: &mut Sum,
) -> Option<Running<'e, E>> {
    for handler in handlers {
        match handler.start(event, context) {
            Ok(outcome) => *sum = sum.and(outcome),
            Err(future) => return Some(Running::new(handler, future)),
        }
        if sum.is_stopped() {
            break;
        }
    }
    None
}
