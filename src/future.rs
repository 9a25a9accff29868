//! The async flavor: handlers that return futures, run concurrently or one by one.
//!
//! Nothing is polled but by the task that polls the dispatch, and no snapshot is held while
//! it waits: a handler that is pending is kept by itself, with its future.

use std::borrow::Borrow;
use std::future::{Future, Ready, poll_fn};
use std::hash::Hash;
use std::ops::ControlFlow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{iter, mem};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::cell::Owner;
use crate::delivery::{Outcome, Sum};
use crate::list::{List, Position, Ranked};
use crate::panic::catch;
use crate::registry::{Entry, sealed};
use crate::slot::{Handler, Head, Kept, Once, Slot};
use crate::topic::{Handle, Key, Topics};
use crate::{Batch, Delivery, Flavor, HandlerGuard, HandlerId, Registry};

/// One topic without a key: handlers that return futures, run by `notify(..).await`.
///
/// It needs no particular runtime: the futures are polled by the task that notifies.
///
/// ```
/// use topic_registry::AsyncRegistry;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let saves = AsyncRegistry::<str>::new();
/// saves.register(|path| {
///     let path = path.to_owned();
///     async move { println!("{path} was saved") }
/// });
/// assert_eq!(saves.notify("app.toml").await.called(), 1);
/// # }
/// ```
pub type AsyncRegistry<E> = Registry<AsyncFlavor, E>;

/// Topics of an [`AsyncRegistry`] each, found by key.
///
/// ```
/// use topic_registry::AsyncTopicRegistry;
///
/// async fn greet(name: &str) {
///     println!("hello {name}");
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let users = AsyncTopicRegistry::<u64, str>::new();
/// let _guard = users.register_async_fn_guard(7u64, greet);
/// assert_eq!(users.notify(&7, "Ada").await.called(), 1);
/// # }
/// ```
pub type AsyncTopicRegistry<K, E> = Topics<AsyncFlavor, K, E>;

/// A cached way to a topic of an [`AsyncTopicRegistry`].
pub type AsyncTopicHandle<K, E> = Handle<AsyncFlavor, K, E>;

/// Handlers that return futures, polled by the task that notifies.
#[derive(Debug)]
pub enum AsyncFlavor {}

impl sealed::Sealed for AsyncFlavor {}

impl<E: ?Sized + 'static> Flavor<E> for AsyncFlavor {
    type Handler = dyn AsyncHandler<E>;

    #[allow(
        private_interfaces,
        reason = "sealed: outside the crate nobody can name it"
    )]
    fn interceptor<I>(head: Head, interceptor: I) -> Entry<Self, E>
    where
        I: Fn(&E) -> ControlFlow<()> + Send + Sync + 'static,
    {
        Arc::new(Slot::new(head, Some(Intercepting(interceptor))))
    }
}

/// An `async fn(&E)` or an `async` closure, whose future borrows the event. Implemented for
/// every function that fits.
///
/// With a trait object as the event, an `async fn` has to say `&(dyn Trait + 'static)`.
pub trait BorrowingHandler<'e, E: ?Sized + 'e>:
    AsyncFnOnce(&'e E) + FnOnce(&'e E) -> <Self as BorrowingHandler<'e, E>>::Future
{
    /// What the handler returns; it may live as long as the event.
    type Future: Future<Output = ()> + Send + 'e;
}

impl<'e, E: ?Sized + 'e, F, Fut> BorrowingHandler<'e, E> for F
where
    F: AsyncFnOnce(&'e E) + FnOnce(&'e E) -> Fut,
    Fut: Future<Output = ()> + Send + 'e,
{
    type Future = Fut;
}

/// A handler as a dispatch sees it.
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
trait Begin<E: ?Sized>: Send + Sync {
    type Future<'e>: Future<Output = ()> + Send + 'e
    where
        E: 'e;

    /// A future for this event, or what came of it if there is none.
    fn begin<'e>(&self, event: &'e E) -> Result<Self::Future<'e>, Outcome>;
}

