//! The map of topics: what they share, and when they are removed.
//!
//! # When a topic may be removed
//!
//! A topic is in the map. Everything through which handlers can be registered on it is a counted
//! owner of its core: a handle, a registry cloned out of one, a pin, and a call that is about to
//! remove one of its handlers. The topic may be removed when it has no owner **and** no handler.
//!
//! *Who checks.* The thread that drops the last owner and leaves no handler. Handlers are added and
//! removed by owners only, so the last step before a topic becomes idle is always the drop of an
//! owner.
//!
//! *What is checked.* That the topic is still idle, under the write lock of the key's shard. Owners
//! are made by other owners, or out of the map under that lock; so once there is none, none is
//! added until the lock is released. Both counts are in one word (see `cell.rs`). If they were
//! checked one after the other, a thread could register a handler and drop its owner in between,
//! and the handler would be lost with the topic.
//!
//! The check also marks the topic as ended, in that same word, before the topic leaves the map. A
//! weak registry makes an owner only of a topic without the mark. It does so by a step on the same
//! word: either the check finds that owner, or the upgrade finds the mark. So what it returns is
//! the key's one topic.
//!
//! A guard makes an owner by upgrading its weak reference, whether the topic has the mark or not.
//! With the mark, all it can do is try to remove a handler that is no longer there.
//!
//! A dispatch by key is no owner: it takes its snapshot inside of the look-up, which the check
//! waits for, and keeps no reference to the topic. If the topic is removed meanwhile, all its
//! handlers have been removed, and their flags in the snapshot say so. `cell.rs` explains why the
//! snapshot drops nothing there.

use std::panic::RefUnwindSafe;
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::handler::flavor::Flavor;
use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::registry::Core;
use crate::report::id::HandlerInfo;
use crate::report::monitor::PanicMonitor;
use crate::report::panic::{DropGuarded, PanicInfo, Payload, catch, count_and_drop};
use crate::report::scope::{CountPanic, LifeCycle, Reports, Scope};
use crate::telemetry::Telemetry;
use crate::topics::interest::{Interest, Watch};
use crate::topics::limit::HandlerLimit;
use crate::topics::observers::{Observed, Observers};
use crate::topics::table::{Key, KeyHash, Keyed, Table};

/// All topics, by key.
pub(super) struct Map<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    pub(super) topics: Table<Topic<F, K, E>>,
    /// How many `Topics` there are: the map ends with the last one. A count of its own, because the
    /// library itself owns the map for a moment when it prunes a topic.
    users: AtomicUsize,
    pruned: AtomicUsize,
    pub(super) shared: Arc<Shared<F, K, E>>,
}

/// The state that all topics share and keep alive.
pub(super) struct Shared<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    // Weak, because the map owns the topics.
    pub(super) map: Weak<Map<F, K, E>>,
    pub(super) monitor: PanicMonitor<Box<dyn Fn(&K, &PanicInfo<'_>) + Send + Sync>>,
    pub(super) interests: Observers<Watch<K>>,
    pub(super) limits: Observers<HandlerLimit<K>>,
    pub(super) slow: Option<Slow<K>>,
    pub(super) counts_calls: bool,
    pub(super) telemetry: Telemetry<K>,
}

/// The time from which on a call is slow, and the callback for slow calls.
pub(super) struct Slow<K> {
    pub(super) limit: Duration,
    pub(super) callback: DropGuarded<Box<dyn Fn(&K, &HandlerInfo, Duration) + Send + Sync>>,
}

/// The home of a topic's handlers: its key, and the state that all topics share.
pub(super) struct Home<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    pub(super) key: DropGuarded<K>,
    pub(super) hash: KeyHash,
    pub(super) shared: Arc<Shared<F, K, E>>,
}

// Every panic is caught before it could leave these inconsistent.
impl<F: Flavor<E>, K: Key, E: ?Sized> RefUnwindSafe for Map<F, K, E> {}
impl<F: Flavor<E>, K: Key, E: ?Sized> RefUnwindSafe for Shared<F, K, E> {}

