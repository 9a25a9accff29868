//! The sync flavor: handlers that are closures, called inline.

use std::borrow::Borrow;
use std::hash::Hash;
use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{HandlerArc, sealed};
use crate::counted::{counted, in_run};
use crate::delivery::{Outcome, Sum};
use crate::handler::{self, Boxed, Header, NeedsNoDrop, Once, Slot, Stored};
use crate::options::Returns;
use crate::panic::{Held, catch};
use crate::snapshot::cell::HasCell;
use crate::snapshot::list::{Chunk, List, Run};
use crate::topics::{Handle, Key, Topics};
use crate::wrapper::{Call, Wrapped, Wrapper};
use crate::{
    Batch, Delivery, Flavor, HandlerGuard, HandlerId, JoinGuard, Pinned, RegisterOptions, Registry,
    WeakRegistry, WeakTopics, slow,
};

/// One topic without a key: handlers that are closures, called inline by `notify`.
///
/// The event may be unsized (`str`, `[u8]`) and need not be `Send`.
///
/// ```
/// use topic_registry::SyncRegistry;
///
/// let changes = SyncRegistry::<str>::new();
/// changes.register(|path| println!("{path} changed"));
/// let guard = changes.options().priority(10).guard().register(|path| println!("first: {path}"));
///
/// assert_eq!(changes.notify("app.toml").called(), 2);
/// drop(guard);
/// assert_eq!(changes.notify("app.toml").called(), 1);
/// ```
pub type SyncRegistry<E> = Registry<SyncFlavor, E>;

/// Topics found by key, each of which is a [`SyncRegistry`].
///
/// ```
/// use topic_registry::TopicRegistry;
///
/// let topics = TopicRegistry::<String, u32>::new();
/// let _guard = topics.register_guard("metrics.flush", |n| println!("flushed {n}"));
///
/// let handle = topics.handle("metrics.flush");
/// assert_eq!(handle.notify(&12).called(), 1);
/// ```
pub type TopicRegistry<K, E> = Topics<SyncFlavor, K, E>;

/// A cached reference to a topic of a [`TopicRegistry`].
///
/// ```
/// use topic_registry::{TopicHandle, TopicRegistry};
///
/// let topics = TopicRegistry::<String, u32>::new();
/// assert!(topics.get("disk.full").is_none(), "asking makes no topic");
/// let handle: TopicHandle<String, u32> = topics.handle("disk.full");
///
/// topics.register("disk.full", |percent| println!("{percent} % are used"));
/// assert_eq!(handle.notify(&97).called(), 1);
/// assert_eq!((handle.key().as_str(), handle.handler_count()), ("disk.full", 1));
/// ```
pub type TopicHandle<K, E> = Handle<SyncFlavor, K, E>;

/// A weak reference to a [`SyncRegistry`].
pub type WeakSyncRegistry<E> = WeakRegistry<SyncFlavor, E>;

/// A weak reference to a [`TopicRegistry`].
pub type WeakTopicRegistry<K, E> = WeakTopics<SyncFlavor, K, E>;

/// The flavor whose handlers are closures, called one after the other on the notifying thread.
#[derive(Debug)]
pub enum SyncFlavor {}

impl sealed::Sealed for SyncFlavor {}

impl<E: ?Sized + 'static> Flavor<E> for SyncFlavor {
    type Handler = dyn SyncHandler<E>;
    type JoinGuard = JoinGuard;

    fn inline<C>(header: Header, call: C) -> HandlerArc<Self, E>
    where
        C: Fn(&E, &Header) -> Outcome + Send + Sync + 'static,
    {
        if !mem::needs_drop::<C>() {
            counted(Arc::new(Slot::new(header, NeedsNoDrop(call))))
        } else if handler::is_large::<C>() {
            counted(Arc::new(Slot::new(header, Boxed(Some(Box::new(call))))))
        } else {
            counted(Arc::new(Slot::new(header, Some(call))))
        }
    }

    fn wrap<W>(wrapped: Wrapped<W>) -> HandlerArc<Self, E>
    where
        W: Wrapper<Handler = dyn SyncHandler<E>>,
    {
        counted(Arc::new(wrapped))
    }
}

