//! Async dispatches: polls the futures of handlers, concurrently or one after the other.
//!
//! Nothing is polled but by the task that polls the dispatch, and no list is protected while
//! it waits: a handler that is pending is kept by itself, with its future.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{iter, mem};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::Delivery;
use crate::delivery::{Outcome, Sum};
use crate::handler::{Handler, Header, Slot, Stored};
use crate::panic::catch;
use crate::snapshot::list::{List, Position, Ranked};
use crate::wrapper::{Call, Wrapped, Wrapper};

/// A handler, as a dispatch starts it.
pub trait AsyncHandler<E: ?Sized>: Handler {
    /// Calls the closure, unless the handler was removed, and polls its future once.
    ///
    /// That it is one call has a reason: the compiler sees the future's own type here. It
    /// inlines the poll, and if the future can never be pending, it drops the box.
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>>;
}

/// A future that has not ended yet.
type Pending<'e> = Pin<Box<dyn Future<Output = ()> + Send + 'e>>;

/// What a handler keeps: a closure that makes futures.
pub(super) trait MakeFuture<E: ?Sized>: Send + Sync {
    type Future<'e>: Future<Output = ()> + Send + 'e
    where
        E: 'e;

    /// A future for this event, or what came of it if there is none.
    fn make_future<'e>(&self, event: &'e E) -> Result<Self::Future<'e>, Outcome>;
}

impl<E, C> AsyncHandler<E> for Slot<C>
where
    E: ?Sized,
    C: Stored<Closure: MakeFuture<E>> + Send + Sync,
{
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>> {
        let Some(closure) = self.live() else {
            return Ok(Outcome::Skipped);
        };
        match catch(|| closure.make_future(event)) {
            Ok(Ok(future)) => poll(&self.header, Box::pin(future), context)
                .map_err(|pending| pending as Pending<'e>),
            Ok(Err(outcome)) => Ok(outcome),
            Err(payload) => Ok(self.header.panicked(payload)),
        }
    }
}

impl<E, W> AsyncHandler<E> for Wrapped<W>
where
    E: ?Sized + 'static,
    W: Wrapper<Handler = dyn AsyncHandler<E>>,
{
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>> {
        let Some(call) = self.begin() else {
            return Ok(Outcome::Skipped);
        };
        match call.run(|| call.handler().start(event, context)) {
            Ok(outcome) => Ok(outcome),
            Err(pending) => Err(Box::pin(WrappedFuture::<_, E> {
                pending,
                call,
                handler: PhantomData,
            })),
        }
    }
}

/// A pending future of a wrapped handler.
struct WrappedFuture<'e, C, E: ?Sized> {
    pending: Pending<'e>,
    // After the future, so dropped after it.
    call: C,
    handler: PhantomData<fn(&E)>,
}

impl<C, E> Future for WrappedFuture<'_, C, E>
where
    C: Call<dyn AsyncHandler<E>>,
    E: ?Sized + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { pending, call, .. } = &mut *self;
        call.run(|| pending.as_mut().poll(context))
    }
}

/// Polls a future of this handler's. What panics in it, here or when it is dropped at its
/// end, is reported and goes no further.
#[inline]
fn poll<F: Future<Output = ()> + ?Sized>(
    header: &Header,
    mut future: Pin<Box<F>>,
    context: &mut Context<'_>,
) -> Result<Outcome, Pin<Box<F>>> {
    let outcome = match catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => return Err(future),
        Ok(Poll::Ready(())) => Outcome::Called,
        Err(payload) => header.panicked(payload),
    };
    header.discard(future);
    Ok(outcome)
}

/// A future that was pending, with its handler. It does not keep the other handlers.
struct Running<'e, E: ?Sized + 'static> {
    handler: Arc<dyn AsyncHandler<E>>,
    // `None` once it has ended.
    future: Option<Pending<'e>>,
}

impl<'e, E: ?Sized> Running<'e, E> {
    fn new(handler: &Arc<dyn AsyncHandler<E>>, future: Pending<'e>) -> Self {
        Self {
            handler: Arc::clone(handler),
            future: Some(future),
        }
    }
}

impl<E: ?Sized> Future for Running<'_, E> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let future = self.future.take();
        let future = future.expect("it is not polled after its end");
        match poll(self.handler.header(), future, context) {
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
        let future = self.future.take();
        self.handler.header().discard(future);
    }
}

pub(super) type Handlers<E> = Arc<List<Arc<dyn AsyncHandler<E>>>>;