impl<E, C> AsyncHandler<E> for Slot<C>
where
    E: ?Sized,
    C: Kept<Closure: Begin<E>> + Send + Sync,
{
    fn start<'e>(&self, event: &'e E, context: &mut Context<'_>) -> Result<Outcome, Pending<'e>> {
        let Some(closure) = self.live() else {
            return Ok(Outcome::Skipped);
        };
        match catch(|| closure.begin(event)) {
            Ok(Ok(future)) => match poll(&self.head, Box::pin(future), context) {
                Ok(outcome) => Ok(outcome),
                Err(pending) => Err(pending),
            },
            Ok(Err(outcome)) => Ok(outcome),
            Err(payload) => Ok(self.head.panicked(payload)),
        }
    }
}

/// Polls a future of this handler's. What panics in it, here or when it is dropped at its
/// end, is reported and goes no further.
#[inline]
fn poll<F: Future<Output = ()> + ?Sized>(
    head: &Head,
    mut future: Pin<Box<F>>,
    context: &mut Context<'_>,
) -> Result<Outcome, Pin<Box<F>>> {
    let outcome = match catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Pending) => return Err(future),
        Ok(Poll::Ready(())) => Outcome::Called,
        Err(payload) => head.panicked(payload),
    };
    head.discard(future);
    Ok(outcome)
}

/// A future that was pending, with its handler. It does not keep the other handlers.
struct Running<'e, E: ?Sized + 'static> {
    handler: Entry<AsyncFlavor, E>,
    // `None` once it has ended.
    future: Option<Pending<'e>>,
}

impl<'e, E: ?Sized> Running<'e, E> {
    fn new(handler: &Entry<AsyncFlavor, E>, future: Pending<'e>) -> Self {
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
        match poll(self.handler.head(), future, context) {
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
        self.handler.head().discard(future);
    }
}

type Handlers<E> = Arc<List<Entry<AsyncFlavor, E>>>;

/// Where a dispatch finds its handlers.
trait Source<E: ?Sized + 'static> {
    /// Runs `read` over the handlers of this moment, unless there are none.
    fn read<R: Default>(&self, read: impl FnOnce(&Handlers<E>) -> R) -> R;
}

impl<E: ?Sized + 'static> Source<E> for AsyncRegistry<E> {
    fn read<R: Default>(&self, read: impl FnOnce(&Handlers<E>) -> R) -> R {
        self.cell().read(read)
    }
}

/// A topic, by its key.
struct ByKey<'q, K: Key, Q: ?Sized, E: ?Sized + 'static>(&'q AsyncTopicRegistry<K, E>, &'q Q);

impl<K, Q, E> Source<E> for ByKey<'_, K, Q, E>
where
    K: Key + Borrow<Q>,
    Q: Hash + Eq + ?Sized,
    E: ?Sized + 'static,
{
    fn read<R: Default>(&self, read: impl FnOnce(&Handlers<E>) -> R) -> R {
        self.0.read(self.1, read)
    }
}

