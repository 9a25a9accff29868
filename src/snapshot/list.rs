//! The immutable handler list, ordered by rank: a change makes a new list.
//!
//! A short list is one slice. A longer one is a slice of bounded chunks, so that a change copies
//! one chunk and the references to the others. Each list knows how many of its items can stop a
//! dispatch. If there are none, a dispatch need not check for it after each call.

use std::ops::Range;
use std::slice;
use std::sync::Arc;

use crate::id::Rank;

/// An item of a list: cheap to clone, and ranked. No two items of a list have the same rank.
pub(crate) trait Ranked: Clone {
    fn rank(&self) -> Rank;

    /// Returns whether the item can stop a dispatch.
    fn is_interceptor(&self) -> bool;
}

/// The maximum number of items in one slice. A change to a list of `n` items copies up to `CHUNK`
/// of them and `n / CHUNK` references to chunks, each at the cost of a reference count. 64 keeps
/// the sum low for lists of up to some 10,000 items.
const CHUNK: usize = 64;

pub(crate) enum List<T> {
    /// The most common case, reached without another allocation. The item cannot stop a dispatch.
    One(T),
    /// No item, or up to [`CHUNK`].
    Short { items: Box<[T]>, interceptors: u32 },
    /// Two chunks or more, none of them empty.
    Long {
        chunks: Box<[Arc<[T]>]>,
        interceptors: u32,
    },
}

/// A position in a list, for an iteration that does not borrow the list between its steps.
#[cfg(feature = "async")]
#[derive(Default)]
pub(crate) struct Position {
    slice: usize,
    at: usize,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        let items = Box::default();
        Self::Short {
            items,
            interceptors: 0,
        }
    }
}

impl<T> List<T> {
    /// Returns the number of items; in a long list, by adding up the chunks.
    pub(crate) fn len(&self) -> usize {
        let (short, long) = self.slices();
        short.len() + long.iter().map(|chunk| chunk.len()).sum::<usize>()
    }

    /// Returns the items in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let (short, long) = self.slices();
        short.iter().chain(long.iter().flat_map(|chunk| chunk.iter()))
    }

    /// Returns the items in order: as one slice, or as chunks; the other part is empty.
    #[inline]
    pub(crate) fn slices(&self) -> (&[T], &[Arc<[T]>]) {
        match self {
            Self::One(item) => (slice::from_ref(item), &[]),
            Self::Short { items, .. } => (items, &[]),
            Self::Long { chunks, .. } => (&[], chunks),
        }
    }

    /// Returns the item at a position, and advances the position.
    #[cfg(feature = "async")]
    pub(crate) fn next(&self, position: &mut Position) -> Option<&T> {
        let slice = match self.slices() {
            (short, []) => Some(short).filter(|_| position.slice == 0),
            (_, long) => long.get(position.slice).map(|chunk| &**chunk),
        }?;
        if let Some(item) = slice.get(position.at) {
            position.at += 1;
            return Some(item);
        }
        *position = Position {
            slice: position.slice + 1,
            at: 0,
        };
        self.next(position)
    }

    /// Returns how many items can stop a dispatch.
    pub(crate) fn interceptor_count(&self) -> u32 {
        match self {
            Self::One(_) => 0,
            Self::Short { interceptors, .. } | Self::Long { interceptors, .. } => *interceptors,
        }
    }
}

impl<T: Ranked> List<T> {
    /// Makes a list of items that are in order.
    pub(crate) fn from_sorted(items: Vec<T>) -> Self {
        let interceptors = items.iter().map(|item| u32::from(item.is_interceptor())).sum();
        if items.len() <= CHUNK {
            return Self::short(items, interceptors);
        }
        let chunks = 0..items.len().div_ceil(CHUNK);
        let mut items = items.into_iter();
        let chunks = chunks.map(|_| items.by_ref().take(CHUNK).collect());
        let chunks = chunks.collect();
        Self::Long {
            chunks,
            interceptors,
        }
    }