/// A handler that a dispatch can call.
pub trait SyncHandler<E: ?Sized + 'static>: handler::Handler {
    /// Calls the closure unless the handler was removed or is paused, and reports its panic.
    /// Returns the sum with the outcome added: passed from call to call, the sum occupies no
    /// register of the dispatch.
    fn call(&self, event: &E, sum: Sum) -> Sum;

    /// Calls all handlers of a run, of which this is the first, in order. This is a single call
    /// because the compiler knows the closure's type here, and inlines the closure into the loop.
    fn call_run(&self, run: Run<'_, Handler<E>>, event: &E, sum: Sum) -> Sum;
}

impl<E, C> SyncHandler<E> for Slot<C>
where
    E: ?Sized + 'static,
    C: Stored<Closure: Fn(&E, &Header) -> Outcome> + Send + Sync + 'static,
{
    #[inline]
    fn call(&self, event: &E, sum: Sum) -> Sum {
        let Some(closure) = self.live() else {
            return sum.and(Outcome::Skipped);
        };
        sum.and(match catch(|| closure(event, &self.header)) {
            Ok(outcome) => outcome,
            Err(payload) => self.header.panicked(payload),
        })
    }

    fn call_run(&self, run: Run<'_, Handler<E>>, event: &E, sum: Sum) -> Sum {
        in_run(self, run).fold(sum, |sum, handler| handler.call(event, sum))
    }
}

impl<E, W> SyncHandler<E> for Wrapped<W>
where
    E: ?Sized + 'static,
    W: Wrapper<Handler = dyn SyncHandler<E>>,
{
    fn call(&self, event: &E, sum: Sum) -> Sum {
        match self.begin() {
            Some(call) => call.handler().call(event, sum),
            None => sum.and(Outcome::Skipped),
        }
    }

    fn call_run(&self, run: Run<'_, Handler<E>>, event: &E, sum: Sum) -> Sum {
        in_run(self, run).fold(sum, |sum, handler| handler.call(event, sum))
    }
}

impl<E: ?Sized> SyncRegistry<E> {
    /// Registers a handler. Every [`notify`](Self::notify) that begins after this has returned
    /// calls it.
    ///
    /// Takes the writer lock, and copies up to 64 references to handlers, plus one reference for
    /// each further 64 handlers.
    #[doc(alias("subscribe", "on", "connect", "listen"))]
    #[track_caller]
    pub fn register<F>(&self, handler: F) -> HandlerId
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        self.options().register(handler)
    }

    /// Registers a handler with a priority: handlers with a higher one run first, those with the
    /// same one in the order of their registration. The default priority is 0.
    #[track_caller]
    pub fn register_with_priority<F>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        self.options().priority(priority).register(handler)
    }

    /// Registers a handler, and returns a guard that removes it when it is dropped.
    #[track_caller]
    pub fn register_guard<F>(&self, handler: F) -> HandlerGuard
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        self.options().guard().register(handler)
    }

    /// Registers a handler for a single call.
    ///
    /// It is called at most once, however many threads notify at the same time, and however deeply
    /// calls nest: the dispatch that removes it calls it. So it is no longer registered when it
    /// runs, and if it is removed by its id first, it never runs. Its call has begun when the
    /// dispatch has removed it: from then on, another removal returns `false`, and the call still
    /// happens.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let started = SyncRegistry::<str>::new();
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// started.register_once(move |name| sender.send(name.to_owned()).unwrap());
    ///
    /// assert_eq!(started.notify("first").called(), 1);
    /// assert_eq!(started.notify("second").called(), 0);
    /// assert_eq!(receiver.iter().collect::<Vec<_>>(), ["first"]);
    /// ```
    #[track_caller]
    pub fn register_once<F>(&self, handler: F) -> HandlerId
    where
        F: FnOnce(&E) + Send + 'static,
    {
        self.options().register_once(handler)
    }

    /// Calls every handler with the event, in order, on this thread.
    ///
    /// A handler that panics does not keep the others from running; see
    /// [`on_panic`](Self::on_panic). For the changes that a dispatch sees, see
    /// [`Registry`](Registry#consistency).
    ///
    /// Takes no lock and allocates nothing, at any depth of nesting. There are two exceptions. A
    /// thread's first notification allocates the thread's record, unless it can reuse that of a
    /// thread that has ended. And a dispatch whose list was replaced meanwhile briefly takes a lock
    /// when it ends, to release the list.
    ///
    /// Without handlers, it costs one atomic load. Otherwise, it protects the list of handlers, by
    /// a plain store where the fast lane is hot and by one or two locked instructions elsewhere,
    /// and makes one indirect call per handler, or for several: with the feature `fast-lane`,
    /// neighbours of one closure type are called together. The call of a `register_once` handler is
    /// also a removal, and the call of a joinable handler takes a lock of its own.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    #[inline(always)]
    pub fn notify(&self, event: &E) -> Delivery {
        self.cell().read(|list| dispatch(list, event))
    }

    /// Notifies, as [`notify`](Self::notify) does, with an event that is created only if there are
    /// handlers.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let traces = SyncRegistry::<str>::new();
    /// traces.notify_with(|| -> String { unreachable!("nobody listens") });
    /// traces.register(|line| println!("{line}"));
    /// traces.notify_with(|| format!("{:?}", [1, 2, 3]));
    /// ```
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    #[inline]
    pub fn notify_with<T: Borrow<E>>(&self, event: impl FnOnce() -> T) -> Delivery {
        self.cell().read(|list| dispatch_created(list, event()))
    }
}

