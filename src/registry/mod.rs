//! The flavor-independent part of a registry: storage, removal, counts and panics of one topic.

pub(crate) mod batch;
pub(crate) mod options;
pub(crate) mod weak;

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::handler::counted::Counted;
use crate::handler::flavor::{Flavor, HandlerArc};
use crate::handler::guard::{HandlerGuard, Paused};
use crate::handler::registration::{Handlers, Registration};
use crate::handler::{Handler, Header};
use crate::report::id::{HandlerId, HandlerInfo};
use crate::report::panic::{PanicInfo, PanicOrigin, Registrant};
use crate::report::scope::{CountPanic, LifeCycle, Reports, Scope};
use crate::snapshot::cell::{HasCell, ListCell, TOO_MANY_OWNERS};
use crate::snapshot::list::List;
use crate::telemetry;

/// A set of handlers for one event type, with the methods to run them.
///
/// Used through its aliases [`SyncRegistry`](crate::SyncRegistry),
/// [`HookRegistry`](crate::HookRegistry) and `AsyncRegistry`; `F` is the flavor, which determines
/// what a handler is. Clones are handles to the same registry: no need to wrap one in an
/// `Arc`.
///
/// # Consistency
///
/// A dispatch runs over a snapshot: the handlers that were registered when it began. A handler that
/// is registered meanwhile waits for the next dispatch. A handler that is removed meanwhile is
/// skipped, unless its call has begun: a call begins when the dispatch has checked that the handler
/// was not removed, just before it calls the closure. A dispatch always sees a change that happened
/// before it, on the same thread or on another thread with which this one has synchronised. A
/// change that a thread has seen by one way to notify, it sees by every other way from then on.
/// [`handler_count`](Self::handler_count) may count a handler whose registration or removal has not
/// returned yet, and which dispatches do not call; never the other way round.
///
/// If one thread registers and then loads a flag, and another stores the flag and then notifies,
/// they cannot both miss each other, provided that the flag is accessed with `Ordering::SeqCst`.
///
/// Every method can be called from anywhere: from a handler, from an `on_panic` callback, from the
/// destructor of a closure or of a thread-local, as deep as the stack allows. No lock is held while
/// the caller's code runs or the caller's values are dropped.
///
/// Nested events reach later handlers before the event that they are nested in: see the
/// [guide](crate::guide#re-entrancy).
///
/// # Leaks
///
/// A handler or a callback that owns a clone of its own registry keeps it alive until it
/// is removed, as with any cycle of reference counts: give it a [`WeakRegistry`](Self::downgrade).
pub struct Registry<F: Flavor<E>, E: ?Sized + 'static> {
    core: Arc<Core<F, E>>,
}