    /// Returns the list with `item` added at its place.
    pub(crate) fn insert(&self, item: T) -> Self {
        let rank = item.rank();
        let interceptors = self.interceptor_count() + u32::from(item.is_interceptor());
        let (place, chunk) = self.chunk_of(rank);
        if chunk.is_empty() {
            return Self::short(vec![item], interceptors);
        }
        let at = match chunk.last() {
            Some(last) if last.rank() > rank => chunk.partition_point(|other| other.rank() < rank),
            // Usually, a new item is the last one.
            _ => chunk.len(),
        };
        let mut items = Vec::with_capacity(chunk.len() + 1);
        items.extend_from_slice(&chunk[..at]);
        items.push(item);
        items.extend_from_slice(&chunk[at..]);
        if items.len() <= CHUNK {
            return match self {
                Self::Long { .. } => self.replace(place, [items.into()], interceptors),
                _ => Self::short(items, interceptors),
            };
        }
        // A list that grows at its end leaves full chunks behind.
        let right = items.split_off(if at == CHUNK { CHUNK } else { CHUNK / 2 });
        self.replace(place, [items.into(), right.into()], interceptors)
    }

    /// Returns the list without the item of this rank, and that item; `None` if there is no such
    /// item.
    pub(crate) fn remove(&self, rank: Rank) -> Option<(Self, &T)> {
        let (Range { start, end }, chunk) = self.chunk_of(rank);
        // 1. Find it. The newest item is often the first to be removed.
        let at = match chunk.last() {
            Some(last) if last.rank() == rank => chunk.len() - 1,
            _ => chunk.binary_search_by_key(&rank, T::rank).ok()?,
        };
        let (before, item, after) = (&chunk[..at], &chunk[at], &chunk[at + 1..]);
        let interceptors = self.interceptor_count() - u32::from(item.is_interceptor());
        // 2. A short list is copied without it.
        let Self::Long { chunks, .. } = self else {
            return Some((Self::short([before, after].concat(), interceptors), item));
        };
        // 3. In a long one, the chunk is merged with a neighbour, preferably the left one, if the
        //    two have become small. So there are few chunks.
        let joins = |other: &&Arc<[T]>| chunk.len() + other.len() <= CHUNK / 2;
        let left = chunks[..start].last().filter(joins);
        let right = chunks[end..].first().filter(|_| left.is_none()).filter(joins);
        let place = start - usize::from(left.is_some())..end + usize::from(right.is_some());
        let [left, right] = [left, right].map(|chunk| chunk.map_or(&[] as &[T], |chunk| chunk));
        // 4. The remaining items, if any, replace these chunks.
        let joined = [left, before, after, right].concat();
        let joined = (!joined.is_empty()).then(|| joined.into());
        Some((self.replace(place, joined, interceptors), item))
    }

    /// Returns the item of this rank.
    pub(crate) fn get(&self, rank: Rank) -> Option<&T> {
        let (_, chunk) = self.chunk_of(rank);
        let at = chunk.binary_search_by_key(&rank, T::rank).ok()?;
        Some(&chunk[at])
    }

    /// Returns the chunk where an item of this rank is or would be, and the chunk's place.
    fn chunk_of(&self, rank: Rank) -> (Range<usize>, &[T]) {
        let (short, long) = self.slices();
        let Some(last) = long.len().checked_sub(1) else {
            return (0..0, short);
        };
        let at = long[..last].partition_point(|chunk| chunk[chunk.len() - 1].rank() < rank);
        (at..at + 1, &long[at])
    }

    /// Returns the list with the chunks at `place` replaced.
    fn replace(
        &self,
        place: Range<usize>,
        by: impl IntoIterator<Item = Arc<[T]>>,
        interceptors: u32,
    ) -> Self {
        let (_, long) = self.slices();
        let (before, after) = (&long[..place.start], &long[place.end..]);
        let chunks = before.iter().cloned().chain(by);
        let chunks: Box<[Arc<[T]>]> = chunks.chain(after.iter().cloned()).collect();
        match &*chunks {
            [only] => Self::short(only.to_vec(), interceptors),
            _ => Self::Long {
                chunks,
                interceptors,
            },
        }
    }