/// Starts every handler, in order but for those that may stop the others, which come first;
/// and waits for those that are pending after their first poll: only they are worth the
/// bookkeeping of waiting for several futures at once.
///
/// The list is protected during that first pass, and not longer: that takes one of the few places
/// that this thread has for it, and the task may move.
async fn concurrently<E: ?Sized + 'static>(source: &impl Source<E>, event: &E) -> Delivery {
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
    list: &List<Entry<AsyncFlavor, E>>,
    event: &'e E,
    context: &mut Context<'_>,
    sum: &mut Sum,
) -> Option<FuturesUnordered<Running<'e, E>>> {
    let some_stop = list.stops() != 0;
    if some_stop {
        // They have no futures that could be pending.
        let mut stopping = list.iter().filter(|handler| handler.stops());
        advance(&mut stopping, event, context, sum);
    }
    if sum.is_stopped() {
        return None;
    }
    let mut pending = None;
    for handler in list.iter() {
        if some_stop && handler.stops() {
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
async fn in_sequence<E: ?Sized + 'static>(source: &impl Source<E>, event: &E) -> Delivery {
    let mut sum = Sum::default();
    let mut waiting: Option<Waiting<'_, E>> = None;
    poll_fn(|context| {
        let pending = match waiting.take() {
            None => source.read(|list| {
                let mut at = Position::default();
                let running = go_on(list, &mut at, event, context, &mut sum)?;
                Some((running, Arc::clone(list), at))
            }),
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
    list: &List<Entry<AsyncFlavor, E>>,
    at: &mut Position,
    event: &'e E,
    context: &mut Context<'_>,
    sum: &mut Sum,
) -> Option<Running<'e, E>> {
    let mut handlers = iter::from_fn(|| list.next(at));
    advance(&mut handlers, event, context, sum)
}

/// Runs handlers one after the other, until one is pending or stops.
#[inline]
fn advance<'h, 'e, E: ?Sized + 'static>(
    handlers: &mut impl Iterator<Item = &'h Entry<AsyncFlavor, E>>,
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

impl<E: ?Sized> AsyncRegistry<E> {
    /// Registers a handler whose futures own what they need: it takes from the event what
    /// it wants before it returns one. For an `async fn(&E)` see
    /// [`register_async_fn`](Self::register_async_fn).
    ///
    /// It takes part in every dispatch that is first polled after this has returned.
    ///
    /// Takes the writer lock, and copies up to 64 references to handlers, and one for each
    /// further 64.
    #[track_caller]
    pub fn register<F, Fut>(&self, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.register_with_priority(0, handler)
    }

    /// As [`register`](Self::register), at a priority: higher ones start first, equal ones
    /// in the order of their registration. Without one it is 0.
    #[track_caller]
    pub fn register_with_priority<F, Fut>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(entry(self, HandlerId::next(priority), Owning(handler)))
    }

    /// As [`register`](Self::register), until the guard is dropped.
    #[track_caller]
    pub fn register_guard<F, Fut>(&self, handler: F) -> HandlerGuard
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.guard(self.register(handler))
    }

    /// As [`register_with_priority`](Self::register_with_priority), until the guard is
    /// dropped.
    #[track_caller]
    pub fn register_guard_with_priority<F, Fut>(&self, priority: i32, handler: F) -> HandlerGuard
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.guard(self.register_with_priority(priority, handler))
    }

    /// Registers a handler for a single call.
    ///
    /// However many tasks notify at once, it is called at most once ever, by the dispatch
    /// that removes it. A dispatch that is dropped before its future has ended does not
    /// bring it back. As with [`register`](Self::register), the future owns what it needs.
    #[track_caller]
    pub fn register_once<F, Fut>(&self, handler: F) -> HandlerId
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(once(self, handler))
    }

    /// Registers an `async fn(&E)`, or an `async` closure, whose futures borrow the event.
    ///
    /// The handler is cloned for each call, so that its future can own what it captured:
    /// capture what is cheap to clone, such as an `Arc`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use topic_registry::AsyncRegistry;
    ///
    /// async fn audit(line: &str) {
    ///     println!("{line}");
    /// }
    ///
    /// let lines = AsyncRegistry::<str>::new();
    /// lines.register_async_fn(audit);
    ///
    /// let prefix = Arc::new("debug".to_owned());
    /// lines.register_async_fn(async move |line| println!("{prefix}: {line}"));
    /// ```
    ///
    /// The event is borrowed for as long as the dispatch lasts, and not for longer: this
    /// `audit` would have to own the line.
    ///
    /// ```compile_fail
    /// use topic_registry::AsyncRegistry;
    ///
    /// async fn audit(line: &'static str) {
    ///     println!("{line}");
    /// }
    ///
    /// let lines = AsyncRegistry::<str>::new();
    /// lines.register_async_fn(audit);
    /// ```
    #[track_caller]
    pub fn register_async_fn<F>(&self, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.register_async_fn_with_priority(0, handler)
    }

    /// As [`register_async_fn`](Self::register_async_fn), at a priority.
    #[track_caller]
    pub fn register_async_fn_with_priority<F>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.add(entry(self, HandlerId::next(priority), Borrowing(handler)))
    }

    /// As [`register_async_fn`](Self::register_async_fn), until the guard is dropped.
    #[track_caller]
    pub fn register_async_fn_guard<F>(&self, handler: F) -> HandlerGuard
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.guard(self.register_async_fn(handler))
    }

    /// As [`register_async_fn_with_priority`](Self::register_async_fn_with_priority), until
    /// the guard is dropped.
    #[track_caller]
    pub fn register_async_fn_guard_with_priority<F>(
        &self,
        priority: i32,
        handler: F,
    ) -> HandlerGuard
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.guard(self.register_async_fn_with_priority(priority, handler))
    }

    /// Runs all handlers at once, on the task that awaits this.
    ///
    /// They start in order, and each is polled once as it starts, with the waker of the task.
    /// Those that are pending then are polled once more when the task is polled again, with
    /// wakers of their own; from then on each is polled when it is woken. A panic is reported
    /// when it happens, whatever the others do.
    ///
    /// Nothing happens before this is first polled; the handlers are those that are
    /// registered by then. Dropping it drops the futures that have not ended. It is `Send`
    /// if `E` is `Sync`. A panic of the task's own waker counts as the handler's that wakes it in
    /// its first poll; after that it is not caught, because it is the executor's.
    ///
    /// Takes no lock. Allocates one box a handler at most, and what it takes to wait for those
    /// that are pending after their first poll.
    pub async fn notify(&self, event: &E) -> Delivery {
        if self.is_empty() {
            return Delivery::default();
        }
        concurrently(self, event).await
    }

    /// Runs the handlers one after the other: each starts when the one before has ended.
    ///
    /// One that is removed before its turn is skipped; otherwise as [`notify`](Self::notify).
    pub async fn notify_sequential(&self, event: &E) -> Delivery {
        if self.is_empty() {
            return Delivery::default();
        }
        in_sequence(self, event).await
    }
}

