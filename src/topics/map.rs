//! The map of topics: what they share, and their end.
//!
//! # When a topic may go
//!
//! A topic is in the map, and everybody who can register on it is a counted owner of its
//! core: a handle, a registry cloned out of one, a pin, and whoever is about to remove one of
//! its handlers. It may go when there is no owner **and** no handler.
//!
//! *Who asks.* Whoever takes the last owner away and leaves no handler. Handlers come and go
//! by owners only, so of all that must happen before a topic is idle, the last is always an
//! owner that goes.
//!
//! *What is checked.* That it is still idle, under the write lock of the key's shard. Owners
//! are made by other owners, or out of the map under that lock; so once there is none, there
//! is none until the lock is released. Both counts are one word (see `cell.rs`): checked one
//! after the other, a thread could register and go in between, and its handler would be lost
//! with the topic.
//!
//! The check also marks the topic as ended, in that same word, before it leaves the map. A weak
//! registry makes an owner only of a topic without the mark: by a step on the word, so either the
//! check finds that owner, or the owner finds the mark. What it gives out is the key's one topic.
//!
//! A guard makes an owner out of nothing, by upgrading its weak share, mark or no mark: all
//! it can do then is to remove a handler that is no longer there.
//!
//! A dispatch by key is no owner: it takes its snapshot under the shard's lock and lets go of
//! the topic. If the topic goes meanwhile, its handlers have all been removed, and the
//! snapshot's flags say so. Why the snapshot drops nothing under that lock, is said in
//! `cell.rs`.

use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::guard::Remove;
use crate::panic::{DropGuarded, PanicInfo, Payload, catch, count_and_drop};
use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::registry::Core;
use crate::scope::{PanicMonitor, Parent, Scope};
use crate::telemetry::Telemetry;
use crate::topics::Key;
use crate::topics::builder::Slow;
use crate::topics::interest::{self, Watch};
use crate::topics::limit::HandlerLimit;
use crate::topics::observers::Observers;
use crate::topics::table::{Keyed, Table};
use crate::{Flavor, HandlerId, HandlerInfo, Interest};

pub(super) type TopicPanicCallback<K> = Box<dyn Fn(&K, &PanicInfo<'_>) + Send + Sync>;

/// All topics, by key.
pub(super) struct Map<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    pub(super) topics: Table<Found<F, K, E>>,
    pub(super) pruned: AtomicUsize,
    pub(super) shared: Arc<Shared<F, K, E>>,
}

/// What every topic needs of the whole, and keeps alive.
pub(super) struct Shared<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    // Weak, because the map owns the topics.
    pub(super) map: Weak<Map<F, K, E>>,
    pub(super) monitor: PanicMonitor<TopicPanicCallback<K>>,
    pub(super) interests: Observers<Watch<K>>,
    pub(super) limits: Observers<HandlerLimit<K>>,
    pub(super) slow: Option<Slow<K>>,
    pub(super) telemetry: Telemetry<K>,
}

/// What a handler's scope knows of its topic: the key, and what all topics share.
pub(super) struct Topic<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    pub(super) key: DropGuarded<K>,
    pub(super) shared: Arc<Shared<F, K, E>>,
}

pub(super) type TopicScope<F, K, E> = Arc<Scope<Topic<F, K, E>>>;

impl<F: Flavor<E>, K: Key, E: ?Sized> Shared<F, K, E> {
    fn count_panic(&self) {
        self.monitor.add();
        self.telemetry.count_panic();
    }

    /// Counts what callbacks threw.
    pub(super) fn count_and_drop(&self, thrown: impl IntoIterator<Item = Payload>) {
        count_and_drop(thrown, || self.count_panic());
    }
}

