//! The async flavor: handlers that return futures, run concurrently or one by one.

use std::borrow::Borrow;
use std::future::{Future, Ready};
use std::hash::Hash;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use equivalent::Equivalent;

use super::poll::{AsyncArc, AsyncHandler, MakeFuture, Source, concurrently, in_sequence};
use crate::handler;
use crate::handler::counted::counted;
use crate::handler::delivery::{Delivery, Outcome};
use crate::handler::flavor::{EventRef, Flavor, HandlerArc, Passes, SharedFlavor, Shares};
use crate::handler::guard::HandlerGuard;
use crate::handler::registration::Registration;
use crate::handler::stopwatch::Stopwatch;
use crate::handler::wrapped::Wrapped;
use crate::handler::{Callable, Header, Once};
use crate::registry::Registry;
use crate::registry::batch::Batch;
use crate::registry::options::{RegisterOptions, Returns};
use crate::registry::weak::WeakRegistry;
use crate::report::id::HandlerId;
use crate::snapshot::cell::HasCell;
use crate::snapshot::list::List;
use crate::topics::table::Key;
use crate::topics::weak::WeakTopics;
use crate::topics::{Handle, Topics};

/// One topic without a key: handlers that return futures, run by `notify(..).await`.
///
/// Which changes a dispatch sees: [Consistency](Registry#consistency). What keeps it alive:
/// [Leaks](Registry#leaks). Before you use it in a service: [Async](crate::guide#async). Clones are
/// handles to the same registry.
///
/// It needs no particular runtime: the futures are polled by the task that notifies. A handler is a
/// closure that returns a future, or an `async` closure
/// ([`register_async_fn`](AsyncRegistry::register_async_fn)), whose future borrows the event.
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
///
/// All else is the same for every flavor: [`new`](Registry::new), [`options`](Registry::options),
/// [`unregister`](Registry::unregister), [`update`](Registry::update), [`pause`](Registry::pause),
/// [`on_panic`](Registry::on_panic), [`wait_for`](Registry::wait_for),
/// [`handlers`](Registry::handlers), and the rest of
/// [`Registry`].
pub type AsyncRegistry<E> = Registry<AsyncFlavor, E>;

/// Topics found by key, each of which is an [`AsyncRegistry`].
///
/// When a topic exists: [Consistency](Topics#consistency). What a look-up takes, and what a key may
/// do: [Cost](Topics#cost). Who is called where: [Callbacks](Topics#callbacks). What ends when:
/// [Lifetime](Topics#lifetime). Clones are handles to the same topics.
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
/// let _id = users.register_async_fn(7u64, greet);
/// assert_eq!(users.notify(&7, "Ada").await.called(), 1);
/// # }
/// ```
///
/// All else is the same for every flavor: [`new`](Topics::new), [`handle`](Topics::handle),
/// [`options`](Topics::options), [`get`](Topics::get), [`unregister`](Topics::unregister),
/// [`remove`](Topics::remove), [`on_panic`](Topics::on_panic),
/// [`observe_interest`](Topics::observe_interest), [`builder`](Topics::builder), and the rest of
/// [`Topics`].
pub type AsyncTopicRegistry<K, E> = Topics<AsyncFlavor, K, E>;

/// A cached reference to a topic of an [`AsyncTopicRegistry`].
///
/// It derefs to [`AsyncRegistry`], and has all that this has. The topic exists as long as
/// the handle.
///
/// ```
/// use topic_registry::{AsyncTopicHandle, AsyncTopicRegistry};
///
/// async fn greet(name: &str) {
///     println!("hello {name}");
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let users = AsyncTopicRegistry::<u64, str>::new();
/// let seven: AsyncTopicHandle<u64, str> = users.handle(7u64);
/// seven.register_async_fn(greet);
/// assert_eq!(seven.notify("Ada").await.called(), 1);
/// # }
/// ```
pub type AsyncTopicHandle<K, E> = Handle<AsyncFlavor, K, E>;

