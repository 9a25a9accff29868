//! [`Batch`]: changes to a registry that are published together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::handler::Handler;
use crate::handler::flavor::{Flavor, HandlerArc};
use crate::registry::Registry;
use crate::report::id::HandlerId;
use crate::snapshot::list::{List, Rank, Ranked};

/// A set of changes that [`Registry::update`] publishes together.
///
/// It holds no lock: the registry can be used meanwhile, and does not show the changes yet.
pub struct Batch<'r, F: Flavor<E>, E: ?Sized + 'static> {
    pub(crate) registry: &'r Registry<F, E>,
    added: BTreeMap<Rank, HandlerArc<F, E>>,
    removed: BTreeSet<Rank>,
    cleared: bool,
}

impl<'r, F: Flavor<E>, E: ?Sized + 'static> Batch<'r, F, E> {
    pub(crate) fn new(registry: &'r Registry<F, E>) -> Self {
        Self {
            registry,
            added: BTreeMap::new(),
            removed: BTreeSet::new(),
            cleared: false,
        }
    }

    /// Removes a handler of the registry or of this batch. Returns whether it was found.
    ///
    /// Another thread may still remove the handler before the batch is published.
    pub fn unregister(&mut self, id: HandlerId) -> bool {
        let is_new = self.added.remove(&id.rank()).is_some();
        is_new || !self.cleared && self.registry.contains(id) && self.removed.insert(id.rank())
    }

    /// Removes all handlers: those that this batch has added so far, and those that the registry
    /// has when the batch is published.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// saves.register(|path| println!("old: {path}"));
    /// saves.update(|batch| {
    ///     batch.clear();
    ///     batch.register(|path| println!("new: {path}"));
    /// });
    /// assert_eq!(saves.handler_count(), 1);
    /// ```
    pub fn clear(&mut self) {
        self.added.clear();
        self.cleared = true;
    }

    pub(crate) fn add(&mut self, handler: HandlerArc<F, E>) -> HandlerId {
        let id = handler.header().id();
        self.added.insert(id.rank(), handler);
        id
    }

    pub(crate) fn publish(self) {
        self.registry.change(|list| {
            let goes = |rank| self.cleared || self.removed.contains(&rank);
            let (removed, mut kept): (Vec<_>, Vec<_>) =
                list.iter().cloned().partition(|handler| goes(handler.rank()));
            if removed.is_empty() && self.added.is_empty() {
                return None;
            }
            kept.extend(self.added.into_values());
            kept.sort_by_key(Ranked::rank);
            Some((List::from_sorted(kept), removed))
        });
    }
}

impl<F: Flavor<E>, E: ?Sized + 'static> Registry<F, E> {
    /// Makes several changes at once: they are published together after `change` has returned.
    ///
    /// A dispatch that begins when they are published, or later, sees all of them. A dispatch that
    /// began before sees none of the new handlers, and does not start those that are removed.
    /// Changes that other threads make meanwhile are kept, unless the batch clears the registry.
    ///
    /// Copies the references to all handlers once, however many changes there are.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let old = saves.register(|path| println!("{path} was saved"));
    /// let new = saves.update(|batch| {
    ///     batch.unregister(old);
    ///     [1, 2].map(|n| batch.register(move |path| println!("{n}: {path} was saved")))
    /// });
    /// let _guards = new.map(|id| saves.guard(id));
    /// ```
    ///
    /// # Panics
    ///
    /// If `change` panics; then nothing is changed.
    pub fn update<R>(&self, change: impl FnOnce(&mut Batch<'_, F, E>) -> R) -> R {
        let mut batch = Batch::new(self);
        let result = change(&mut batch);
        batch.publish();
        result
    }
}

impl<F: Flavor<E>, E: ?Sized> fmt::Debug for Batch<'_, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("added", &self.added.len())
            .field("removed", &self.removed.len())
            .field("cleared", &self.cleared)
            .finish_non_exhaustive()
    }
}