/// A handler whose futures own what they need.
struct Owning<F>(F);

impl<E, F, Fut> Begin<E> for Owning<F>
where
    E: ?Sized,
    F: Fn(&E) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Future<'e>
        = Fut
    where
        E: 'e;

    #[inline]
    fn begin(&self, event: &E) -> Result<Fut, Outcome> {
        Ok((self.0)(event))
    }
}

/// A handler whose futures borrow the event.
struct Borrowing<F>(F);

impl<E, F> Begin<E> for Borrowing<F>
where
    E: ?Sized,
    F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync,
{
    type Future<'e>
        = <F as BorrowingHandler<'e, E>>::Future
    where
        E: 'e;

    #[inline]
    fn begin<'e>(&self, event: &'e E) -> Result<Self::Future<'e>, Outcome> {
        Ok(self.0.clone()(event))
    }
}

/// A handler for one call ever.
impl<E, F, Fut> Begin<E> for Once<F>
where
    E: ?Sized,
    F: FnOnce(&E) -> Fut + Send,
    Fut: Future<Output = ()> + Send + 'static,
{
    type Future<'e>
        = Fut
    where
        E: 'e;

    #[inline]
    fn begin(&self, event: &E) -> Result<Fut, Outcome> {
        Ok(self.claim().ok_or(Outcome::Skipped)?(event))
    }
}

/// A handler that may stop the dispatch, and has nothing to wait for.
struct Intercepting<I>(I);

impl<E, I> Begin<E> for Intercepting<I>
where
    E: ?Sized,
    I: Fn(&E) -> ControlFlow<()> + Send + Sync,
{
    type Future<'e>
        = Ready<()>
    where
        E: 'e;

    #[inline]
    fn begin(&self, event: &E) -> Result<Ready<()>, Outcome> {
        Err(match (self.0)(event) {
            ControlFlow::Continue(()) => Outcome::Called,
            ControlFlow::Break(()) => Outcome::Stopped,
        })
    }
}

#[track_caller]
fn once<E, F, Fut>(registry: &AsyncRegistry<E>, handler: F) -> Entry<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: FnOnce(&E) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let id = HandlerId::next(0);
    entry(registry, id, Once::new(registry.registration(id), handler))
}

#[track_caller]
fn entry<E, F>(registry: &AsyncRegistry<E>, id: HandlerId, closure: F) -> Entry<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: Begin<E> + 'static,
{
    let head = Head::new(id, Location::caller(), registry.home());
    Arc::new(Slot::new(head, Some(closure)))
}