/// A weak reference to an [`AsyncRegistry`], for what the registry owns: see [`WeakRegistry`].
pub type WeakAsyncRegistry<E> = WeakRegistry<AsyncFlavor, E>;

/// A weak reference to an [`AsyncTopicRegistry`], for what the topics own: see [`WeakTopics`].
pub type WeakAsyncTopicRegistry<K, E> = WeakTopics<AsyncFlavor, K, E>;

/// The flavor whose handlers return futures, polled by the task that notifies.
#[derive(Debug)]
pub enum AsyncFlavor {}

impl Shares for AsyncFlavor {}

impl<'a, E: ?Sized + 'static> Passes<'a, '_, E> for AsyncFlavor {
    type Event = &'a E;
}

impl<E: ?Sized + 'static> SharedFlavor<E> for AsyncFlavor {}

impl<E: ?Sized + 'static> Flavor<E> for AsyncFlavor {
    const REGISTRY_PREFIX: &'static str = "Async";
    const TOPIC_PREFIX: &'static str = "Async";

    type Handler = dyn AsyncHandler<E>;

    fn inline<C>(header: Header, call: C) -> HandlerArc<Self, E>
    where
        C: Fn(EventRef<'_, '_, Self, E>, &Header) -> Outcome + Send + Sync + 'static,
    {
        callable(header, Inline(call))
    }

    fn wrap(wrapped: Wrapped<Self::Handler>) -> HandlerArc<Self, E> {
        counted(Arc::new(wrapped))
    }
}

/// An `async fn(&E)` or an `async` closure, whose future borrows the event. Implemented for every
/// function of that form.
///
/// If the event is a trait object, an `async fn` has to take `&(dyn Trait + 'static)`.
pub trait BorrowingHandler<'e, E: ?Sized + 'e>:
    AsyncFnOnce(&'e E) + FnOnce(&'e E) -> <Self as BorrowingHandler<'e, E>>::Future
{
    /// The future that the handler returns; it may live as long as the event.
    type Future: Future<Output = ()> + Send + 'e;
}

impl<'e, E: ?Sized + 'e, F, Fut> BorrowingHandler<'e, E> for F
where
    F: AsyncFnOnce(&'e E) + FnOnce(&'e E) -> Fut,
    Fut: Future<Output = ()> + Send + 'e,
{
    type Future = Fut;
}

impl<E: ?Sized> AsyncRegistry<E> {
    /// Registers a handler whose futures own what they need: it copies what it needs from the event
    /// before it returns a future. For an `async fn(&E)`, see
    /// [`register_async_fn`](Self::register_async_fn).
    ///
    /// It takes part in every dispatch that is first polled after this has returned.
    ///
    /// Takes the writer lock, and copies up to 64 references to handlers, plus one reference for
    /// each further 64 handlers.
    #[doc(alias("subscribe", "on", "connect", "listen"))]
    #[track_caller]
    pub fn register<F, Fut>(&self, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.options().register(handler)
    }

