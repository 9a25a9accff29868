//! Topics by key: their creation, their handles and their end.

pub(crate) mod builder;
pub(crate) mod interest;
mod limit;
mod map;
pub(crate) mod observers;
mod table;
mod turnstile;
pub(crate) mod weak;

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

use self::builder::Slow;
use self::limit::HandlerLimit;
use self::map::{Found, Map, Shared, Topic, TopicPanicCallback, TopicScope};
use self::observers::{ObserverGuard, Observers};
use self::table::{Keyed, Table};
use crate::flavor::HandlerArc;
use crate::guard::{Registration, Remove};
use crate::panic::{DropGuarded, PanicInfo};
use crate::primitive::atomic::AtomicUsize;
use crate::registry::Core;
use crate::scope::{PanicMonitor, Scope};
use crate::snapshot::cell::HasCell;
use crate::snapshot::list::List;
use crate::telemetry::Telemetry;
use crate::{Batch, Builder, Flavor, HandlerId, Interest, Registry};

/// What a key must be. Implemented for every type that fits.
pub trait Key: Eq + Hash + Clone + Send + Sync + 'static {}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Key for K {}

/// Topics by key, of one event.
///
/// Used through its aliases [`TopicRegistry`](crate::TopicRegistry) and
/// `AsyncTopicRegistry`. Clones are handles to the same topics.
///
/// # Consistency
///
/// There is at most one topic a key. Every way to it (a handle, a guard, the key, a
/// registry cloned out of a handle) reaches the same handlers, always.
///
/// A topic comes with its first handle or handler, and goes with its last handler and its
/// last handle, whichever is later. Asking about an unknown key, or notifying it, makes none.
///
/// # Cost
///
/// Keys are hashed by `ahash` with random seeds, so they may come from outside. Calls by
/// key hold the lock of the key's shard for the look-up. `K`'s own `Eq` and `Borrow` run
/// under that lock, and `Hash` when the table of keys grows or shrinks. They also run when a handle
/// or a guard is dropped, and when a handler is removed through a handle while a dispatch or a pin
/// still holds it. They must not call back into the same topics, nor wait for a thread that does,
/// and must not panic: if `Hash` does while the table grows or shrinks, topics are forgotten. Everything else of the user's runs and is dropped with no
/// lock held. What a key's destructor throws is caught, and not counted.
///
/// What asks about all topics ([`len`](Self::len), [`keys`](Self::keys), [`topics`](Self::topics),
/// [`clear`](Self::clear), ...) locks one shard after the other, so it is no picture of one moment.
///
/// # Callbacks
///
/// There is one callback for panics: [`on_panic`](Self::on_panic) replaces the one before, whose calls
/// that are about to be made or have begun go on. There can be any number of observers, by
/// [`observe_interest`](Self::observe_interest) and [`observe_handler_limit`](Self::observe_handler_limit):
/// each is called on its own, in the order in which they were set, and ends with its [`ObserverGuard`].
/// All of these are called by whatever thread it happens on, so they may run on several at once, with
/// no lock held: they may call everything, also what sets and ends them. What they
/// throw is [counted](Self::panic_count), and nobody is told.
///
/// # Lifetime
///
/// Handles and guards do not keep the topics alive. When the last clone is gone, each handle
/// goes on as a registry of its own: the `on_panic` callback is still called, `tracing` and `metrics`
/// are still told, and the observers are gone. A handler or a callback that owns a clone of the topics
/// that it is in keeps them alive until it is removed; an observer whose guard was
/// [forgotten](ObserverGuard::forget) does so forever. An `on_panic` callback must not own a handle either:
/// it would outlive the topics, and never go.
pub struct Topics<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    map: Arc<Map<F, K, E>>,
}

/// A cached way to a topic: to notify it takes no hash, no look-up and no lock.
///
/// Derefs to the [`Registry`], so everything that can be done with a registry can be done
/// with a handle. The topic stays as long as it has a handle.
pub struct Handle<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    registry: Registry<F, E>,
    scope: TopicScope<F, K, E>,
}