impl<F: Flavor<E>, K: Key, E: ?Sized> CountPanic for Shared<F, K, E> {
    fn count_panic(&self) {
        self.monitor.add();
        self.telemetry.count_panic(&|| self.monitor.add());
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Shared<F, K, E> {
    pub(super) fn report_created(&self, key: &K) {
        self.telemetry.topic_created(key, &|| self.monitor.add());
    }

    fn report_removed(&self, key: &K) {
        self.telemetry.topic_removed(key, &|| self.monitor.add());
    }

    /// Counts and drops what callbacks threw.
    pub(super) fn count_and_drop(&self, thrown: impl IntoIterator<Item = Payload>) {
        count_and_drop(thrown, || self.count_panic());
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Observed for Shared<F, K, E> {
    fn end(&self, serial: u64) {
        let thrown = |payload| self.count_and_drop([payload]);
        let _ = self.interests.end(serial, &thrown) || self.limits.end(serial, &thrown);
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Reports for Home<F, K, E> {
    fn count_panic(&self) {
        self.shared.count_panic();
    }

    fn topics(&self) -> Weak<dyn CountPanic> {
        let topics: Weak<Shared<F, K, E>> = Arc::downgrade(&self.shared);
        topics
    }

    fn report_panic(&self, info: &PanicInfo<'_>, _: &dyn Fn()) {
        let Shared {
            monitor, telemetry, ..
        } = &*self.shared;
        let thrown = monitor.call(|callback| callback(&self.key, info));
        self.shared.count_and_drop(thrown);
        telemetry.panicked(&self.key, info, &|| monitor.add());
    }

    fn slow_limit(&self) -> Option<Duration> {
        self.shared.slow.as_ref().map(|slow| slow.limit)
    }

    fn report_slow(&self, info: &HandlerInfo, time: Duration) {
        if let Some(slow) = &self.shared.slow {
            let thrown = catch(|| (slow.callback)(&self.key, info, time)).err();
            self.shared.count_and_drop(thrown);
        }
        let Shared {
            monitor, telemetry, ..
        } = &*self.shared;
        telemetry.slow(&self.key, info, time, &|| monitor.add());
    }

    fn counts_calls(&self) -> bool {
        self.shared.counts_calls
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> LifeCycle for Home<F, K, E> {
    fn length_changed_locked(&self, from: usize, to: usize) {
        if (from == 0) != (to == 0) {
            let now = Interest::of(to);
            self.shared.interests.note(self.address(), now);
        }
        self.count_handlers(from, to);
    }

    fn count_handlers(&self, from: usize, to: usize) {
        self.shared.telemetry.count_handlers(from, to);
    }

    fn tell_numbers(&self) {
        let Shared {
            monitor, telemetry, ..
        } = &*self.shared;
        telemetry.tell_numbers(&|| monitor.add());
    }

    fn length_changed(&self, from: usize, to: usize) {
        let Shared {
            interests, limits, ..
        } = &*self.shared;
        let thrown = |payload| self.shared.count_and_drop([payload]);
        if (from == 0) != (to == 0) {
            interests.tell(self.address(), &self.key, &thrown);
        }
        limits.tell(&self.key, from, to, &thrown);
    }

    fn prune(&self) {
        if let Some(map) = self.shared.map.upgrade() {
            map.prune(self);
        }
    }

    fn wait_for_lookups(&self) {
        if let Some(map) = self.shared.map.upgrade() {
            map.topics.wait_for_lookups(self.hash);
        }
    }
}

/// Drops the key, and counts a panic of its destructor.
impl<F: Flavor<E>, K: Key, E: ?Sized> Drop for Home<F, K, E> {
    fn drop(&mut self) {
        self.shared.count_and_drop(self.key.clear().err());
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Home<F, K, E> {
    pub(super) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Map<F, K, E> {
    /// Makes a map with one user.
    pub(super) fn new(shared: Arc<Shared<F, K, E>>) -> Self {
        Self {
            topics: Table::new(),
            users: AtomicUsize::new(1),
            pruned: AtomicUsize::new(0),
            shared,
        }
    }

    /// Counts another user, unless the map has ended. Returns whether it did.
    ///
    /// Relaxed: what a user finds in the map is ordered by the locks of its shards.
    pub(super) fn add_user(&self) -> bool {
        let add = |users| (users != 0).then(|| users + 1);
        self.users.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Counts one user less. The last one ends the map: it takes out the topics, reports them as
    /// removed, ends the observers, and drops the topics. An observer may own a handle, which keeps
    /// the shared state alive: if the observers did not end here, the two would keep each other
    /// alive forever.
    ///
    /// A thread that is pruning a topic may own the map for longer. It finds nothing in it.
    pub(super) fn remove_user(&self) {
        // What the other users did happened before the end: a release, and an acquire of the last.
        if self.users.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let topics = self.topics.take_all();
        for topic in &topics {
            self.shared.report_removed(topic.key());
        }
        let Shared {
            interests, limits, ..
        } = &*self.shared;
        let thrown = |payload| self.shared.count_and_drop([payload]);
        interests.end_all(&thrown);
        limits.end_all(&thrown);
    }

    /// Removes the topic from the map if it is idle.
    fn prune(&self, topic: &Home<F, K, E>) {
        let goes = |found: &Topic<F, K, E>| {
            ptr::eq(&raw const found.scope.parent, topic) && found.core.cell.end_if_idle()
        };
        // Steps lock_to_prune and unlock of tests/protocols/topics.tla.
        let removed = self.topics.remove_if(topic.hash, goes);
        if removed.is_some() {
            self.shared.report_removed(&topic.key);
            self.shrink_if_sparse();
        }
    }

    /// Shrinks the map from time to time if most of it is unused. Otherwise, a map whose keys keep
    /// changing would never shrink.
    fn shrink_if_sparse(&self) {
        const EVERY: usize = 1024;
        // Relaxed: it only says how often.
        let pruned = self.pruned.fetch_add(1, Ordering::Relaxed) + 1;
        if pruned % EVERY == 0 && self.topics.capacity() > 4 * self.topics.len() + EVERY {
            self.topics.shrink_to_fit();
        }
    }
}

/// A topic in the map.
pub(super) struct Topic<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    /// Owns the one copy of the key.
    pub(super) scope: Arc<Scope<Home<F, K, E>>>,
    pub(super) core: Arc<Core<F, E>>,
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Clone for Topic<F, K, E> {
    fn clone(&self) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
            core: Arc::clone(&self.core),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Keyed for Topic<F, K, E> {
    type Key = K;

    #[inline]
    fn key(&self) -> &K {
        &self.scope.parent.key
    }

    fn hash(&self) -> KeyHash {
        self.scope.parent.hash
    }
}