    /// Registers an `async fn(&E)`, or an `async` closure, whose futures borrow the event.
    ///
    /// The handler is cloned for each call, so that its future can own the captured values. Capture
    /// values that are cheap to clone, such as an `Arc`.
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
    /// The event is borrowed as long as the dispatch lasts, and no longer. This `audit` would have
    /// to own the line:
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
        self.options().register_async_fn(handler)
    }

    /// Runs all handlers concurrently, on the task that awaits this.
    ///
    /// They start in order, and each is polled once as it starts, with the waker of the task.
    /// Futures that are pending after that are polled once more when the task is polled again, with
    /// wakers of their own; from then on, each is polled only when it is woken. A panic is reported
    /// when it happens, whatever the other handlers do.
    ///
    /// Nothing happens before this is first polled, and it holds nothing until then; it runs the
    /// handlers that are registered at that time. After that, it holds the futures that are
    /// pending, and their handlers: a dispatch that is kept but not polled delays joins and drops.
    /// Dropping it drops the futures that have not ended; the removal of a handler does not. It is
    /// `Send` if `E` is `Sync`.
    /// A panic of the task's own waker counts as a panic of the handler that wakes it in its first
    /// poll; after that it is not caught, because it belongs to the executor, and the result of the
    /// dispatch may be lost with it.
    ///
    /// Takes no lock, except for calls of handlers that are joinable or for a single call.
    /// Allocates at most one box per handler (more for a handler that is joinable or removes
    /// itself), and what is needed to wait for the futures that are pending after their first poll.
    /// After 64 polls in a row that were pending, it wakes itself and returns to the executor,
    /// because the task may only have used up its turn.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    pub async fn notify(&self, event: &E) -> Delivery {
        if self.is_empty() {
            return Delivery::default();
        }
        concurrently(self, || event).await
    }

    /// Runs the handlers one after the other: each starts when the previous one has ended.
    ///
    /// A handler that is removed before its turn is skipped. Otherwise, this is like
    /// [`notify`](Self::notify).
    pub async fn notify_sequential(&self, event: &E) -> Delivery {
        if self.is_empty() {
            return Delivery::default();
        }
        in_sequence(self, || event).await
    }

    /// Runs all handlers concurrently, as [`notify`](Self::notify) does, with an event that is
    /// created only if there are handlers when this is first polled. The event lives as long as the
    /// dispatch.
    ///
    /// If `event` panics, the panic unwinds out of the poll, and no handler is called. A panic of
    /// the created event's destructor unwinds out of the last poll, or out of the drop of this
    /// future.
    pub async fn notify_with<T: Borrow<E>>(&self, event: impl FnOnce() -> T) -> Delivery {
        concurrently(self, event).await
    }

    /// Runs the handlers one after the other, as [`notify_sequential`](Self::notify_sequential)
    /// does, with an event as in [`notify_with`](Self::notify_with).
    pub async fn notify_sequential_with<T: Borrow<E>>(
        &self,
        event: impl FnOnce() -> T,
    ) -> Delivery {
        in_sequence(self, event).await
    }

    /// Registers a handler with a priority: handlers with a higher one start first, those with the
    /// same one in the order of their registration. The default priority is 0.
    ///
    /// ```
    /// use topic_registry::AsyncRegistry;
    ///
    /// let saves = AsyncRegistry::<str>::new();
    /// saves.register_with_priority(-1, |_| async { println!("last") });
    /// saves.register_with_priority(10, |_| async { println!("first") });
    /// ```
    #[track_caller]
    pub fn register_with_priority<F, Fut>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.options().priority(priority).register(handler)
    }

    /// Registers a handler, and returns a guard that removes it when it is dropped.
    ///
    /// ```
    /// use topic_registry::AsyncRegistry;
    ///
    /// let saves = AsyncRegistry::<str>::new();
    /// let guard = saves.register_guard(|_| async { println!("saved") });
    /// drop(guard);
    /// assert!(saves.is_empty());
    /// ```
    #[track_caller]
    pub fn register_guard<F, Fut>(&self, handler: F) -> HandlerGuard
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.options().guard().register(handler)
    }

    /// Registers a handler for a single call.
    ///
    /// It is called at most once, however many tasks notify at the same time: by the dispatch that
    /// removes it. If that dispatch is dropped before the handler's future has ended, the handler
    /// is not registered again. As with [`register`](Self::register), the future owns what it
    /// needs.
    #[track_caller]
    pub fn register_once<F, Fut>(&self, handler: F) -> HandlerId
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.options().register_once(handler)
    }
}

impl<E: ?Sized + 'static> Source<E> for AsyncRegistry<E> {
    fn read<R: Default>(&self, read: impl FnOnce(&Arc<List<AsyncArc<E>>>) -> R) -> R {
        self.cell().read(read)
    }
}

/// The handlers of a topic, found by its key.
struct ByKey<'q, K: Key, Q: ?Sized, E: ?Sized + 'static>(&'q AsyncTopicRegistry<K, E>, &'q Q);