/// The state shared by all clones of a registry.
pub(crate) struct Core<F: Flavor<E>, E: ?Sized + 'static> {
    pub(crate) cell: ListCell<HandlerArc<F, E>>,
    scope: Arc<Scope>,
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Creates an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Arc::new(Core::new(Arc::new(Scope::new(())))))
    }

    /// Removes a handler. Returns whether this call removed it.
    ///
    /// Once this has returned, on any thread, no dispatch starts the handler, not even a dispatch
    /// that is already running. A call that has begun may still run. This call drops the closure,
    /// unless a dispatch or a pin still holds an older list: then the last of them drops it.
    /// Nothing else delays the drop.
    ///
    /// An id that is unknown, was removed before, or belongs to another registry changes nothing.
    /// A removal does not cancel a future of an async handler that has begun; the drop of its
    /// dispatch does.
    ///
    /// Takes the writer lock, and copies up to 64 references to handlers, plus one reference for
    /// each further 64 handlers.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.register(|path| println!("{path} was saved"));
    /// assert!(saves.contains(id) && saves.handler_count() == 1);
    /// assert!(saves.unregister(id));
    /// assert!(saves.is_empty() && !saves.unregister(id));
    /// ```
    #[doc(alias("unsubscribe", "off", "disconnect"))]
    pub fn unregister(&self, id: HandlerId) -> bool {
        let removed = self.change(|list| {
            let (rest, handler) = list.remove(id.rank())?;
            Some((rest, [Counted::clone(handler)]))
        });
        removed.is_some()
    }

    /// Returns a guard for a handler that is registered already, for example by a batch.
    ///
    /// Dropping the guard does nothing if the id is not registered here at that time. So create the
    /// guard after the batch, not inside it.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.register(|path| println!("{path} was saved"));
    /// drop(saves.guard(id));
    /// assert!(saves.is_empty());
    /// ```
    pub fn guard(&self, id: HandlerId) -> HandlerGuard {
        HandlerGuard::new(self.registration(id))
    }

    /// Pauses a handler: once this has returned, no dispatch starts it as long as the returned
    /// [`Paused`], or another one for the same handler, is alive. Returns `None` if no such handler
    /// is registered here.
    ///
    /// The handler stays registered, at its place, with everything its closure owns. A call that
    /// has begun still runs. [`Delivery`](crate::Delivery) does not count a paused handler, and
    /// [`handlers`](Self::handlers) shows it as paused. It can be removed meanwhile. The pause
    /// holds for all threads: a handler that pauses itself during its call, so as not to be called
    /// by its own changes, misses what other threads notify meanwhile.
    ///
    /// Costs a binary search under the writer lock; dispatches pay nothing for it.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.register(|path| println!("{path} was saved"));
    /// let paused = saves.pause(id);
    /// assert_eq!(saves.notify("one.toml").called(), 0);
    /// drop(paused);
    /// assert_eq!(saves.notify("two.toml").called(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If the handler is already paused 32,767 times. Nothing has changed then, and no lock is
    /// held.
    #[must_use = "dropping it resumes the handler at once: bind it, `let paused = ...`"]
    pub fn pause(&self, id: HandlerId) -> Option<Paused> {
        Paused::new(self.registration(id))
    }

    /// Removes all handlers, each as [`unregister`](Self::unregister) does.
    pub fn clear(&self) {
        self.remove_all();
    }

    /// Removes all handlers. Returns how many there were.
    pub(crate) fn remove_all(&self) -> usize {
        let removed = self.change(|list| {
            let all: Vec<_> = list.iter().cloned().collect();
            (!all.is_empty()).then(|| (List::default(), all))
        });
        removed.unwrap_or(0)
    }

    /// Returns the handlers in the order in which they run (but a concurrent async dispatch runs
    /// interceptors first). Some may have been removed by the time the caller looks at them.
    ///
    /// Takes the writer lock, and allocates the `Vec`.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// saves.options().priority(-5).name("indexer").register(|path| println!("{path}"));
    /// for handler in saves.handlers() {
    ///     let name = handler.name.as_deref().unwrap_or("unnamed");
    ///     println!("{name}, priority {}, from {}", handler.priority, handler.registered_at);
    /// }
    /// ```
    #[must_use]
    pub fn handlers(&self) -> Vec<HandlerInfo> {
        let info = |handler: &HandlerArc<F, E>| handler.header().info();
        self.cell().with_list(|list| list.iter().map(info).collect())
    }

    /// Returns whether a handler is registered here. Costs a binary search under the writer lock.
    #[must_use]
    pub fn contains(&self, id: HandlerId) -> bool {
        self.with_handler(id, |_| ()).is_some()
    }

    /// Returns the number of registered handlers. Costs one atomic load.
    #[must_use]
    pub fn handler_count(&self) -> usize {
        self.cell().len()
    }

    /// Returns whether no handler is registered. Costs one atomic load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handler_count() == 0
    }

    /// Returns whether these are handles to the same registry.
    ///
    /// ```
    /// use topic_registry::TopicRegistry;
    ///
    /// let topics = TopicRegistry::<String, u32>::new();
    /// let (one, other) = (topics.handle("disk.full"), topics.handle("disk.slow"));
    /// assert!(one.ptr_eq(&topics.handle("disk.full")) && !one.ptr_eq(&other));
    /// ```
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// Sets the callback for panics of handlers, of destructors and of the wakers of waiting tasks
    /// (see [`PanicOrigin`]), and replaces the previous one.
    ///
    /// It is called on the thread of the panic, when the panic happens, with no lock held. If the
    /// callback itself panics, or the destructor of what it throws, that is counted and not
    /// propagated. Panics that happen on this thread while such a callback of any registry runs are
    /// counted but not reported, so a callback may notify a registry whose handlers panic. The
    /// default panic hook still prints; see [`std::panic::set_hook`]. See also the
    /// [guide](crate::guide#panics).
    ///
    /// A call of a joinable handler has not ended while its panic is reported: to join that handler
    /// in the callback returns [`JoinError::Inside`](crate::JoinError::Inside).
    ///
    /// If this is a topic, the callback is dropped with it.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let registry = SyncRegistry::<u32>::new();
    /// registry.on_panic(|info| {
    ///     let what = info.message().unwrap_or("no message");
    ///     eprintln!("the handler from {} panicked: {what}", info.registered_at());
    /// });
    /// registry.register(|n| assert!(*n < 10, "{n} is too large"));
    /// assert_eq!(registry.notify(&12).panicked(), 1);
    /// ```
    #[track_caller]
    pub fn on_panic(&self, callback: impl Fn(&PanicInfo<'_>) + Send + Sync + 'static) {
        self.set_callback(Some(Box::new(callback)));
    }

    /// Removes the callback that [`on_panic`](Self::on_panic) has set.
    #[track_caller]
    pub fn clear_panic_callback(&self) {
        self.set_callback(None);
    }

    #[track_caller]
    fn set_callback(&self, callback: Option<Box<dyn Fn(&PanicInfo<'_>) + Send + Sync>>) {
        let scope = &self.core.scope;
        if let Err(payload) = scope.monitor.set(callback) {
            let registrant = Registrant {
                id: None,
                location: Location::caller(),
            };
            scope.report(registrant, None, PanicOrigin::Callback, payload);
        }
    }

    /// Returns how many panics were caught, each counted once: those that are reported to
    /// [`on_panic`](Self::on_panic), and those of that callback. Of a registry that is not a topic,
    /// also those of a `tracing` subscriber that receives the report.
    /// [`Topics::panic_count`](crate::Topics::panic_count) counts all panics of the topics.
    #[must_use]
    pub fn panic_count(&self) -> u64 {
        self.core.scope.monitor.count()
    }

    /// Makes an owner from a reference to a core. If the core belongs to a topic that may be gone,
    /// the owner must only remove handlers: see `topics/map.rs`.
    pub(crate) fn of(core: Arc<Core<F, E>>) -> Self {
        Self::try_of(core).expect(TOO_MANY_OWNERS)
    }

    /// Makes an owner, as [`of`](Self::of) does, unless there are too many. Must not panic, because
    /// it is called under the lock of a shard.
    pub(crate) fn try_of(core: Arc<Core<F, E>>) -> Option<Self> {
        core.cell.add_owner().then(|| Self { core })
    }

    /// Makes an owner from a reference to a core, unless the core belongs to a topic that is gone.
    pub(crate) fn of_live(core: Arc<Core<F, E>>) -> Option<Self> {
        // Made only then, because dropping it removes an owner.
        core.cell.add_owner_if_live().then(|| Self { core })
    }

    pub(crate) fn core(&self) -> &Arc<Core<F, E>> {
        &self.core
    }

    /// Returns the scope to which this registry's handlers report.
    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.core.scope
    }

    pub(crate) fn add(&self, handler: HandlerArc<F, E>) -> HandlerId {
        let id = handler.header().id();
        self.change(|list| Some((list.insert(handler), [])));
        id
    }

    /// Calls `f` with a handler that is registered here, under the writer lock.
    fn with_handler<R>(&self, id: HandlerId, f: impl FnOnce(&Header) -> R) -> Option<R> {
        let get =
            |list: &List<HandlerArc<F, E>>| list.get(id.rank()).map(|found| f(found.header()));
        self.cell().with_list(get)
    }

    /// Replaces the list by the one that `change` returns, and drops the handlers that it removes.
    /// Returns how many handlers were removed, or `None` if nothing changed. See
    /// [`ListCell::update`] for what `change` must not do.
    pub(crate) fn change<R: AsRef<[HandlerArc<F, E>]>>(
        &self,
        change: impl FnOnce(&List<HandlerArc<F, E>>) -> Option<(List<HandlerArc<F, E>>, R)>,
    ) -> Option<usize> {
        let (scope, mut sizes) = (&self.core.scope, (0, 0));
        // 1. Publish the new list, under the writer lock.
        let removed = self.cell().update(change, |removed, from, to| {
            // 2. Mark what was removed. Under the lock, so that another removal of the same
            // handler, which comes too late and returns `false`, also returns after this. Not
            // before the new list is published: a dispatch that began in between would call neither
            // the removed nor the added handlers.
            for handler in removed {
                // Step mark_removed of tests/protocols/topics.tla.
                handler.header().mark_removed();
            }
            // 3. Note the new length, for what is reported below.
            sizes = (from, to);
            scope.parent.length_changed_locked(from, to);
        })?;
        // 4. Tell the numbers, before any other user code runs.
        scope.parent.tell_numbers();
        let handlers = removed.as_ref();
        let count = handlers.len();
        // 5. End what waits for these handlers.
        for handler in handlers {
            handler.removed();
        }
        // 6. Drop them. A look-up by key may hold the old list for a moment, and must not drop it.
        if handlers.iter().any(|handler| Counted::strong_count(handler) > 1) {
            scope.parent.wait_for_lookups();
        }
        drop(removed);
        // 7. Tell the observers, who find the closures gone.
        scope.parent.length_changed(sizes.0, sizes.1);
        Some(count)
    }

    pub(crate) fn registration(&self, id: HandlerId) -> Registration {
        let registry: Weak<Core<F, E>> = Arc::downgrade(&self.core);
        Registration {
            id,
            registry: Some(registry),
        }
    }
}