/// Where a dispatch finds its handlers.
pub(super) trait Source<E: ?Sized + 'static> {
    /// Runs `read` over the handlers of this moment, unless there are none.
    fn read<R: Default>(&self, read: impl FnOnce(&Handlers<E>) -> R) -> R;
}

/// Starts every handler, in order but for those that may stop the others, which come first;
/// and waits for those that are pending after their first poll: only they are worth the
/// bookkeeping of waiting for several futures at once.
///
/// The list is protected during that first pass, and not longer: that takes one of the few places
/// that this thread has for it, and the task may move.
pub(super) async fn concurrently<E: ?Sized + 'static>(
    source: &impl Source<E>,
    event: &E,
) -> Delivery {
    let (mut sum, mut pending, mut is_started) = (Sum::default(), None, false);
    poll_fn(|context| {
        if mem::replace(&mut is_started, true) {
            return Poll::Ready(());
        }
        pending = source.read(|list| start_all(list, event, context, &mut sum));
        // They have the waker of this task, and are polled again only when it is woken: with
        // wakers of their own, which they need to be told apart. To poll them for that at once
        // would resume a handler that has yielded, before any other task could run.
        match pending {
            None => Poll::Ready(()),
            Some(_) => Poll::Pending,
        }
    })
    .await;
    if let Some(mut pending) = pending {
        while let Some(outcome) = pending.next().await {
            sum = sum.and(outcome);
        }
    }
    sum.into()
}

/// Calls every handler, and polls its future once; those that are pending then.
fn start_all<'e, E: ?Sized + 'static>(
    list: &List<Arc<dyn AsyncHandler<E>>>,
    event: &'e E,
    context: &mut Context<'_>,
    sum: &mut Sum,
) -> Option<FuturesUnordered<Running<'e, E>>> {
    let has_interceptors = list.interceptor_count() != 0;
    if has_interceptors {
        // They have no futures that could be pending.
        let mut interceptors = list.iter().filter(|handler| handler.is_interceptor());
        run_until_pending(&mut interceptors, event, context, sum);
    }
    if sum.is_stopped() {
        return None;
    }
    let mut pending = None;
    for handler in list.iter() {
        if has_interceptors && handler.is_interceptor() {
            continue;
        }
        match handler.start(event, context) {
            Ok(outcome) => *sum = sum.and(outcome),
            Err(future) => pending
                .get_or_insert_with(FuturesUnordered::new)
                .push(Running::new(handler, future)),
        }
    }
    pending
}

/// The handler that the others wait for, the list that it is in, and where it goes on.
type Waiting<'e, E> = (Running<'e, E>, Handlers<E>, Position);

/// Runs the handlers one after the other, in order. The list becomes owned when it must
/// outlive a wait, and not before.
pub(super) async fn in_sequence<E: ?Sized + 'static>(
    source: &impl Source<E>,
    event: &E,
) -> Delivery {
    let mut sum = Sum::default();
    let mut waiting: Option<Waiting<'_, E>> = None;
    poll_fn(|context| {
        let pending = match waiting.take() {
            // The first poll: runs from the beginning, over a list that is only protected.
            None => source.read(|list| {
                let mut at = Position::default();
                let running = go_on(list, &mut at, event, context, &mut sum)?;
                Some((running, Arc::clone(list), at))
            }),
            // A later one: first the handler that was pending, then those behind it.
            Some((mut running, list, mut at)) => match Pin::new(&mut running).poll(context) {
                Poll::Pending => Some((running, list, at)),
                Poll::Ready(outcome) => {
                    sum = sum.and(outcome);
                    let running = go_on(&list, &mut at, event, context, &mut sum);
                    running.map(|running| (running, list, at))
                }
            },
        };
        match pending {
            None => Poll::Ready(()),
            pending => {
                waiting = pending;
                Poll::Pending
            }
        }
    })
    .await;
    sum.into()
}

/// Runs the handlers from a position on, one after the other, until one is pending or stops.
fn go_on<'e, E: ?Sized + 'static>(
    list: &List<Arc<dyn AsyncHandler<E>>>,
    at: &mut Position,
    event: &'e E,
    context: &mut Context<'_>,
    sum: &mut Sum,
) -> Option<Running<'e, E>> {
    let mut handlers = iter::from_fn(|| list.next(at));
    run_until_pending(&mut handlers, event, context, sum)
}

/// Runs handlers one after the other, until one is pending or stops.
#[inline]
fn run_until_pending<'h, 'e, E: ?Sized + 'static>(
    handlers: &mut impl Iterator<Item = &'h Arc<dyn AsyncHandler<E>>>,
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