impl<K, Q, E> Source<E> for ByKey<'_, K, Q, E>
where
    K: Key,
    Q: Hash + Equivalent<K> + ?Sized,
    E: ?Sized + 'static,
{
    fn read<R: Default>(&self, read: impl FnOnce(&Arc<List<AsyncArc<E>>>) -> R) -> R {
        self.0.read(self.1, read)
    }
}

/// A handler that is too large to be moved.
impl<E: ?Sized, M: MakeFuture<E>> MakeFuture<E> for Box<M> {
    type Future<'e>
        = M::Future<'e>
    where
        E: 'e;

    #[inline]
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        M::make_future(self, event, stopwatch, put)
    }
}

/// A handler whose futures own what they need.
struct Owning<F>(F);

impl<E, F, Fut> MakeFuture<E> for Owning<F>
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
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        Ok(stopwatch.run(|| put((self.0)(event))))
    }
}

/// A handler whose futures borrow the event.
struct Borrowing<F>(F);

impl<E, F> MakeFuture<E> for Borrowing<F>
where
    E: ?Sized,
    F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync,
{
    type Future<'e>
        = <F as BorrowingHandler<'e, E>>::Future
    where
        E: 'e;

    #[inline]
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        Ok(stopwatch.run(|| put(self.0.clone()(event))))
    }
}

/// A handler for a single call.
impl<E, F, Fut> MakeFuture<E> for Once<F>
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
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        let handler = self.take().ok_or(Outcome::Skipped)?;
        Ok(stopwatch.run(|| put(handler(event))))
    }
}

/// A handler for a single call, whose future borrows the event.
struct BorrowingOnce<F>(Once<F>);

impl<E, F> MakeFuture<E> for BorrowingOnce<F>
where
    E: ?Sized,
    F: for<'e> BorrowingHandler<'e, E> + Send,
{
    type Future<'e>
        = <F as BorrowingHandler<'e, E>>::Future
    where
        E: 'e;

    #[inline]
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        let handler = self.0.take().ok_or(Outcome::Skipped)?;
        Ok(stopwatch.run(|| put(handler(event))))
    }
}

/// A handler that never waits.
struct Inline<C>(C);

impl<E, C> MakeFuture<E> for Inline<C>
where
    E: ?Sized,
    C: Fn(&E, &Header) -> Outcome + Send + Sync,
{
    type Future<'e>
        = Ready<()>
    where
        E: 'e;

    #[inline]
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        _: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        // It times itself.
        Err((self.0)(event, stopwatch.header()))
    }
}

/// A handler that is removed when one of its futures returns `Break`.
struct Until<F> {
    handler: F,
    registration: Registration,
}

impl<E, F, Fut> MakeFuture<E> for Until<F>
where
    E: ?Sized,
    F: Fn(&E) -> Fut + Send + Sync,
    Fut: Future<Output = ControlFlow<()>> + Send + 'static,
{
    type Future<'e>
        = UntilFuture<Fut>
    where
        E: 'e;

    #[inline]
    fn make_future<'e, R, const TIMED: bool>(
        &self,
        event: &'e E,
        stopwatch: &mut Stopwatch<'_, TIMED>,
        put: impl FnOnce(Self::Future<'e>) -> R,
    ) -> Result<R, Outcome> {
        Ok(put(UntilFuture {
            future: stopwatch.run(|| Box::pin((self.handler)(event))),
            registration: self.registration.clone(),
            is_last: false,
        }))
    }
}

/// A future that removes its handler when it is dropped after it has returned `Break`: at once, but
/// outside of the poll, whose time is the user's.
struct UntilFuture<Fut> {
    // In a box, because pinning a field takes unsafe code.
    future: Pin<Box<Fut>>,
    registration: Registration,
    is_last: bool,
}

impl<Fut: Future<Output = ControlFlow<()>>> Future for UntilFuture<Fut> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let flow = ready!(self.future.as_mut().poll(context));
        self.is_last = flow.is_break();
        Poll::Ready(())
    }
}

impl<Fut> Drop for UntilFuture<Fut> {
    fn drop(&mut self) {
        if self.is_last {
            self.registration.remove();
        }
    }
}