impl<F: Flavor<E>, K: Key, E: ?Sized + 'static> Topics<F, K, E> {
    /// Without topics.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// For topics that have a name, by which logs and metrics know them. Two registries of one name
    /// add up in the same metrics.
    #[must_use]
    pub fn builder() -> Builder<F, K, E> {
        Builder::new()
    }

    fn with(telemetry: Telemetry<K>, slow: Option<Slow<K>>) -> Self {
        let map = Arc::new_cyclic(|map| Map {
            topics: Table::new(),
            pruned: AtomicUsize::new(0),
            shared: Arc::new(Shared {
                map: Weak::clone(map),
                monitor: PanicMonitor::new(),
                interests: Observers::new(),
                limits: Observers::new(),
                slow,
                telemetry,
            }),
        });
        Self { map }
    }

    /// A handle to the key's topic, which is made if there is none.
    ///
    /// `impl Into<K>` takes `"name"` for a `String`, but leaves the type of a bare number
    /// open: write `handle(7u64)`.
    #[must_use]
    pub fn handle(&self, key: impl Into<K>) -> Handle<F, K, E> {
        let key = DropGuarded::new(key.into());
        if let Some(handle) = self.get::<K>(&key) {
            return handle;
        }
        let shared = Arc::clone(&self.map.shared);
        let scope = Arc::new(Scope::new(Topic { key, shared }));
        let core = Arc::new(Core::new(Arc::clone(&scope) as Arc<Scope>));
        let new = Found { scope, core };
        // A clone goes in. Another thread may have made the topic meanwhile: then nothing of the
        // user's is dropped under the lock, because this is not the last share of it.
        let topics = &self.map.topics;
        let (handle, is_new) = topics.find_or_insert(
            new.key(),
            || new.clone(),
            |topic| (Handle::of(topic), Arc::ptr_eq(&topic.core, &new.core)),
        );
        if is_new {
            self.map.shared.telemetry.topic_created(new.key());
        }
        handle
    }

    /// A handle to the key's topic, if there is one.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Option<Handle<F, K, E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.topics.find(key, Handle::of)
    }

    /// Whether the key has a topic.
    #[must_use]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.topics.find(key, |_| ()).is_some()
    }

    /// [`Registry::unregister`] on the key's topic; `false` if there is none.
    #[doc(alias("unsubscribe", "off", "disconnect"))]
    pub fn unregister<Q>(&self, key: &Q, id: HandlerId) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).is_some_and(|topic| topic.unregister(id))
    }

    /// [`Registry::update`] on the key's topic, which is made if there is none.
    ///
    /// # Panics
    ///
    /// If `change` panics; then nothing is changed.
    pub fn update<R>(
        &self,
        key: impl Into<K>,
        change: impl FnOnce(&mut Batch<'_, F, E>) -> R,
    ) -> R {
        self.handle(key).update(change)
    }

    /// Removes all handlers of the key's topic; whether there were any.
    ///
    /// The topic goes with them, unless it has a handle.
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).is_some_and(|topic| topic.remove_all() != 0)
    }

    /// Removes all handlers of all topics, as [`remove`](Self::remove) does, one topic after
    /// the other. Topics that are made meanwhile may be left out.
    pub fn clear(&self) {
        // All handles are made before the first is dropped: that takes the same locks.
        for topic in self.map.topics.collect(Handle::of) {
            topic.clear();
        }
    }

    /// How many topics there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.topics.len()
    }

    /// Whether there is no topic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.topics.is_empty()
    }

    /// The keys of all topics, in no order. Topics that come or go meanwhile may be left out.
    ///
    /// # Panics
    ///
    /// If a key's own `Clone` panics.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        let topics = self.map.topics.collect(Found::clone);
        topics.iter().map(|topic| K::clone(topic.key())).collect()
    }

    /// All topics, in no order. Topics that come or go meanwhile may be left out; nothing is
    /// locked while the caller looks at them.
    ///
    /// # Panics
    ///
    /// If a key's own `Clone` panics.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo<K>> {
        let topics = self.map.topics.collect(Found::clone);
        let info = |topic: &Found<F, K, E>| {
            let (owners, handlers) = topic.core.cell.counts();
            TopicInfo {
                key: K::clone(topic.key()),
                handlers,
                handles: owners,
            }
        };
        topics.iter().map(info).collect()
    }

    /// Removes topics that have neither a handler nor a handle, and gives back the memory
    /// that the keys of earlier ones took; how many topics it removed.
    ///
    /// Topics are removed as they become idle, so there is nothing to find, unless `K`'s
    /// own `Hash` or `Eq` panicked at that time. Memory is given back from time to time too,
    /// every 1,024 topics that went, as soon as three quarters of it are not needed.
    pub fn prune(&self) -> usize {
        let topics = self.map.topics.collect(|topic| Arc::clone(&topic.scope));
        let removed = topics.iter().filter(|scope| self.map.prune(&scope.parent));
        let removed = removed.count();
        self.map.topics.shrink_to_fit();
        removed
    }

    /// Sets what is called for each panic in any topic, whenever the topic was made; after
    /// what [`Registry::on_panic`] set on that topic, and with the same promises. What
    /// callbacks of the topics throw is counted and not reported.
    ///
    /// Handles go on to call it when the topics are gone.
    pub fn on_panic(&self, callback: impl Fn(&K, &PanicInfo<'_>) + Send + Sync + 'static) {
        self.set_callback(Some(Box::new(callback)));
    }

    /// Forgets the callback that was set by [`on_panic`](Self::on_panic).
    pub fn clear_panic_callback(&self) {
        self.set_callback(None);
    }

    fn set_callback(&self, callback: Option<TopicPanicCallback<K>>) {
        let outcome = self.map.shared.monitor.callback.set(callback);
        self.map.shared.count_and_drop(outcome.err());
    }

    /// Sets what is called when a topic gains its first handler or loses its last one, until the guard
    /// is dropped: what a bridge needs that subscribes upstream while somebody listens. There may
    /// be several observers, and none of them knows of the others.
    ///
    /// For one key the calls alternate, beginning with [`Interest::Gained`]; they do not overlap,
    /// and when all changes have returned, the last call was true. What is gained and lost again
    /// before the observer is called for it cancels out: nothing queues, however slow the observer
    /// is. (A thread goes on to call for others as long as these undo during each call what it
    /// reports.) Topics that have handlers already are reported first, on this thread. As a rule the
    /// call is made on the thread that registered or removed the handler, before that returns. But
    /// if another thread is just making a call of this observer for the same key, then it makes this one too,
    /// later; and so does the observer's own thread if the observer registers or removes handlers of that
    /// key.
    ///
    /// No lock is held while it runs. If it panics, that is [counted](Self::panic_count) and goes
    /// no further. An observer that owns a clone of the topics keeps them alive until its guard is dropped.
    /// One that has ended is not told of what is lost after that, and handlers that go with the topics
    /// are not told of: the observers go with them.
    ///
    /// A last handler's closure is dropped before the loss is reported, unless something still
    /// holds it then: a dispatch or a pin that runs over an older list, its own call if it removes
    /// itself, as each `register_once` handler does, or a call of a joinable one.
    ///
    /// While there is an observer, to add a topic's first handler or to remove its last one takes a
    /// lock that all topics share, and time for each observer. Nothing else costs anything.
    ///
    /// ```
    /// use topic_registry::{Interest, TopicRegistry};
    ///
    /// let topics = TopicRegistry::<String, str>::new();
    /// let _observer = topics.observe_interest(|key, interest| match interest {
    ///     Interest::Gained => println!("SUBSCRIBE {key}"),
    ///     Interest::Lost => println!("UNSUBSCRIBE {key}"),
    /// });
    /// let guard = topics.register_guard("news", |text| println!("{text}"));
    /// topics.register("news", |text| println!("{}", text.len()));
    /// drop(guard);
    /// topics.remove("news");
    /// ```
    pub fn observe_interest(
        &self,
        callback: impl Fn(&K, Interest) + Send + Sync + 'static,
    ) -> ObserverGuard {
        let shared = &self.map.shared;
        let observer = shared.interests.watch(Box::new(callback));
        let guard = self.observer_guard(observer.id);
        // A topic whose writer does not see the observer yet is found here, because its writer lock is
        // taken after the observer was added. All handles are made before the first is dropped: that
        // takes the same locks.
        for handle in self.map.topics.collect(Handle::of) {
            let topic = &handle.scope.parent;
            handle.cell().look(|list| {
                if list.len() != 0 {
                    observer.record(topic.address(), Interest::Gained);
                }
            });
            let thrown = |payload| shared.count_and_drop([payload]);
            observer.tell(topic.address(), handle.key(), &thrown);
        }
        guard
    }

    /// Sets what is called each time that a topic grows past a multiple of `limit` handlers (of 100:
    /// with the 101st, the 201st, ...), with their number, until the guard is dropped: guards
    /// that nobody drops, or handlers that are registered in a loop, are found that way. A batch
    /// that passes several multiples is told of once. There may be several observers, each
    /// with its own limit.
    ///
    /// It is called on the thread that registers, with no lock held. If it panics, that is
    /// [counted](Self::panic_count) and goes no further. Topics that have grown before are not
    /// told of. To register in a topic that is past the lowest limit takes a lock that all topics share.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let users = TopicRegistry::<u64, str>::new();
    /// let observer = users.observe_handler_limit(100, |user, handlers| {
    ///     eprintln!("user {user} has {handlers} handlers");
    /// });
    /// observer.forget(); // it stays as long as the topics do
    /// ```
    ///
    /// # Panics
    ///
    /// If `limit` is 0.
    pub fn observe_handler_limit(
        &self,
        limit: usize,
        callback: impl Fn(&K, usize) + Send + Sync + 'static,
    ) -> ObserverGuard {
        assert_ne!(limit, 0, "a limit of 0 handlers: every topic is past it");
        let callback = Box::new(callback);
        let limits = &self.map.shared.limits;
        let observer = limits.add(limit.saturating_add(1), HandlerLimit { limit, callback });
        self.observer_guard(observer.id)
    }

    fn observer_guard(&self, observer: HandlerId) -> ObserverGuard {
        let shared: Weak<Shared<F, K, E>> = Arc::downgrade(&self.map.shared);
        ObserverGuard::new(Registration {
            id: observer,
            registry: Some(shared as Weak<dyn Remove>),
        })
    }

    /// How many panics were caught in all topics, those that are gone included, and of the
    /// callbacks.
    #[must_use]
    pub fn panic_count(&self) -> u64 {
        self.map.shared.monitor.count()
    }

    /// Runs `read` over the handlers of the key's topic, if it has any. Owns no share of the
    /// topic, and has let go of its shard by then.
    #[inline]
    pub(crate) fn read<Q, R: Default>(
        &self,
        key: &Q,
        read: impl FnOnce(&Arc<List<HandlerArc<F, E>>>) -> R,
    ) -> R
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let list = self.map.topics.find(key, |topic| topic.core.cell.protect());
        list.flatten().map_or_else(R::default, |list| list.read(read))
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Clone for Topics<F, K, E> {
    fn clone(&self) -> Self {
        Self {
            map: Arc::clone(&self.map),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Default for Topics<F, K, E> {
    fn default() -> Self {
        Self::new()
    }
}

// Every panic is caught before it could leave anything of ours half changed.
impl<F: Flavor<E>, K: Key, E: ?Sized> UnwindSafe for Topics<F, K, E> {}
impl<F: Flavor<E>, K: Key, E: ?Sized> RefUnwindSafe for Topics<F, K, E> {}
impl<F: Flavor<E>, K: Key, E: ?Sized> UnwindSafe for Handle<F, K, E> {}
impl<F: Flavor<E>, K: Key, E: ?Sized> RefUnwindSafe for Handle<F, K, E> {}

impl<F: Flavor<E>, K: Key, E: ?Sized> fmt::Debug for Topics<F, K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics")
            .field("name", &self.map.shared.telemetry.name())
            .field("topics", &self.len())
            .field("panics", &self.panic_count())
            .finish_non_exhaustive()
    }
}

/// A topic, as [`Topics::topics`] lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TopicInfo<K> {
    /// Its key.
    pub key: K,
    /// How many handlers are registered.
    pub handlers: usize,
    /// How many keep the topic: handles, pins, registries cloned out of a handle, and calls at this
    /// moment that register or remove by key or guard, clear all topics, or set an
    /// observer of interest.
    pub handles: usize,
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Handle<F, K, E> {
    /// Returns the topic's key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.scope.parent.key
    }

    fn of(topic: &Found<F, K, E>) -> Self {
        Self {
            registry: Registry::of(Arc::clone(&topic.core)),
            scope: Arc::clone(&topic.scope),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Deref for Handle<F, K, E> {
    type Target = Registry<F, E>;

    #[inline]
    fn deref(&self) -> &Registry<F, E> {
        &self.registry
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Clone for Handle<F, K, E> {
    fn clone(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            scope: Arc::clone(&self.scope),
        }
    }
}

impl<F: Flavor<E>, K: Key + fmt::Debug, E: ?Sized> fmt::Debug for Handle<F, K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("key", self.key())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
