//! The sync flavor: handlers that are closures, called inline.

use std::borrow::Borrow;
use std::hash::Hash;
use std::ops::ControlFlow;
use std::sync::Arc;

use equivalent::Equivalent;

use super::inline::{self, InlineFlavor, InlineHandler, dispatch, dispatch_created};
use crate::handler::Header;
use crate::handler::counted::counted;
use crate::handler::delivery::{Delivery, Outcome};
use crate::handler::flavor::{EventRef, Flavor, HandlerArc, Passes, SharedFlavor, Shares};
use crate::handler::guard::HandlerGuard;
use crate::handler::wrapped::Wrapped;
use crate::registry::Registry;
use crate::registry::batch::Batch;
use crate::registry::options::{RegisterOptions, Returns};
use crate::registry::weak::WeakRegistry;
use crate::report::id::HandlerId;
use crate::report::panic::Held;
use crate::snapshot::cell::HasCell;
use crate::topics::table::Key;
use crate::topics::weak::WeakTopics;
use crate::topics::{Handle, Topics};

/// One topic without a key: handlers that are closures, called inline by `notify`.
///
/// Which changes a dispatch sees: [Consistency](Registry#consistency). What keeps it alive:
/// [Leaks](Registry#leaks). Clones are handles to the same registry.
///
/// A handler is a `Fn(&E) + Send + Sync + 'static`. The event may be unsized (`str`, `[u8]`) and
/// need not be `Send`.
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
///
/// All else is the same for every flavor: [`new`](Registry::new), [`options`](Registry::options),
/// [`unregister`](Registry::unregister), [`update`](Registry::update), [`pause`](Registry::pause),
/// [`on_panic`](Registry::on_panic), [`wait_for`](Registry::wait_for),
/// [`handlers`](Registry::handlers), and the rest of
/// [`Registry`].
pub type SyncRegistry<E> = Registry<SyncFlavor, E>;

/// Topics found by key, each of which is a [`SyncRegistry`].
///
/// When a topic exists: [Consistency](Topics#consistency). What a look-up takes, and what a key may
/// do: [Cost](Topics#cost). Who is called where: [Callbacks](Topics#callbacks). What ends when:
/// [Lifetime](Topics#lifetime). Clones are handles to the same topics.
///
/// A handler is a `Fn(&E) + Send + Sync + 'static`.
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
///
/// All else is the same for every flavor: [`new`](Topics::new), [`handle`](Topics::handle),
/// [`options`](Topics::options), [`get`](Topics::get), [`unregister`](Topics::unregister),
/// [`remove`](Topics::remove), [`on_panic`](Topics::on_panic),
/// [`observe_interest`](Topics::observe_interest), [`builder`](Topics::builder), and the rest of
/// [`Topics`].
pub type TopicRegistry<K, E> = Topics<SyncFlavor, K, E>;

/// A cached reference to a topic of a [`TopicRegistry`]: to notify through it takes no hash, no
/// look-up and no lock.
///
/// It derefs to [`SyncRegistry`], and has all that this has. The topic exists as long as
/// the handle.
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

/// A weak reference to a [`SyncRegistry`], for what the registry owns: see [`WeakRegistry`].
pub type WeakSyncRegistry<E> = WeakRegistry<SyncFlavor, E>;

/// A weak reference to a [`TopicRegistry`], for what the topics own: see [`WeakTopics`].
pub type WeakTopicRegistry<K, E> = WeakTopics<SyncFlavor, K, E>;

/// The flavor whose handlers are closures, called one after the other on the notifying thread.
#[derive(Debug)]
pub enum SyncFlavor {}

impl Shares for SyncFlavor {}

impl<'a, E: ?Sized + 'static> Passes<'a, '_, E> for SyncFlavor {
    type Event = &'a E;
}

impl<E: ?Sized + 'static> SharedFlavor<E> for SyncFlavor {}

impl<E: ?Sized + 'static> InlineFlavor<E> for SyncFlavor {
    #[inline(always)]
    fn again<'a, 'e: 'a>(event: &'a mut EventRef<'_, 'e, Self, E>) -> EventRef<'a, 'e, Self, E> {
        event
    }
}

impl<E: ?Sized + 'static> Flavor<E> for SyncFlavor {
    const REGISTRY_PREFIX: &'static str = "Sync";
    const TOPIC_PREFIX: &'static str = "";

    type Handler = dyn InlineHandler<Self, E>;

    fn inline<C>(header: Header, call: C) -> HandlerArc<Self, E>
    where
        C: Fn(EventRef<'_, '_, Self, E>, &Header) -> Outcome + Send + Sync + 'static,
    {
        inline::callable::<Self, E, C>(header, call)
    }

    fn wrap(wrapped: Wrapped<Self::Handler>) -> HandlerArc<Self, E> {
        counted(Arc::new(wrapped))
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
        self.cell().read(|list| dispatch::<SyncFlavor, E>(list, event))
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
        self.cell()
            .read(|list| dispatch_created::<SyncFlavor, E, T>(list, event(), share))
    }

    /// Registers a handler with a priority: handlers with a higher one run first, those with the
    /// same one in the order of their registration. The default priority is 0.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let order = Arc::new(Mutex::new(String::new()));
    /// for (priority, name) in [(0, 'b'), (10, 'a'), (-1, 'c')] {
    ///     let order = Arc::clone(&order);
    ///     saves.register_with_priority(priority, move |_| order.lock().unwrap().push(name));
    /// }
    /// saves.notify("app.toml");
    /// assert_eq!(*order.lock().unwrap(), "abc");
    /// ```
    #[track_caller]
    pub fn register_with_priority<F>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: Fn(&E) + Send + Sync + 'static,
    {
        self.options().priority(priority).register(handler)
    }

    /// Registers a handler, and returns a guard that removes it when it is dropped.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let guard = saves.register_guard(|path| println!("{path} was saved"));
    /// assert_eq!(saves.notify("app.toml").called(), 1);
    /// drop(guard);
    /// assert_eq!(saves.notify("app.toml").called(), 0);
    /// ```
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
        self.add_plain(handler)
    }

    /// Registers a handler for a single call, as [`SyncRegistry::register_once`] does.
    #[track_caller]
    pub fn register_once<F>(self, handler: F) -> R::Registered
    where
        F: FnOnce(&E) + Send + 'static,
    {
        self.add_once(handler)
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
    /// // As long as something else owns the log.
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
        self.add_until(handler)
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

/// Passes an event that was created.
pub(super) fn share<E: ?Sized, T: Borrow<E>>(event: &mut T) -> &E {
    T::borrow(event)
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

    /// Notifies the key's topic: [`SyncRegistry::notify`]. If there is no topic, nothing happens,
    /// and none is created.
    ///
    /// Hashes the key, and holds the read lock of its shard during the look-up, but not while
    /// handlers run: a [`handle`](Self::handle) saves both. Allocates nothing, except for the
    /// lock's queue when a thread first has to wait for it.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    pub fn notify<Q>(&self, key: &Q, event: &E) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.read(key, |list| dispatch::<SyncFlavor, E>(list, event))
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
        Q: Hash + Equivalent<K> + ?Sized,
        T: Borrow<E>,
    {
        // While the key is looked up, which runs its `Hash`, `Eq` and `Borrow`.
        let event = Held::new(event);
        self.read(key, |list| {
            dispatch_created::<SyncFlavor, E, T>(list, event.into_inner()(), share)
        })
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
}