fn callable<E, F>(header: Header, closure: F) -> HandlerArc<AsyncFlavor, E>
where
    E: ?Sized + 'static,
    F: MakeFuture<E> + 'static,
{
    if const { handler::is_large::<F>() } {
        // In a box, it is not moved to be dropped.
        counted(Arc::new(Callable::new(header, Some(Box::new(closure)))))
    } else {
        counted(Arc::new(Callable::new(header, Some(closure))))
    }
}

impl<E, R> RegisterOptions<'_, AsyncFlavor, E, R>
where
    E: ?Sized,
    R: Returns<AsyncFlavor, E>,
{
    /// Registers a handler, as [`AsyncRegistry::register`] does.
    #[track_caller]
    pub fn register<F, Fut>(self, handler: F) -> R::Registered
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let header = self.header();
        self.add(callable(header, Owning(handler)))
    }

    /// Registers an `async fn(&E)`, as [`AsyncRegistry::register_async_fn`] does.
    #[track_caller]
    pub fn register_async_fn<F>(self, handler: F) -> R::Registered
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        let header = self.header();
        self.add(callable(header, Borrowing(handler)))
    }

    /// Registers a handler for a single call, as [`AsyncRegistry::register_once`] does.
    #[track_caller]
    pub fn register_once<F, Fut>(self, handler: F) -> R::Registered
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        if const { handler::is_large::<F>() } {
            // A `FnOnce` is moved to be called, unless it is unsized.
            let handler: Box<dyn FnOnce(&E) -> Fut + Send> = Box::new(handler);
            return self.add_future_once(handler);
        }
        self.add_future_once(handler)
    }

    #[track_caller]
    fn add_future_once<F, Fut>(self, handler: F) -> R::Registered
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let header = self.header();
        let once = Once::new(self.registry.registration(header.id()), handler);
        self.add(callable(header, once))
    }

    /// Registers a handler that can remove itself: after one of its futures has returned `Break`,
    /// it is removed, before the dispatch polls another handler.
    ///
    /// No dispatch starts it once it is removed. Its futures that already exist continue, and their
    /// results are ignored. A handler that panics stays registered. As with
    /// [`register`](AsyncRegistry::register), the future owns what it needs. It takes one more box
    /// than the futures of other handlers.
    #[track_caller]
    pub fn register_until<F, Fut>(self, handler: F) -> R::Registered
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ControlFlow<()>> + Send + 'static,
    {
        let header = self.header();
        let registration = self.registry.registration(header.id());
        let until = Until {
            handler,
            registration,
        };
        self.add(callable(header, until))
    }

    /// Registers an `async fn(&E)`, or an `async` closure, for a single call. Its future borrows
    /// the event; the handler need not be `Clone`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use topic_registry::AsyncRegistry;
    ///
    /// let saves = AsyncRegistry::<str>::new();
    /// saves.options().register_async_fn_once(async |path: &str| println!("{path} was saved"));
    /// assert_eq!(saves.notify("one.toml").await.called(), 1);
    /// assert_eq!(saves.notify("two.toml").await.called(), 0);
    /// # }
    /// ```
    #[track_caller]
    pub fn register_async_fn_once<F>(self, handler: F) -> R::Registered
    where
        F: for<'e> BorrowingHandler<'e, E> + Send + 'static,
    {
        let header = self.header();
        let once = Once::new(self.registry.registration(header.id()), handler);
        self.add(callable(header, BorrowingOnce(once)))
    }
}

impl<E: ?Sized> Batch<'_, AsyncFlavor, E> {
    /// Registers a handler, as [`AsyncRegistry::register`] does.
    #[track_caller]
    pub fn register<F, Fut>(&mut self, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.options().register(handler)
    }
}

