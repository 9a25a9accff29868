//! The immutable handler list, ordered by rank: a change makes a new list.

use crate::id::Rank;

/// What a list holds: cheap to clone, and ranked.
pub(crate) trait Ranked: Clone {
    fn rank(&self) -> Rank;
}

#[derive(Debug)]
pub(crate) struct List<T> {
    items: Box<[T]>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            items: Box::default(),
        }
    }
}

impl<T> List<T> {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }
}

impl<T: Ranked> List<T> {
    /// The list with `item` at its place.
    pub(crate) fn insert(&self, item: T) -> Self {
        let rank = item.rank();
        let (before, after) = self
            .items
            .split_at(self.items.partition_point(|other| other.rank() < rank));
        let items = before.iter().cloned().chain([item]);
        Self {
            items: items.chain(after.iter().cloned()).collect(),
        }
    }

    /// The list without the item of this rank, and that item; `None` without such an item.
    pub(crate) fn remove(&self, rank: Rank) -> Option<(Self, &T)> {
        let at = self.find(rank)?;
        let (before, after) = (&self.items[..at], &self.items[at + 1..]);
        let items = before.iter().chain(after).cloned().collect();
        Some((Self { items }, &self.items[at]))
    }

    pub(crate) fn contains(&self, rank: Rank) -> bool {
        self.find(rank).is_some()
    }

    fn find(&self, rank: Rank) -> Option<usize> {
        self.items.binary_search_by_key(&rank, T::rank).ok()
    }
}
