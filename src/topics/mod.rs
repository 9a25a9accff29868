//! Topics by key: their creation, handles and removal.

pub(crate) mod builder;
pub(crate) mod interest;
mod limit;
#[cfg_attr(not(feature = "fast-lane"), path = "no_look_up.rs")]
mod look_up;
mod map;
pub(crate) mod observers;
pub(crate) mod table;
mod turnstile;
pub(crate) mod weak;

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use equivalent::Equivalent;

use self::limit::HandlerLimit;
use self::map::{Home, Map, Shared, Slow, Topic};
use self::observers::{ObserverGuard, Observers};
use self::table::{Key, Keyed};
use crate::handler::flavor::{Flavor, HandlerArc};
use crate::registry::batch::Batch;
use crate::registry::options::RegisterOptions;
use crate::registry::{Core, Registry};
use crate::report::id::HandlerId;
use crate::report::monitor::PanicMonitor;
use crate::report::panic::{DropGuarded, Held, PanicInfo};
use crate::report::scope::Scope;
use crate::snapshot::cell::{HasCell, TOO_MANY_OWNERS};
use crate::snapshot::list::List;
use crate::telemetry::Telemetry;
use crate::topics::interest::Interest;

/// Topics of one event type, found by key.
///
/// Used through its aliases [`TopicRegistry`](crate::TopicRegistry),
/// [`HookTopicRegistry`](crate::HookTopicRegistry) and `AsyncTopicRegistry`. Clones are handles to
/// the same topics.
///
/// # Consistency
///
/// There is at most one topic per key. Every way to it (a handle, a guard, the key, a registry
/// cloned out of a handle) always reaches the same handlers.
///
/// A topic is created with its first handle or handler, and removed when it has no handle and no
/// handler any more. Queries and notifications for an unknown key create no topic.
///
/// # Cost
///
/// Keys are hashed by `ahash` with random seeds, so they may be untrusted input. Calls by key hold
/// the lock of the key's shard during the look-up, or announce the look-up instead, and writers
/// wait for it: with the feature `fast-lane`, most of the time. `K`'s own `Eq` and `Borrow`, and a
/// key's `Equivalent`, run there: they must not call back into the same topics, and must not wait
/// for a thread that does (both are deadlocks). All other user code runs, and all user values are
/// dropped, with no lock held. `Hash` runs once for each call by key: a topic remembers its hash,
/// for its removal, and for when the table of keys grows or shrinks. If one of them panics, the
/// call has done nothing. Panics of a key's destructor are caught and counted.
///
/// Operations on all topics ([`len`](Self::len), [`keys`](Self::keys), [`topics`](Self::topics),
/// [`clear`](Self::clear), ...) lock one shard after the other, so they are not atomic.
///
/// # Callbacks
///
/// There is one callback for panics: [`on_panic`](Self::on_panic) replaces the previous one, but a
/// call of the previous one that has begun or is about to begin still runs. There can be any number
/// of observers, set by [`observe_interest`](Self::observe_interest) and
/// [`observe_handler_limit`](Self::observe_handler_limit): they are independent, are called in the
/// order in which they were set, and each ends with its [`ObserverGuard`]. Callbacks and observers
/// run on the threads that use the topics, so they may run on several at once. No lock is held:
/// they may call everything, even what sets and ends them. Their panics are
/// [counted](Self::panic_count), but not reported.
///
/// # Lifetime
///
/// Handles and guards do not keep the topics alive. The topics end when the last clone is dropped,
/// on that thread and before the drop returns: weak references stay empty, the observers end, and
/// topics without handles are dropped with their closures, even if another thread is just removing
/// a topic. Each handle continues as a registry of its own: the `on_panic` callback is still
/// called, `tracing` and `metrics` still receive events, and the observers are gone. A handler or a
/// callback that owns a clone of its own topics keeps them alive until it is removed; an observer
/// whose guard was [forgotten](ObserverGuard::forget) does so forever. An `on_panic` callback, or a
/// callback of [`on_slow`](crate::TopicsBuilder::on_slow), must not own a handle either: it would
/// outlive the topics, and would never be dropped.
pub struct Topics<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    map: Arc<Map<F, K, E>>,
}

/// A cached reference to a topic: notifying through it takes no hash, no look-up and no lock.
///
/// It derefs to the [`Registry`], so a handle can do everything that a registry can. A topic exists
/// as long as it has a handle. See the [guide](crate::guide#handles-and-pins).
pub struct Handle<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    registry: Registry<F, E>,
    scope: Arc<Scope<Home<F, K, E>>>,
}