/// A handle notifies as its [`AsyncRegistry`] does, and derefs to it. So it also registers
/// ([`register_async_fn`](AsyncRegistry::register_async_fn), [`register`](AsyncRegistry::register),
/// [`options`](Registry::options), [`update`](Registry::update)), removes
/// ([`unregister`](Registry::unregister), [`clear`](Registry::clear)), reports panics
/// ([`on_panic`](Registry::on_panic)) and lists its [`handlers`](Registry::handlers).
impl<K: Key, E: ?Sized> AsyncTopicHandle<K, E> {
    /// Runs all handlers of the topic concurrently, on the task that awaits this:
    /// [`AsyncRegistry::notify`].
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    pub async fn notify(&self, event: &E) -> Delivery {
        AsyncRegistry::notify(self, event).await
    }

    /// Runs the handlers of the topic one after the other: [`AsyncRegistry::notify_sequential`].
    pub async fn notify_sequential(&self, event: &E) -> Delivery {
        AsyncRegistry::notify_sequential(self, event).await
    }

    /// Notifies with an event that is created only if there are handlers:
    /// [`AsyncRegistry::notify_with`].
    pub async fn notify_with<T: Borrow<E>>(&self, event: impl FnOnce() -> T) -> Delivery {
        AsyncRegistry::notify_with(self, event).await
    }

    /// Notifies one handler after the other, with an event that is created only if there are
    /// handlers: [`AsyncRegistry::notify_sequential_with`].
    pub async fn notify_sequential_with<T: Borrow<E>>(
        &self,
        event: impl FnOnce() -> T,
    ) -> Delivery {
        AsyncRegistry::notify_sequential_with(self, event).await
    }
}

impl<K: Key, E: ?Sized> AsyncTopicRegistry<K, E> {
    /// Registers a handler on the key's topic: [`AsyncRegistry::register`].
    #[doc(alias("subscribe", "on", "connect", "listen"))]
    #[track_caller]
    pub fn register<F, Fut>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register(handler)
    }

    /// Registers an `async fn(&E)` on the key's topic: [`AsyncRegistry::register_async_fn`].
    #[track_caller]
    pub fn register_async_fn<F>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: for<'e> BorrowingHandler<'e, E> + Clone + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_async_fn(handler)
    }

    /// Runs all handlers of the key's topic concurrently: [`AsyncRegistry::notify`]. The key is
    /// looked up when this is first polled. If there is no topic, nothing happens, and none is
    /// created.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    pub async fn notify<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        concurrently(&ByKey(self, key), || event).await
    }

    /// Runs the handlers of the key's topic one after the other:
    /// [`AsyncRegistry::notify_sequential`]. The key is looked up when this is first polled.
    pub async fn notify_sequential<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        in_sequence(&ByKey(self, key), || event).await
    }

    /// Runs all handlers of the key's topic concurrently, with an event that is created only if it
    /// has handlers: [`AsyncRegistry::notify_with`]. The key is looked up when this is first
    /// polled.
    pub async fn notify_with<Q, T>(&self, key: &Q, event: impl FnOnce() -> T) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
        T: Borrow<E>,
    {
        concurrently(&ByKey(self, key), event).await
    }

    /// Runs the handlers of the key's topic one after the other, with an event that is created only
    /// if it has handlers: [`AsyncRegistry::notify_sequential_with`]. The key is looked up when
    /// this is first polled.
    pub async fn notify_sequential_with<Q, T>(&self, key: &Q, event: impl FnOnce() -> T) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
        T: Borrow<E>,
    {
        in_sequence(&ByKey(self, key), event).await
    }

    /// Registers a handler on the key's topic, with a priority:
    /// [`AsyncRegistry::register_with_priority`].
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
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_with_priority(priority, handler)
    }

    /// Registers a handler on the key's topic, and returns a guard:
    /// [`AsyncRegistry::register_guard`].
    #[track_caller]
    pub fn register_guard<F, Fut>(&self, key: impl Into<K>, handler: F) -> HandlerGuard
    where
        F: Fn(&E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_guard(handler)
    }

    /// Registers a handler on the key's topic for a single call: [`AsyncRegistry::register_once`].
    #[track_caller]
    pub fn register_once<F, Fut>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: FnOnce(&E) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_once(handler)
    }
}