impl<E, R> RegisterOptions<'_, SyncFlavor, E, R>
where
    E: ?Sized,
    R: Returns<SyncFlavor, E>,
{
    /// Registers a handler, as [`SyncRegistry::register`] does.
    #[track_caller]
    pub fn register<F>(self, handler: F) -> R::Registered
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        let header = self.header();
        self.add(slow::inline::<SyncFlavor, E, _>(header, handler, |()| {
            Outcome::Called
        }))
    }

    /// Registers a handler for a single call, as [`SyncRegistry::register_once`] does.
    #[track_caller]
    pub fn register_once<F>(self, handler: F) -> R::Registered
    where
        F: FnOnce(&E) + Send + 'static,
    {
        if handler::is_large::<F>() {
            // A `FnOnce` is moved to be called, unless it is unsized.
            let handler: Box<dyn FnOnce(&E) + Send> = Box::new(handler);
            return self.add_once(handler);
        }
        self.add_once(handler)
    }

    #[track_caller]
    fn add_once<F>(self, handler: F) -> R::Registered
    where
        F: FnOnce(&E) + Send + 'static,
    {
        let header = self.header();
        let once = Once::new(self.registry.registration(header.id()), handler);
        let call = move |event: &E, header: &Header| match once.claim() {
            Some(handler) => {
                header.time(|| handler(event));
                Outcome::Called
            }
            None => Outcome::Skipped,
        };
        self.add(SyncFlavor::inline(header, call))
    }

    /// Registers a handler that can remove itself: after it has returned `Break`, it is removed,
    /// before the next handler of that dispatch runs.
    ///
    /// No dispatch starts it once it is removed. A dispatch on another thread may have started it
    /// before; that call still runs, and its result is ignored. A handler that panics stays
    /// registered. A handler whose target is gone goes with the next event, not before: a topic
    /// without events keeps it.
    ///
    /// ```
    /// use std::ops::ControlFlow::{Break, Continue};
    /// use std::sync::{Arc, Mutex};
    /// use topic_registry::SyncRegistry;
    ///
    /// let lines = SyncRegistry::<str>::new();
    /// let log = Arc::new(Mutex::new(Vec::new()));
    ///    // As long as something else owns the log.
    /// let weak = Arc::downgrade(&log);
    /// lines.options().register_until(move |line| match weak.upgrade() {
    ///     Some(log) => {
    ///         log.lock().unwrap().push(line.to_owned());
    ///         Continue(())
    ///     }
    ///     None => Break(()),
    /// });
    /// lines.notify("one");
    /// assert_eq!(log.lock().unwrap().len(), 1);
    /// drop(log);
    /// lines.notify("two");
    /// assert!(lines.is_empty());
    /// ```
    #[track_caller]
    pub fn register_until<F>(self, handler: F) -> R::Registered
    where
        F: Fn(&E) -> ControlFlow<()> + Send + Sync + 'static,
    {
        let header = self.header();
        let registration = self.registry.registration(header.id());
        let outcome = move |flow: ControlFlow<()>| {
            if flow.is_break() {
                registration.remove();
            }
            Outcome::Called
        };
        self.add(slow::inline::<SyncFlavor, E, _>(header, handler, outcome))
    }
}