impl<E: ?Sized> Batch<'_, AsyncFlavor, E> {
    /// As [`AsyncRegistry::register`].
    #[track_caller]
    pub fn register<F, Fut>(&mut self, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.register_with_priority(0, handler)
    }

    /// As [`AsyncRegistry::register_with_priority`].
    #[track_caller]
    pub fn register_with_priority<F, Fut>(&mut self, priority: i32, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(entry(
            self.registry,
            HandlerId::next(priority),
            Owning(handler),
        ))
    }

    /// As [`AsyncRegistry::register_once`].
    #[track_caller]
    pub fn register_once<F, Fut>(&mut self, handler: F) -> HandlerId
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(once(self.registry, handler))
    }

    /// As [`AsyncRegistry::register_async_fn`].
    #[track_caller]
    pub fn register_async_fn<F>(&mut self, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.register_async_fn_with_priority(0, handler)
    }

    /// As [`AsyncRegistry::register_async_fn_with_priority`].
    #[track_caller]
    pub fn register_async_fn_with_priority<F>(&mut self, priority: i32, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.add(entry(
            self.registry,
            HandlerId::next(priority),
            Borrowing(handler),
        ))
    }
}

impl<K: Key, E: ?Sized> AsyncTopicRegistry<K, E> {
    /// [`AsyncRegistry::register`] on the key's topic.
    #[track_caller]
    pub fn register<F, Fut>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handle(key).register(handler)
    }

    /// [`AsyncRegistry::register_with_priority`] on the key's topic.
    #[track_caller]
    pub fn register_with_priority<F, Fut>(
        &self,
        key: impl Into<K>,
        priority: i32,
        handler: F,
    ) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handle(key).register_with_priority(priority, handler)
    }

    /// [`AsyncRegistry::register_guard`] on the key's topic.
    #[track_caller]
    pub fn register_guard<F, Fut>(&self, key: impl Into<K>, handler: F) -> HandlerGuard
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handle(key).register_guard(handler)
    }

    /// [`AsyncRegistry::register_guard_with_priority`] on the key's topic.
    #[track_caller]
    pub fn register_guard_with_priority<F, Fut>(
        &self,
        key: impl Into<K>,
        priority: i32,
        handler: F,
    ) -> HandlerGuard
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handle(key)
            .register_guard_with_priority(priority, handler)
    }

    /// [`AsyncRegistry::register_once`] on the key's topic.
    #[track_caller]
    pub fn register_once<F, Fut>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handle(key).register_once(handler)
    }

    /// [`AsyncRegistry::register_async_fn`] on the key's topic.
    #[track_caller]
    pub fn register_async_fn<F>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.handle(key).register_async_fn(handler)
    }

    /// [`AsyncRegistry::register_async_fn_with_priority`] on the key's topic.
    #[track_caller]
    pub fn register_async_fn_with_priority<F>(
        &self,
        key: impl Into<K>,
        priority: i32,
        handler: F,
    ) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.handle(key)
            .register_async_fn_with_priority(priority, handler)
    }

    /// [`AsyncRegistry::register_async_fn_guard`] on the key's topic.
    #[track_caller]
    pub fn register_async_fn_guard<F>(&self, key: impl Into<K>, handler: F) -> HandlerGuard
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.handle(key).register_async_fn_guard(handler)
    }

    /// [`AsyncRegistry::register_async_fn_guard_with_priority`] on the key's topic.
    #[track_caller]
    pub fn register_async_fn_guard_with_priority<F>(
        &self,
        key: impl Into<K>,
        priority: i32,
        handler: F,
    ) -> HandlerGuard
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        self.handle(key)
            .register_async_fn_guard_with_priority(priority, handler)
    }

    /// [`AsyncRegistry::notify`] on the key's topic, which is looked up when this is first
    /// polled. Without one, nothing happens, and none is made.
    pub async fn notify<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        concurrently(&ByKey(self, key), event).await
    }

    /// [`AsyncRegistry::notify_sequential`] on the key's topic, which is looked up when this
    /// is first polled. Without one, nothing happens, and none is made.
    pub async fn notify_sequential<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        in_sequence(&ByKey(self, key), event).await
    }
}