impl<F: Flavor<E>, E: ?Sized> Clone for Registry<F, E> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.core))
    }
}

impl<F: Flavor<E>, E: ?Sized> Default for Registry<F, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Flavor<E>, E: ?Sized> fmt::Debug for Registry<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(&format!("{}Registry", F::REGISTRY_PREFIX))
            .field("handlers", &self.handler_count())
            .field("panics", &self.panic_count())
            .finish()
    }
}

/// Removes an owner. The last owner of an empty topic prunes it.
impl<F: Flavor<E>, E: ?Sized> Drop for Registry<F, E> {
    fn drop(&mut self) {
        if self.core.cell.remove_owner() {
            self.core.scope.parent.prune();
        }
    }
}

impl<F: Flavor<E>, E: ?Sized> HasCell for Registry<F, E> {
    type Item = HandlerArc<F, E>;

    #[inline]
    fn cell(&self) -> &ListCell<Self::Item> {
        &self.core.cell
    }
}

impl<F: Flavor<E>, E: ?Sized> Core<F, E> {
    pub(crate) fn new(scope: Arc<Scope>) -> Self {
        Self {
            cell: ListCell::new(),
            scope,
        }
    }
}

/// Tells the handlers that are still registered that they are removed: a list that was leaked,
/// because a barrier was refused, never drops them.
impl<F: Flavor<E>, E: ?Sized> Drop for Core<F, E> {
    fn drop(&mut self) {
        let Some(list) = self.cell.last() else { return };
        self.scope.parent.count_handlers(list.len(), 0);
        self.scope.parent.tell_numbers();
        list.iter().for_each(|handler| handler.removed());
        self.scope.parent.length_changed(list.len(), 0);
    }
}