/// An observer is removed by its guard.
impl<F: Flavor<E>, K: Key, E: ?Sized> Remove for Shared<F, K, E> {
    fn remove(self: Arc<Self>, observer: HandlerId) -> bool {
        let thrown = |payload| self.count_and_drop([payload]);
        self.interests.end(observer, &thrown) || self.limits.end(observer, &thrown)
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Parent for Topic<F, K, E> {
    fn count_panic(&self) {
        self.shared.count_panic();
    }

    fn report_panic(&self, info: &PanicInfo<'_>) {
        let callback = &self.shared.monitor.callback;
        let thrown = callback.call(|callback| callback(&self.key, info));
        self.shared.count_and_drop(thrown);
        self.shared.telemetry.panicked(&self.key, info);
    }

    fn slow_limit(&self) -> Option<Duration> {
        self.shared.slow.as_ref().map(|slow| slow.limit)
    }

    fn report_slow(&self, info: &HandlerInfo, time: Duration) {
        if let Some(slow) = &self.shared.slow {
            let thrown = catch(|| (slow.callback)(&self.key, info, time)).err();
            self.shared.count_and_drop(thrown);
        }
        self.shared.telemetry.slow(&self.key, info, time);
    }

    fn length_changed_locked(&self, from: usize, to: usize) {
        if (from == 0) != (to == 0) {
            let now = Interest::of(to);
            self.shared.interests.record(self.address(), now);
        }
    }

    fn length_changed(&self, from: usize, to: usize) {
        let Shared {
            interests,
            limits,
            telemetry,
            ..
        } = &*self.shared;
        // First, because observers may take their time, and change the topic in turn.
        telemetry.topic_resized(from, to);
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
            map.topics.wait_for_lookups(&self.key);
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Topic<F, K, E> {
    pub(super) fn address(&self) -> interest::Address {
        ptr::from_ref(self).addr()
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Map<F, K, E> {
    /// Removes the topic from the map if it is idle.
    pub(super) fn prune(&self, topic: &Topic<F, K, E>) -> bool {
        // Dropped after the lock is released.
        let removed = self.topics.remove_if(&topic.key, |found| found.core.cell.end_if_idle());
        if removed.is_some() {
            self.shrink_if_sparse();
            self.shared.telemetry.topic_removed(&topic.key);
        }
        removed.is_some()
    }

    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn report_all_removed(&self) {
        // Those who are told are the user's, so not under the locks.
        for topic in self.topics.collect(Found::clone) {
            self.shared.telemetry.topic_removed(topic.key());
        }
    }

    /// Shrinks the map every so often if most of it stands empty, which a map of keys that
    /// come and go would otherwise never do.
    fn shrink_if_sparse(&self) {
        const EVERY: usize = 1024;
        // Relaxed: it only says how often.
        let pruned = self.pruned.fetch_add(1, Ordering::Relaxed) + 1;
        if pruned % EVERY == 0 && self.topics.capacity() > 4 * self.topics.len() + EVERY {
            self.topics.shrink_to_fit();
        }
    }
}

/// Topics that have not gone before go with their map; and so do the observers of topics. One of
/// these may own a handle, which keeps all that is shared: they would keep each other forever.
impl<F: Flavor<E>, K: Key, E: ?Sized> Drop for Map<F, K, E> {
    fn drop(&mut self) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        self.report_all_removed();
        let Shared {
            interests, limits, ..
        } = &*self.shared;
        let thrown = |payload| self.shared.count_and_drop([payload]);
        interests.end_all(&thrown);
        limits.end_all(&thrown);
    }
}

/// A topic in the map.
pub(super) struct Found<F: Flavor<E>, K: Key, E: ?Sized + 'static> {
    /// Has the one copy of the key.
    pub(super) scope: TopicScope<F, K, E>,
    pub(super) core: Arc<Core<F, E>>,
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Clone for Found<F, K, E> {
    fn clone(&self) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
            core: Arc::clone(&self.core),
        }
    }
}

impl<F: Flavor<E>, K: Key, E: ?Sized> Keyed for Found<F, K, E> {
    type Key = K;

    #[inline]
    fn key(&self) -> &K {
        &self.scope.parent.key
    }
}