impl<F: Flavor<E>, K: Key, E: ?Sized + 'static> Topics<F, K, E> {
    /// Creates an empty registry of topics.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    fn with(telemetry: Telemetry<K>, slow: Option<Slow<K>>, counts_calls: bool) -> Self {
        let map = Arc::new_cyclic(|map| {
            Map::new(Arc::new(Shared {
                map: Weak::clone(map),
                monitor: PanicMonitor::new(),
                interests: Observers::new(),
                limits: Observers::new(),
                slow,
                counts_calls,
                telemetry,
            }))
        });
        Self { map }
    }

    /// Returns a handle to the key's topic, which is created if there is none.
    ///
    /// `impl Into<K>` takes `"name"` for a `String`, but leaves the type of a bare number
    /// open: write `handle(7u64)`.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, u32>::new();
    /// let handle = topics.handle("disk.full");
    /// assert_eq!(handle.key(), "disk.full");
    /// assert!(topics.contains_key("disk.full") && topics.get("disk.slow").is_none());
    /// drop(handle);
    /// assert!(topics.is_empty(), "a topic goes with its last handle and its last handler");
    /// ```
    ///
    /// # Panics
    ///
    /// If the topic has 2^30 owners.
    #[must_use]
    pub fn handle(&self, key: impl Into<K>) -> Handle<F, K, E> {
        let mut key = DropGuarded::new(key.into());
        let Map { topics, shared, .. } = &*self.map;
        let hash = topics.hash(&*key);
        // Step find of tests/protocols/topics.tla.
        if let Some(handle) = topics.find(hash, &*key, Handle::try_of) {
            shared.count_and_drop(key.clear().err());
            return handle.expect(TOO_MANY_OWNERS);
        }
        let shared = Arc::clone(shared);
        let scope = Arc::new(Scope::new(Home { key, hash, shared }));
        let core = Arc::new(Core::new(Arc::clone(&scope) as Arc<Scope>));
        let (handle, is_new) = topics.find_or_insert(Topic { scope, core }, |topic, is_new| {
            if is_new {
                // Here, so that no thread that removes it can count before.
                self.map.shared.telemetry.count_created();
            }
            (Handle::try_of(topic), is_new)
        });
        let handle = handle.expect(TOO_MANY_OWNERS);
        if is_new {
            self.map.shared.report_created(handle.key());
        }
        handle
    }

    /// Returns options for a registration on the key's topic, which is created if there is none:
    /// as [`Registry::options`] does. The options keep the topic, as a handle does.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, str>::new();
    /// let options = topics.options("saved").priority(10).guard();
    /// let _guard = options.register(|path| println!("{path}"));
    /// ```
    ///
    /// # Panics
    ///
    /// If the topic has 2^30 owners.
    pub fn options(&self, key: impl Into<K>) -> RegisterOptions<'static, F, E> {
        let Handle { registry, .. } = self.handle(key);
        RegisterOptions::new(Cow::Owned(registry), PhantomData)
    }

    /// Returns a handle to the key's topic, as [`handle`](Self::handle) does, and `held`, which the
    /// caller holds meanwhile: `Into`, `Hash` and `Eq` of the key are user code.
    pub(crate) fn handle_beside<T>(&self, key: impl Into<K>, held: T) -> (Handle<F, K, E>, T) {
        let held = Held::new(held);
        let handle = self.handle(key);
        (handle, held.into_inner())
    }

    /// Returns a handle to the key's topic, if there is one.
    ///
    /// # Panics
    ///
    /// If the topic has 2^30 owners.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Option<Handle<F, K, E>>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        Some(self.find(key, Handle::try_of)?.expect(TOO_MANY_OWNERS))
    }

    /// Returns whether the key has a topic.
    #[must_use]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.find(key, |_| ()).is_some()
    }

    /// Removes a handler of the key's topic, as [`Registry::unregister`] does. Returns `false` if
    /// there is no topic.
    #[doc(alias("unsubscribe", "off", "disconnect"))]
    pub fn unregister<Q>(&self, key: &Q, id: HandlerId) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get(key).is_some_and(|topic| topic.unregister(id))
    }

    /// Makes several changes to the key's topic at once, as [`Registry::update`] does. The topic is
    /// created if there is none.
    ///
    /// # Panics
    ///
    /// If `change` panics; then nothing is changed.
    pub fn update<R>(
        &self,
        key: impl Into<K>,
        change: impl FnOnce(&mut Batch<'_, F, E>) -> R,
    ) -> R {
        let (topic, change) = self.handle_beside(key, change);
        topic.update(change)
    }

    /// Removes all handlers of the key's topic. Returns whether there were any.
    ///
    /// The topic is removed with them, unless it has a handle.
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.get(key).is_some_and(|topic| topic.remove_all() != 0)
    }

    /// Removes all handlers of all topics, as [`remove`](Self::remove) does, one topic after the
    /// other. Topics that are created meanwhile may be left out.
    pub fn clear(&self) {
        for topic in self.handles() {
            topic.clear();
        }
    }

    /// Returns a handle to each topic, in no particular order: to notify all, for example. Topics
    /// that are created meanwhile may be left out.
    ///
    /// ```
    /// use topic_registry::{Delivery, TopicRegistry};
    ///
    /// let users = TopicRegistry::<u64, str>::new();
    /// users.register(7u64, |text| println!("7: {text}"));
    /// users.register(8u64, |text| println!("8: {text}"));
    /// let all: Delivery = users.handles().iter().map(|user| user.notify("hello")).sum();
    /// assert_eq!(all.called(), 2);
    /// ```
    ///
    /// # Panics
    ///
    /// If a topic has 2^30 owners.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle<F, K, E>> {
        // All are made before the first can be dropped: the drop takes the same locks.
        let handles = self.map.topics.collect(Handle::try_of);
        handles.into_iter().map(|handle| handle.expect(TOO_MANY_OWNERS)).collect()
    }

    /// Returns whether these are the same topics.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, str>::new();
    /// assert!(topics.ptr_eq(&topics.clone()) && !topics.ptr_eq(&TopicRegistry::new()));
    /// ```
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.map, &other.map)
    }

    /// Returns the number of topics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.topics.len()
    }

    /// Returns whether there is no topic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.topics.is_empty()
    }

    /// Returns the keys of all topics, in no particular order. Topics that are created or removed
    /// meanwhile may be left out.
    ///
    /// # Panics
    ///
    /// If a key's own `Clone` panics.
    #[must_use]
    pub fn keys(&self) -> Vec<K> {
        self.describe(|_, key| key)
    }

    /// Returns all topics, in no particular order. Topics that are created or removed meanwhile may
    /// be left out. No lock is held after this returns.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let users = TopicRegistry::<u64, str>::new();
    /// users.register(7u64, |text| println!("{text}"));
    /// assert_eq!(users.keys(), [7]);
    /// for topic in users.topics() {
    ///     println!("{}: {} handlers, {} handles", topic.key, topic.handlers, topic.handles);
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// If a key's own `Clone` panics.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicInfo<K>> {
        self.describe(|topic, key| {
            let (owners, handlers) = topic.core.cell.counts();
            TopicInfo {
                key,
                handlers,
                handles: owners,
            }
        })
    }

    /// Returns what `describe` makes of each topic and a clone of its key.
    fn describe<T>(&self, describe: impl Fn(&Topic<F, K, E>, K) -> T) -> Vec<T> {
        let topics = self.map.topics.collect(Topic::clone);
        // Clones of keys are held while `K::clone` runs.
        let held = topics.iter().map(|topic| Held::new(describe(topic, K::clone(topic.key()))));
        let held: Vec<_> = held.collect();
        held.into_iter().map(Held::into_inner).collect()
    }

    /// Frees memory that the table of keys does not need.
    ///
    /// Topics themselves are freed when they are removed. The table also shrinks by itself: every
    /// 1,024 removed topics, if three quarters of it are not needed.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let users = TopicRegistry::<u64, str>::new();
    /// let guards: Vec<_> = (0..10_000u64).map(|id| users.register_guard(id, |_| {})).collect();
    /// drop(guards);
    /// users.shrink_to_fit();
    /// ```
    pub fn shrink_to_fit(&self) {
        self.map.topics.shrink_to_fit();
    }

    /// Sets the callback for panics in any topic, no matter when the topic is created. It is called
    /// after the callback that [`Registry::on_panic`] set on that topic, and with the same
    /// guarantees. Some panics are counted and not reported: see
    /// [`panic_count`](Self::panic_count), and the [guide](crate::guide#panics).
    ///
    /// Panics are reported to it through remaining handles even after the topics are gone.
    pub fn on_panic(&self, callback: impl Fn(&K, &PanicInfo<'_>) + Send + Sync + 'static) {
        self.set_callback(Some(Box::new(callback)));
    }

    /// Removes the callback that [`on_panic`](Self::on_panic) has set.
    pub fn clear_panic_callback(&self) {
        self.set_callback(None);
    }

    fn set_callback(&self, callback: Option<Box<dyn Fn(&K, &PanicInfo<'_>) + Send + Sync>>) {
        let outcome = self.map.shared.monitor.set(callback);
        self.map.shared.count_and_drop(outcome.err());
    }

    /// Adds an observer that is called when a topic gains its first handler or loses its last one,
    /// until the guard is dropped: for example for a bridge, which subscribes upstream only while a
    /// topic has handlers. There may be several observers, independent of each other. See the
    /// [guide](crate::guide#observability) and the [bridge pattern](crate::patterns#bridge).
    ///
    /// For one key, the calls alternate, beginning with [`Interest::Gained`]. They do not overlap,
    /// and when all changes have returned, the last call reported the current state. A gain and a
    /// loss that happen before the observer is called for the first of them cancel out: nothing is
    /// queued, however slow the observer is. (A thread keeps calling on behalf of others as long as
    /// they undo, during each call, what it reports.)
    ///
    /// Topics that already have handlers are reported first, on this thread. Usually a call is made
    /// on the thread that registered or removed the handler, before that operation returns. But if
    /// another thread is calling this observer for the same key at that time, that thread makes
    /// this call too, later. The same holds if the observer itself registers or removes handlers of
    /// that key: its thread calls it again afterwards.
    ///
    /// No lock is held while the observer runs. If it panics, that is [counted](Self::panic_count)
    /// and not propagated. An observer that owns a clone of the topics keeps them alive until its
    /// guard is dropped. Losses after an observer has ended are not reported to it. Handlers that
    /// are dropped together with the topics are not reported: the observers end first.
    ///
    /// The closure of the last handler is dropped before the loss is reported, unless something
    /// still holds it: a dispatch or a pin with an older list, its own call if it removes itself
    /// (as each `register_once` handler does), or a call of a joinable handler.
    ///
    /// While there is an observer, adding a topic's first handler and removing its last one take a
    /// lock that all topics share, and time for each observer. Nothing else pays for it.
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
        let guard = self.observer_guard(observer.serial);
        // A change whose writer does not see the observer yet is found here, because this takes the
        // topic's writer lock after it has added the observer.
        for handle in self.handles() {
            let topic = &handle.scope.parent;
            handle.cell().with_list(|list| {
                if list.len() != 0 {
                    observer.note(topic.address(), Interest::Gained);
                }
            });
            let thrown = |payload| shared.count_and_drop([payload]);
            observer.tell(topic.address(), handle.key(), &thrown);
        }
        guard
    }

    /// Adds an observer that is called each time a topic grows past a multiple of `limit` handlers
    /// (of 100: with the 101st, the 201st, ...), with their number, until the guard is dropped. It
    /// finds guards that are never dropped, and handlers that are registered in a loop. A batch
    /// that passes several multiples is reported once. There may be several observers, each with
    /// its own limit.
    ///
    /// It is called on the thread that registers, with no lock held. If it panics, that is
    /// [counted](Self::panic_count) and not propagated. Topics that have grown past the limit
    /// before are not reported. Registering in a topic that is past the lowest limit takes a lock
    /// that all topics share.
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
        let callback = Held::new(callback);
        assert_ne!(limit, 0, "a limit of 0 handlers: every topic is past it");
        let callback = Box::new(callback.into_inner());
        let limits = &self.map.shared.limits;
        let observer = limits.add(limit.saturating_add(1), HandlerLimit { limit, callback });
        self.observer_guard(observer.serial)
    }

    fn observer_guard(&self, serial: u64) -> ObserverGuard {
        let shared: Weak<Shared<F, K, E>> = Arc::downgrade(&self.map.shared);
        ObserverGuard {
            serial,
            observed: Some(shared),
        }
    }

    /// Returns how many panics were caught, each counted once: those in all topics, including
    /// removed ones, that are reported to [`on_panic`](Self::on_panic); those of callbacks and
    /// observers, and of the destructors of what they throw; those of a key's destructor; and those
    /// of `tracing` subscribers and `metrics` recorders. (These last ones are not part of the
    /// metric, whose recorder may be the one that panics.)
    #[must_use]
    pub fn panic_count(&self) -> u64 {
        self.map.shared.monitor.count()
    }

    /// Calls `read` with the handlers of the key's topic, if it has any. Does not own the topic,
    /// and the look-up has ended by then.
    #[inline]
    pub(crate) fn read<Q, R: Default>(
        &self,
        key: &Q,
        read: impl FnOnce(&Arc<List<HandlerArc<F, E>>>) -> R,
    ) -> R
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        // Step look_up of tests/protocols/topics.tla.
        let list = self.find(key, |topic| topic.core.cell.protect());
        list.flatten().map_or_else(R::default, |list| list.read(read))
    }

    /// Calls `found` with the key's topic, if there is one, inside of the look-up.
    #[inline]
    fn find<Q, R>(&self, key: &Q, found: impl FnOnce(&Topic<F, K, E>) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let topics = &self.map.topics;
        // Hashed first: `Hash` may take its time.
        topics.find(topics.hash(key), key, found)
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Clone for Topics<F, K, E> {
    fn clone(&self) -> Self {
        self.map.add_user();
        Self {
            map: Arc::clone(&self.map),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Drop for Topics<F, K, E> {
    fn drop(&mut self) {
        self.map.remove_user();
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Default for Topics<F, K, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> fmt::Debug for Topics<F, K, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(&format!("{}TopicRegistry", F::TOPIC_PREFIX))
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
    /// The topic's key.
    pub key: K,
    /// The number of registered handlers.
    pub handlers: usize,
    /// The number of owners that keep the topic: handles, pins, options, registries cloned out of a
    /// handle, and calls in progress that register or remove by key or guard, clear all topics, or
    /// add an observer of interest.
    pub handles: usize,
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Handle<F, K, E> {
    /// Returns the topic's key.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.scope.parent.key
    }

    /// Makes a handle, unless there are too many. Called under the lock of a shard.
    fn try_of(topic: &Topic<F, K, E>) -> Option<Self> {
        Some(Self {
            registry: Registry::try_of(Arc::clone(&topic.core))?,
            scope: Arc::clone(&topic.scope),
        })
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
        f.debug_struct(&format!("{}TopicHandle", F::TOPIC_PREFIX))
            .field("key", self.key())
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;
    use std::{panic, thread};

    use super::*;
    use crate::flavor::sync::{SyncFlavor, TopicRegistry};
    use crate::report::panic::catch;

    type Owner = Handle<SyncFlavor, u8, u32>;

    /// The panic runs the panic hook, and so no lock may be held; and no owner may be left behind.
    #[test]
    fn a_handle_too_many_panics_outside_of_locks_and_leaves_nothing_behind() {
        let topics = TopicRegistry::<u8, u32>::new();
        let (used, previous) = (topics.clone(), panic::take_hook());
        // Takes all locks, one after the other.
        panic::set_hook(Box::new(move |_| used.shrink_to_fit()));
        let (ended, ends) = mpsc::channel();
        let test = thread::spawn(move || {
            have_a_handle_too_many(&topics);
            let _ = ended.send(());
        });
        let outcome = ends.recv_timeout(Duration::from_secs(60));
        panic::set_hook(previous);
        let hangs = outcome == Err(mpsc::RecvTimeoutError::Timeout);
        assert!(!hangs, "hung: a panic hook that uses the topics");
        test.join().expect("it holds");
    }

    fn have_a_handle_too_many(topics: &TopicRegistry<u8, u32>) {
        let handle = topics.handle(1);
        handle.cell().fill();
        let before = handle.cell().counts();
        let ways: [&dyn Fn() -> Option<Owner>; 4] = [
            &|| topics.get(&1),
            &|| Some(topics.handle(1)),
            &|| Some(handle.clone()),
            &|| topics.handles().pop(),
        ];
        for way in ways {
            let payload = catch(way).expect_err("there are too many");
            let message = *payload.downcast::<String>().expect("a text");
            assert!(
                message.contains("2^30 handles of one registry"),
                "{message}"
            );
            assert_eq!((topics.len(), handle.cell().counts()), (1, before));
        }
        let weak = handle.downgrade();
        assert!(catch(|| weak.upgrade()).is_err());
        handle.cell().unfill();
        assert_eq!(handle.cell().counts(), (1, 0));
        drop(handle);
        assert!(topics.is_empty(), "a phantom owner keeps it");
    }
}