impl<F: Flavor<E>, E: ?Sized> Handlers for Core<F, E> {
    fn remove(self: Arc<Self>, id: HandlerId) -> bool {
        Registry::of(self).unregister(id)
    }

    fn pause(self: Arc<Self>, id: HandlerId) -> bool {
        let is_paused = Registry::of(self).with_handler(id, Header::pause);
        assert!(is_paused != Some(false), "a handler is paused 32,767 times");
        is_paused.is_some()
    }

    fn resume(self: Arc<Self>, id: HandlerId) {
        // If the handler was removed meanwhile, there is nothing to resume.
        Registry::of(self).with_handler(id, Header::resume);
    }
}

// A registry that serves no topic.

impl Reports for () {
    fn count_panic(&self) {}

    fn topics(&self) -> Weak<dyn CountPanic> {
        Weak::<()>::new()
    }

    fn report_panic(&self, info: &PanicInfo<'_>, count: &dyn Fn()) {
        telemetry::panicked(info, count);
    }

    fn slow_limit(&self) -> Option<Duration> {
        None
    }

    fn report_slow(&self, _: &HandlerInfo, _: Duration) {}

    fn counts_calls(&self) -> bool {
        false
    }
}

impl LifeCycle for () {
    fn length_changed_locked(&self, _: usize, _: usize) {}

    fn count_handlers(&self, _: usize, _: usize) {}

    fn tell_numbers(&self) {}

    fn length_changed(&self, _: usize, _: usize) {}

    fn prune(&self) {}

    fn wait_for_lookups(&self) {}
}