    /// Makes a list of items that fit into one slice.
    fn short(mut items: Vec<T>, interceptors: u32) -> Self {
        match (items.len(), interceptors) {
            (1, 0) => items.pop().map_or_else(Self::default, Self::One),
            _ => Self::Short {
                items: items.into(),
                interceptors,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    impl Ranked for (i32, u64) {
        fn rank(&self) -> Rank {
            (Reverse(self.0), self.1)
        }

        fn is_interceptor(&self) -> bool {
            self.1 % 5 == 0
        }
    }

    fn check(list: &List<(i32, u64)>, model: &[(i32, u64)]) {
        assert!(list.iter().eq(model), "{:?}", model.len());
        assert_eq!(list.len(), model.len());
        let interceptors = model.iter().filter(|item| item.is_interceptor()).count();
        assert_eq!(list.interceptor_count() as usize, interceptors);
        match list {
            List::One(_) => assert_eq!(model.len(), 1),
            List::Short { items, .. } => {
                assert!(items.len() <= CHUNK && (items.len() != 1 || interceptors == 1));
            }
            List::Long { chunks, .. } => {
                assert!(chunks.len() > 1);
                let lens: Vec<usize> = chunks.iter().map(|chunk| chunk.len()).collect();
                assert!(lens.iter().all(|len| (1..=CHUNK).contains(len)), "{lens:?}");
            }
        }
    }

    proptest! {
        /// In lists that grow and shrink, so that chunks split and join.
        #[test]
        fn it_does_what_a_sorted_vec_does(
            grow in prop::collection::vec(-3..3, 0..300),
            removals in prop::collection::vec(any::<prop::sample::Index>(), 0..300),
        ) {
            let (mut list, mut model) = (List::default(), Vec::new());
            for item in grow.into_iter().zip(0..) {
                list = list.insert(item);
                model.push(item);
                model.sort_by_key(Ranked::rank);
                check(&list, &model);
                prop_assert_eq!(list.get(item.rank()), Some(&item));
            }
            for at in removals {
                let Some(at) = (!model.is_empty()).then(|| at.index(model.len())) else { break };
                let item = model.remove(at);
                let (rest, removed) = list.remove(item.rank()).expect("it is there");
                prop_assert_eq!(*removed, item);
                prop_assert!(rest.remove(item.rank()).is_none() && rest.get(item.rank()).is_none());
                list = rest;
                check(&list, &model);
            }
        }
    }

    #[test]
    fn a_list_is_made_of_sorted_items_of_any_number() {
        for len in [0, 1, 2, CHUNK, CHUNK + 1, 3 * CHUNK, 1000] {
            let items: Vec<(i32, u64)> = (0..len as u64).map(|serial| (0, serial)).collect();
            check(&List::from_sorted(items.clone()), &items);
        }
    }

    #[test]
    fn a_list_that_grows_at_its_end_has_full_chunks() {
        let items = (0..1000).map(|serial| (0, serial));
        let list = items.fold(List::default(), |list, item| list.insert(item));
        let (_, chunks) = list.slices();
        assert_eq!(chunks.len(), 1000_usize.div_ceil(CHUNK));
    }

    #[test]
    fn a_list_that_shrinks_everywhere_has_few_chunks() {
        let items = (0..1000).map(|serial| (0, serial));
        let mut list = items.fold(List::default(), |list, item| list.insert(item));
        for serial in (0..1000).filter(|serial| serial % 20 != 0) {
            list = list.remove((0, serial).rank()).expect("it is there").0;
        }
        assert_eq!(list.len(), 50);
        let (_, chunks) = list.slices();
        assert!(chunks.len() <= 4);
    }
}