impl<E: ?Sized> Batch<'_, SyncFlavor, E> {
    /// Registers a handler, as [`SyncRegistry::register`] does.
    #[track_caller]
    pub fn register<F>(&mut self, handler: F) -> HandlerId
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        self.options().register(handler)
    }
}

type Handler<E> = HandlerArc<SyncFlavor, E>;

/// Calls the handlers in order.
#[inline(always)]
pub(super) fn dispatch<E: ?Sized + 'static>(list: &List<Handler<E>>, event: &E) -> Delivery {
    Delivery::from(match list {
        List::One(handler) => handler.call(event, Sum::default()),
        List::Alike(alike) => call_run(alike.run(), event, Sum::default()),
        list => call_many(list, event),
    })
}

/// Calls the handlers in order, with an event that is dropped afterwards.
#[inline(always)]
pub(super) fn dispatch_created<E, T>(list: &List<Handler<E>>, event: T) -> Delivery
where
    E: ?Sized + 'static,
    T: Borrow<E>,
{
    // While `borrow` runs: handlers do not unwind.
    let event = Held::new(event);
    let delivery = dispatch(list, (*event).borrow());
    drop(event.into_inner());
    delivery
}

#[inline(always)]
fn call_run<E: ?Sized + 'static>(run: Run<'_, Handler<E>>, event: &E, sum: Sum) -> Sum {
    run.items().first().map_or(sum, |first| first.call_run(run, event, sum))
}

/// Calls the handlers of a list that is neither `One` nor `Alike`. A separate function, so that
/// [`dispatch`] is inlined into its caller.
#[inline(never)]
fn call_many<E: ?Sized + 'static>(list: &List<Handler<E>>, event: &E) -> Sum {
    match list {
        List::Mixed(handlers) => call_each(handlers, event, Sum::default()),
        List::Chunked {
            chunks,
            interceptors: 0,
        } => call_chunks(chunks, event),
        list => call_until_stopped(list, event),
    }
}

/// Calls the handlers in groups of four: the speed of a loop with a single call depends on code
/// placement, and even its best is slower.
#[inline]
fn call_each<E: ?Sized + 'static>(handlers: &[Handler<E>], event: &E, mut sum: Sum) -> Sum {
    let mut fours = handlers.chunks_exact(4);
    for four in &mut fours {
        sum = four[0].call(event, sum);
        sum = four[1].call(event, sum);
        sum = four[2].call(event, sum);
        sum = four[3].call(event, sum);
    }
    let rest = fours.remainder().iter();
    rest.fold(sum, |sum, handler| handler.call(event, sum))
}

/// Calls the handlers of chunks: those of a run together. A separate function, so that the nested
/// loop costs short lists no registers.
#[inline(never)]
fn call_chunks<E: ?Sized + 'static>(chunks: &[Chunk<Handler<E>>], event: &E) -> Sum {
    chunks.iter().fold(Sum::default(), |sum, chunk| match chunk.mixed() {
        Some(handlers) => call_each(handlers, event, sum),
        None => chunk.runs().fold(sum, |sum, run| call_run(run, event, sum)),
    })
}

