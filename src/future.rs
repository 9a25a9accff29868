//! The async flavor: handlers that return futures, run concurrently or one by one.
//!
//! A dispatch owns the list that it runs over (a snapshot would be held across awaits), so
//! its futures may borrow from the handlers in it and from the event. It is polled by one
//! task at a time, and its futures are polled nowhere else.

use std::borrow::Borrow;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::cell::Snapshot;
use crate::list::List;
use crate::panic::{PanicOrigin, catch};
use crate::registry::{Entry, sealed};
use crate::slot::{Handler, Head, Once, Outcome, Slot};
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
/// assert_eq!(saves.notify("app.toml").await.called, 1);
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
/// assert_eq!(users.notify(&7, "Ada").await.called, 1);
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
}

/// An `async fn(&E)`, or any other handler whose future borrows the event. Implemented for
/// every function that fits.
pub trait BorrowingHandler<'e, E: ?Sized + 'e>:
    Fn(&'e E) -> <Self as BorrowingHandler<'e, E>>::Future
{
    /// What the handler returns; it may live as long as the event.
    type Future: Future<Output = ()> + Send + 'e;
}

impl<'e, E: ?Sized + 'e, F, Fut> BorrowingHandler<'e, E> for F
where
    F: Fn(&'e E) -> Fut,
    Fut: Future<Output = ()> + Send + 'e,
{
    type Future = Fut;
}

/// A handler as a dispatch sees it.
pub trait AsyncHandler<E: ?Sized>: Handler {
    /// Calls the closure, unless the handler was removed, for a future to be polled.
    fn start<'e>(&'e self, event: &'e E) -> Result<Running<'e>, Outcome>;
}

type BoxFuture<'e> = Pin<Box<dyn Future<Output = ()> + Send + 'e>>;

impl<E, F> AsyncHandler<E> for Slot<Option<F>>
where
    E: ?Sized,
    F: for<'e> Fn(&'e E) -> Option<BoxFuture<'e>> + Send + Sync,
{
    fn start<'e>(&'e self, event: &'e E) -> Result<Running<'e>, Outcome> {
        let closure = self.live().ok_or(Outcome::Skipped)?;
        let head = self.head();
        match catch(|| closure(event)) {
            Ok(Some(future)) => Ok(Running {
                head,
                future: Some(future),
            }),
            Ok(None) => Err(Outcome::Skipped),
            Err(payload) => {
                head.report(PanicOrigin::Call, payload);
                Err(Outcome::Panicked)
            }
        }
    }
}

/// The future of one handler. Whatever panics in it, while it is polled or dropped, is
/// reported and goes no further.
#[allow(missing_debug_implementations, reason = "nobody outside can name it")]
pub struct Running<'e> {
    head: &'e Head,
    // `None` once it has ended.
    future: Option<BoxFuture<'e>>,
}

impl Future for Running<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(Outcome::Skipped);
        };
        let outcome = match catch(|| future.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => Outcome::Called,
            Err(payload) => {
                self.head.report(PanicOrigin::Call, payload);
                Outcome::Panicked
            }
        };
        self.discard();
        Poll::Ready(outcome)
    }
}

impl Running<'_> {
    fn discard(&mut self) {
        self.head.discard(self.future.take());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.discard();
    }
}

type Handlers<E> = List<Entry<AsyncFlavor, E>>;

/// Starts every handler, in order, and polls its future once. Only what is pending then is
/// worth the bookkeeping of waiting for several futures at once.
async fn concurrently<E: ?Sized + 'static>(list: &Handlers<E>, event: &E) -> Delivery {
    let (mut delivery, mut pending) = (Delivery::default(), None);
    poll_fn(|context| {
        for handler in list.iter() {
            match handler.start(event) {
                Ok(mut running) => match running.poll_unpin(context) {
                    Poll::Ready(outcome) => delivery.count(outcome),
                    Poll::Pending => {
                        let pending = pending.get_or_insert_with(FuturesUnordered::new);
                        pending.push(running);
                    }
                },
                Err(outcome) => delivery.count(outcome),
            }
        }
        Poll::Ready(())
    })
    .await;
    if let Some(mut pending) = pending {
        while let Some(outcome) = pending.next().await {
            delivery.count(outcome);
        }
    }
    delivery
}

/// Runs the handlers one after the other, in order.
async fn in_sequence<E: ?Sized + 'static>(list: &Handlers<E>, event: &E) -> Delivery {
    let mut delivery = Delivery::default();
    for handler in list.iter() {
        let outcome = match handler.start(event) {
            Ok(running) => running.await,
            Err(outcome) => outcome,
        };
        delivery.count(outcome);
    }
    delivery
}

