//! [`Batch`]: changes to a registry that are published together.

use std::fmt;

use crate::id::Rank;
use crate::list::{List, Ranked};
use crate::registry::Entry;
use crate::slot::Handler;
use crate::{Flavor, HandlerId, Registry};

/// Changes that [`Registry::update`] makes all at once.
///
/// It holds no lock: the registry can be used meanwhile, and does not show the changes yet.
pub struct Batch<'r, F: Flavor<E>, E: ?Sized + 'static> {
    pub(crate) registry: &'r Registry<F, E>,
    added: Vec<Entry<F, E>>,
    removed: Vec<Rank>,
    cleared: bool,
}

impl<'r, F: Flavor<E>, E: ?Sized + 'static> Batch<'r, F, E> {
    pub(crate) fn new(registry: &'r Registry<F, E>) -> Self {
        Self {
            registry,
            added: Vec::new(),
            removed: Vec::new(),
            cleared: false,
        }
    }

    /// Removes a handler, of the registry or of this batch; whether it is there to remove.
    ///
    /// Somebody else may still remove it before the batch is published.
    pub fn unregister(&mut self, id: HandlerId) -> bool {
        let rank = id.rank();
        if let Some(at) = self.added.iter().position(|handler| handler.rank() == rank) {
            self.added.remove(at);
            return true;
        }
        let is_there = !self.cleared && !self.removed.contains(&rank) && self.registry.contains(id);
        if is_there {
            self.removed.push(rank);
        }
        is_there
    }

    /// Removes all handlers, of the registry and of this batch.
    pub fn clear(&mut self) {
        self.added.clear();
        self.cleared = true;
    }

    pub(crate) fn add(&mut self, handler: Entry<F, E>) -> HandlerId {
        let id = handler.head().id();
        self.added.push(handler);
        id
    }

    pub(crate) fn publish(mut self) {
        self.removed.sort_unstable();
        self.registry.core.cell.update(|list| {
            let goes = |rank| self.cleared || self.removed.binary_search(&rank).is_ok();
            let (gone, mut kept): (Vec<_>, Vec<_>) =
                list.iter().partition(|handler| goes(handler.rank()));
            kept.extend(&self.added);
            if gone.is_empty() && self.added.is_empty() {
                return None;
            }
            for handler in gone {
                handler.head().retire();
            }
            kept.sort_by_key(|handler| handler.rank());
            Some((List::from_sorted(kept.into_iter().cloned()), ()))
        });
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