/// Calls the handlers in order, up to the first that stops the dispatch.
#[inline(never)]
fn call_until_stopped<E: ?Sized + 'static>(list: &List<Handler<E>>, event: &E) -> Sum {
    let mut sum = Sum::default();
    for handler in list.iter() {
        sum = handler.call(event, sum);
        if sum.is_stopped() {
            break;
        }
    }
    sum
}

/// A handle notifies as its [`SyncRegistry`] does, and derefs to it. So it also registers
/// ([`register`](SyncRegistry::register), [`options`](Registry::options),
/// [`update`](Registry::update)), removes ([`unregister`](Registry::unregister),
/// [`clear`](Registry::clear)), reports panics ([`on_panic`](Registry::on_panic)) and lists its
/// [`handlers`](Registry::handlers).
impl<K: Key, E: ?Sized> TopicHandle<K, E> {
    /// Calls every handler of the topic, in order, on this thread: [`SyncRegistry::notify`].
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, u32>::new();
    /// let handle = topics.handle("disk.full");
    /// topics.register("disk.full", |percent| println!("{percent} % are used"));
    /// assert_eq!(handle.notify(&97).called(), 1);
    /// ```
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    #[inline(always)]
    pub fn notify(&self, event: &E) -> Delivery {
        SyncRegistry::notify(self, event)
    }

    /// Notifies with an event that is created only if there are handlers:
    /// [`SyncRegistry::notify_with`].
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, str>::new();
    /// let traces = topics.handle("trace");
    /// traces.notify_with(|| -> String { unreachable!("nobody listens") });
    /// ```
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    #[inline]
    pub fn notify_with<T: Borrow<E>>(&self, event: impl FnOnce() -> T) -> Delivery {
        SyncRegistry::notify_with(self, event)
    }

    /// Returns an even faster way to notify, for a thread in a tight loop: [`SyncRegistry::pin`].
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, u64>::new();
    /// topics.register("tick", |n| println!("{n}"));
    /// let mut ticks = topics.handle("tick").pin();
    /// for n in 0..3 {
    ///     ticks.notify(&n);
    /// }
    /// ```
    #[must_use]
    pub fn pin(&self) -> Pinned<E> {
        SyncRegistry::pin(self)
    }
}

impl<K: Key, E: ?Sized> TopicRegistry<K, E> {
    /// Registers a handler on the key's topic: [`SyncRegistry::register`].
    #[doc(alias("subscribe", "on", "connect", "listen"))]
    #[track_caller]
    pub fn register<F>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register(handler)
    }

    /// Registers a handler on the key's topic, with a priority:
    /// [`SyncRegistry::register_with_priority`].
    #[track_caller]
    pub fn register_with_priority<F>(
        &self,
        key: impl Into<K>,
        priority: i32,
        handler: F,
    ) -> HandlerId
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_with_priority(priority, handler)
    }

    /// Registers a handler on the key's topic, and returns a guard:
    /// [`SyncRegistry::register_guard`].
    #[track_caller]
    pub fn register_guard<F>(&self, key: impl Into<K>, handler: F) -> HandlerGuard
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_guard(handler)
    }

    /// Registers a handler on the key's topic for a single call: [`SyncRegistry::register_once`].
    #[track_caller]
    pub fn register_once<F>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: FnOnce(&E) + Send + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_once(handler)
    }

    /// Notifies the key's topic: [`SyncRegistry::notify`]. If there is no topic, nothing happens,
    /// and none is created.
    ///
    /// Hashes the key, and holds the read lock of its shard during the look-up, but not while
    /// handlers run: a [`handle`](Self::handle) saves both. Allocates nothing, except for the
    /// lock's queue when a thread first has to wait for it.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    pub fn notify<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.read(key, |list| dispatch(list, event))
    }

    /// Notifies the key's topic, with an event that is created only if it has handlers:
    /// [`SyncRegistry::notify_with`].
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    pub fn notify_with<Q, T>(&self, key: &Q, event: impl FnOnce() -> T) -> Delivery
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        T: Borrow<E>,
    {
        // While the key is looked up, which runs its `Hash`, `Eq` and `Borrow`.
        let event = Held::new(event);
        self.read(key, |list| dispatch_created(list, event.into_inner()()))
    }
}