impl<E: ?Sized> AsyncRegistry<E> {
    /// Registers a handler whose futures own what they need: it takes from the event what
    /// it wants before it returns one.
    ///
    /// It takes part in every dispatch that is first polled after this has returned.
    ///
    /// Takes the writer lock, and copies the list of handlers.
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
        self.add(owning(self, priority, handler))
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
    /// bring it back.
    #[track_caller]
    pub fn register_once<F, Fut>(&self, handler: F) -> HandlerId
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.add(once(self, handler))
    }

    /// Registers an `async fn(&E)`, or any other handler whose futures borrow the event.
    ///
    /// ```
    /// use topic_registry::AsyncRegistry;
    ///
    /// async fn audit(line: &str) {
    ///     println!("{line}");
    /// }
    ///
    /// let lines = AsyncRegistry::<str>::new();
    /// lines.register_async_fn(audit);
    /// lines.register_async_fn(async |line: &str| println!("{line}"));
    /// ```
    ///
    /// The event is borrowed for as long as the dispatch lasts, and not for longer:
    ///
    /// ```compile_fail,E0521
    /// use topic_registry::AsyncRegistry;
    ///
    /// async fn escape(line: &'static str) {
    ///     println!("{line}");
    /// }
    ///
    /// let lines = AsyncRegistry::<str>::new();
    /// lines.register_async_fn(escape);
    /// ```
    #[track_caller]
    pub fn register_async_fn<F>(&self, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
    {
        self.register_async_fn_with_priority(0, handler)
    }

    /// As [`register_async_fn`](Self::register_async_fn), at a priority.
    #[track_caller]
    pub fn register_async_fn_with_priority<F>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
    {
        self.add(borrowing(self, priority, handler))
    }

    /// As [`register_async_fn`](Self::register_async_fn), until the guard is dropped.
    #[track_caller]
    pub fn register_async_fn_guard<F>(&self, handler: F) -> HandlerGuard
    where
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
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
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
    {
        self.guard(self.register_async_fn_with_priority(priority, handler))
    }

    /// Runs all handlers at once, on the task that awaits this.
    ///
    /// They start in order, and each is polled once as it starts; then each is polled when
    /// it is woken. A panic is reported when it happens, whatever the others do.
    ///
    /// Nothing happens before this is first polled; the handlers are those that are
    /// registered by then. Dropping it drops the futures that have not ended. It is `Send`
    /// if `E` is `Sync`.
    ///
    /// Takes no lock. Allocates one box a handler, and what it takes to wait for those that
    /// are pending after their first poll.
    pub async fn notify(&self, event: &E) -> Delivery {
        match self.core.cell.load().and_then(Snapshot::into_owned) {
            Some(list) => concurrently(&list, event).await,
            None => Delivery::default(),
        }
    }

    /// Runs the handlers one after the other: each starts when the one before has ended.
    ///
    /// One that is removed before its turn is skipped; otherwise as [`notify`](Self::notify).
    pub async fn notify_sequential(&self, event: &E) -> Delivery {
        match self.core.cell.load().and_then(Snapshot::into_owned) {
            Some(list) => in_sequence(&list, event).await,
            None => Delivery::default(),
        }
    }
}

/// A handler whose futures own what they need.
#[track_caller]
fn owning<E, F, Fut>(
    registry: &AsyncRegistry<E>,
    priority: i32,
    handler: F,
) -> Entry<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: Fn(&E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    entry(registry, HandlerId::next(priority), move |event| {
        Some(Box::pin(handler(event)))
    })
}

/// A handler whose futures borrow the event.
#[track_caller]
fn borrowing<E, F>(registry: &AsyncRegistry<E>, priority: i32, handler: F) -> Entry<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
{
    entry(registry, HandlerId::next(priority), move |event| {
        Some(Box::pin(handler(event)))
    })
}

/// A handler for one call ever.
#[track_caller]
fn once<E, F, Fut>(registry: &AsyncRegistry<E>, handler: F) -> Entry<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: FnOnce(&E) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let id = HandlerId::next(0);
    let once = Once::new(registry.registration(id), handler);
    entry(registry, id, move |event| {
        let handler = once.claim()?;
        Some(Box::pin(handler(event)))
    })
}

#[track_caller]
fn entry<E, F>(registry: &AsyncRegistry<E>, id: HandlerId, closure: F) -> Entry<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: for<'e> Fn(&'e E) -> Option<BoxFuture<'e>> + Send + Sync + 'static,
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
        self.add(owning(self.registry, priority, handler))
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
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
    {
        self.register_async_fn_with_priority(0, handler)
    }

    /// As [`AsyncRegistry::register_async_fn_with_priority`].
    #[track_caller]
    pub fn register_async_fn_with_priority<F>(&mut self, priority: i32, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
    {
        self.add(borrowing(self.registry, priority, handler))
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
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
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
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
    {
        self.handle(key)
            .register_async_fn_with_priority(priority, handler)
    }

    /// [`AsyncRegistry::register_async_fn_guard`] on the key's topic.
    #[track_caller]
    pub fn register_async_fn_guard<F>(&self, key: impl Into<K>, handler: F) -> HandlerGuard
    where
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
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
        F: for<'e> BorrowingHandler<'e, E> + Send + Sync + 'static,
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
        match self.snapshot(key).and_then(Snapshot::into_owned) {
            Some(list) => concurrently(&list, event).await,
            None => Delivery::default(),
        }
    }

    /// [`AsyncRegistry::notify_sequential`] on the key's topic, which is looked up when this
    /// is first polled. Without one, nothing happens, and none is made.
    pub async fn notify_sequential<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.snapshot(key).and_then(Snapshot::into_owned) {
            Some(list) => in_sequence(&list, event).await,
            None => Delivery::default(),
        }
    }
}
