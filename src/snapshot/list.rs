//! The immutable handler list, ordered by rank: a change makes a new list.
//!
//! A list knows its runs: items next to each other that are alike, which a dispatch can call by one
//! call. A change keeps them up to date by a comparison where it joins two parts.
//!
//! A short list is one slice, if it is one run or has no two items in a run. Any other list is a
//! slice of bounded chunks, so that a change copies one chunk and the references to the others.
//! Each list knows how many of its items can stop a dispatch. If there are none, a dispatch need
//! not check for it after each call.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;
use std::{iter, slice};

/// An item's place in a list: higher priority first, then older first.
pub(crate) type Rank = (Reverse<i32>, u64);

/// An item of a list: cheap to clone, and ranked. No two items of a list have the same rank.
pub(crate) trait Ranked: Clone {
    fn rank(&self) -> Rank;

    /// Returns whether the item can stop a dispatch.
    fn is_interceptor(&self) -> bool;

    /// Returns whether the items belong to one run if they are neighbours. An equivalence.
    fn is_alike(&self, other: &Self) -> bool;
}

/// The maximum number of items in one slice. A change to a list of `n` items copies up to `CHUNK`
/// of them and `n / CHUNK` references to chunks, each at the cost of a reference count. 64 keeps
/// the sum low for lists of up to some 10,000 items, and is the number of bits in
/// [`Chunk::starts`].
const CHUNK: usize = 64;

pub(crate) enum List<T> {
    /// The most common case, reached without another allocation. The item cannot stop a dispatch.
    One(T),
    /// Up to [`CHUNK`] items that are alike. None of them can stop a dispatch.
    Alike(Alike<T>),
    /// No item, or up to [`CHUNK`] without two neighbours that are alike. None of them can stop a
    /// dispatch.
    Mixed(Box<[T]>),
    /// All other lists: a chunk or more.
    Chunked {
        chunks: Box<[Chunk<T>]>,
        interceptors: u32,
    },
}

/// Items of which each is alike to the others; at least two.
pub(crate) struct Alike<T>(Box<[T]>);

/// Up to [`CHUNK`] items, at least one, shared by the lists that contain them.
pub(crate) struct Chunk<T> {
    items: Arc<[T]>,
    /// Bit `n` is set if item `n` is the first of a run.
    starts: u64,
}

/// Items that are neighbours in a list and alike; at least one. Only lists make runs.
pub(crate) struct Run<'l, T>(&'l [T]);

/// A position in a list, for an iteration that does not borrow the list between its steps.
#[cfg(feature = "async")]
#[derive(Default)]
pub(crate) struct Position {
    slice: usize,
    at: usize,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::Mixed(Box::default())
    }
}

impl<T> List<T> {
    /// Returns the number of items; in a long list, by adding up the chunks.
    pub(crate) fn len(&self) -> usize {
        let (short, chunks) = self.slices();
        short.len() + chunks.iter().map(|chunk| chunk.items.len()).sum::<usize>()
    }

    /// Returns the items in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let (short, chunks) = self.slices();
        short.iter().chain(chunks.iter().flat_map(|chunk| chunk.items.iter()))
    }

    /// Returns the items in order: as one slice, or as chunks; the other part is empty.
    #[inline]
    fn slices(&self) -> (&[T], &[Chunk<T>]) {
        match self {
            Self::One(item) => (slice::from_ref(item), &[]),
            Self::Alike(Alike(items)) | Self::Mixed(items) => (items, &[]),
            Self::Chunked { chunks, .. } => (&[], chunks),
        }
    }

    /// Calls `f` with the runs in order, each with one item at least.
    #[cfg(feature = "async")]
    #[inline]
    pub(crate) fn for_each_run(&self, mut f: impl FnMut(Run<'_, T>)) {
        match self {
            Self::One(item) => f(Run(slice::from_ref(item))),
            Self::Alike(alike) => f(alike.run()),
            Self::Mixed(items) => items.iter().for_each(|item| f(Run(slice::from_ref(item)))),
            Self::Chunked { chunks, .. } => chunks.iter().flat_map(Chunk::runs).for_each(f),
        }
    }

    /// Returns the item at a position, and advances the position.
    #[cfg(feature = "async")]
    pub(crate) fn next(&self, position: &mut Position) -> Option<&T> {
        let slice = match self.slices() {
            (short, []) => Some(short).filter(|_| position.slice == 0),
            (_, chunks) => chunks.get(position.slice).map(|chunk| &*chunk.items),
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
            Self::Chunked { interceptors, .. } => *interceptors,
            _ => 0,
        }
    }
}

impl<T> Alike<T> {
    #[inline(always)]
    pub(crate) fn run(&self) -> Run<'_, T> {
        Run(&self.0)
    }
}

impl<T> Chunk<T> {
    /// Returns the items, if no two neighbours are alike.
    #[inline]
    pub(crate) fn mixed(&self) -> Option<&[T]> {
        let runs = self.starts.count_ones() as usize;
        (runs == self.items.len()).then_some(&*self.items)
    }

    /// Returns the runs in order.
    #[inline]
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run<'_, T>> {
        let (items, mut starts) = (&*self.items, self.starts);
        iter::from_fn(move || {
            let start = starts.trailing_zeros() as usize;
            // Clears the lowest bit.
            starts &= starts.wrapping_sub(1);
            let end = items.len().min(starts.trailing_zeros() as usize);
            items.get(start..end).filter(|run| !run.is_empty()).map(Run)
        })
    }
}

impl<T> Clone for Run<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Run<'_, T> {}

impl<'l, T> Run<'l, T> {
    #[inline(always)]
    pub(crate) fn items(self) -> &'l [T] {
        self.0
    }
}

impl<T: Ranked> List<T> {
    /// Makes a list of items that are in order.
    pub(crate) fn from_sorted(items: Vec<T>) -> Self {
        let interceptors = items.iter().map(|item| u32::from(item.is_interceptor())).sum();
        if items.len() <= CHUNK {
            return Self::short(items.into_iter().collect(), interceptors);
        }
        let chunks = 0..items.len().div_ceil(CHUNK);
        let mut items = items.into_iter();
        let chunks = chunks.map(|_| items.by_ref().take(CHUNK).collect::<Joined<T>>().into());
        Self::Chunked {
            chunks: chunks.collect(),
            interceptors,
        }
    }

    /// Returns the list with `item` added at its place.
    pub(crate) fn insert(&self, item: T) -> Self {
        let rank = item.rank();
        let interceptors = self.interceptor_count() + u32::from(item.is_interceptor());
        let (place, part) = self.part_of(rank);
        if part.items.is_empty() && interceptors == 0 {
            return Self::One(item);
        }
        let at = match part.items.last() {
            Some(last) if last.rank() > rank => {
                part.items.partition_point(|other| other.rank() < rank)
            }
            // Usually, a new item is the last one.
            _ => part.items.len(),
        };
        if part.items.len() < CHUNK {
            let joined = part.with(at, item);
            return match self {
                Self::Chunked { .. } => self.replace(place, [Some(joined), None], interceptors),
                _ => Self::short(joined, interceptors),
            };
        }
        // A list that grows at its end leaves full chunks behind.
        let middle = if at == CHUNK { CHUNK } else { CHUNK / 2 };
        let (left, right) = part.split_at(middle);
        let by = if at < middle {
            [left.with(at, item), Joined::of(&[right])]
        } else {
            [Joined::of(&[left]), right.with(at - middle, item)]
        };
        self.replace(place, by.map(Some), interceptors)
    }

    /// Returns the list without the item of this rank, and that item; `None` if there is no such
    /// item.
    pub(crate) fn remove(&self, rank: Rank) -> Option<(Self, &T)> {
        let (place, part) = self.part_of(rank);
        // 1. Find it. The newest item is often the first to be removed.
        let at = match part.items.last() {
            Some(last) if last.rank() == rank => part.items.len() - 1,
            _ => part.items.binary_search_by_key(&rank, T::rank).ok()?,
        };
        let (before, rest) = part.split_at(at);
        let (removed, after) = rest.split_at(1);
        let item = &removed.items[0];
        let interceptors = self.interceptor_count() - u32::from(item.is_interceptor());
        // 2. A short list is copied without it.
        let Self::Chunked { chunks, .. } = self else {
            return Some((
                Self::short(Joined::of(&[before, after]), interceptors),
                item,
            ));
        };
        // 3. A chunk is merged with a neighbour, preferably the left one, if the two have become
        //    small. So there are few chunks.
        let Range { start, end } = place;
        let joins = |other: &&Chunk<T>| part.items.len() + other.items.len() <= CHUNK / 2;
        let left = chunks[..start].last().filter(joins);
        let right = chunks[end..].first().filter(|_| left.is_none()).filter(joins);
        let place = start - usize::from(left.is_some())..end + usize::from(right.is_some());
        let [left, right] = [left, right].map(|chunk| chunk.map_or_else(Part::empty, Chunk::part));
        // 4. The remaining items, if any, replace these chunks.
        let joined = Joined::of(&[left, before, after, right]);
        let joined = (!joined.items.is_empty()).then_some(joined);
        Some((self.replace(place, [joined, None], interceptors), item))
    }

    /// Returns the item of this rank.
    pub(crate) fn get(&self, rank: Rank) -> Option<&T> {
        let (_, Part { items, .. }) = self.part_of(rank);
        let at = items.binary_search_by_key(&rank, T::rank).ok()?;
        Some(&items[at])
    }

    /// Returns the slice where an item of this rank is or would be, and its place if it is a chunk.
    fn part_of(&self, rank: Rank) -> (Range<usize>, Part<'_, T>) {
        let (items, chunks) = self.slices();
        let Some(last) = chunks.len().checked_sub(1) else {
            let is_mixed = matches!(self, Self::Mixed(_));
            let starts = if is_mixed { u64::MAX } else { 1 };
            return (0..0, Part { items, starts });
        };
        let ends_before = |chunk: &Chunk<T>| chunk.items[chunk.items.len() - 1].rank() < rank;
        let at = chunks[..last].partition_point(ends_before);
        (at..at + 1, chunks[at].part())
    }

    /// Returns the list with the chunks at `place`, or all of a list that has no chunks, replaced.
    fn replace(&self, place: Range<usize>, by: [Option<Joined<T>>; 2], interceptors: u32) -> Self {
        let (_, all) = self.slices();
        let (before, after) = (&all[..place.start], &all[place.end..]);
        let rest = before.len() + after.len();
        match by {
            [only, None] if rest == 0 => {
                Self::short(only.unwrap_or_else(|| Joined::of(&[])), interceptors)
            }
            [None, None] if rest == 1 => {
                let only = before.first().or(after.first());
                Self::short(Joined::of(only.map(Chunk::part).as_slice()), interceptors)
            }
            by => {
                let mut chunks = Vec::with_capacity(rest + by.iter().flatten().count());
                chunks.extend_from_slice(before);
                chunks.extend(by.into_iter().flatten().map(Chunk::from));
                chunks.extend_from_slice(after);
                Self::Chunked {
                    chunks: chunks.into(),
                    interceptors,
                }
            }
        }
    }

    /// Makes a list of items that fit into one slice.
    fn short(joined: Joined<T>, interceptors: u32) -> Self {
        let Joined { mut items, starts } = joined;
        match (items.len(), interceptors) {
            (0, _) => Self::default(),
            (1, 0) => items.pop().map_or_else(Self::default, Self::One),
            (len, 0) if starts == below(len) => Self::Mixed(items.into()),
            (_, 0) if starts == 1 => Self::Alike(Alike(items.into())),
            _ => Self::Chunked {
                chunks: [Chunk::from(Joined { items, starts })].into(),
                interceptors,
            },
        }
    }
}

/// Returns the bits below bit `n`, which is not 0.
fn below(n: usize) -> u64 {
    u64::MAX >> (CHUNK - n)
}

/// Items of a list, to be copied.
struct Part<'l, T> {
    items: &'l [T],
    /// What is set for the first item, or behind the last one, does not matter.
    starts: u64,
}

/// Items of a new list, up to [`CHUNK`].
struct Joined<T> {
    items: Vec<T>,
    starts: u64,
}

impl<T: Ranked> Part<'_, T> {
    /// Returns the items, with another one at a position.
    fn with(self, at: usize, item: T) -> Joined<T> {
        let (before, after) = self.split_at(at);
        let mut joined = Joined::with_capacity(self.items.len() + 1);
        joined.append(&before);
        joined.push(item);
        joined.append(&after);
        joined
    }
}

impl<T> Part<'_, T> {
    fn empty() -> Self {
        let (items, starts) = (&[] as &[T], 0);
        Self { items, starts }
    }

    fn split_at(&self, at: usize) -> (Self, Self) {
        let part = |items, starts| Self { items, starts };
        let (left, right) = self.items.split_at(at);
        let rest = if at < CHUNK { self.starts >> at } else { 0 };
        (part(left, self.starts), part(right, rest))
    }
}

impl<T: Ranked> Joined<T> {
    fn with_capacity(len: usize) -> Self {
        let (items, starts) = (Vec::with_capacity(len), 0);
        Self { items, starts }
    }

    /// Copies parts, one after the other.
    fn of(parts: &[Part<'_, T>]) -> Self {
        let mut joined = Self::with_capacity(parts.iter().map(|part| part.items.len()).sum());
        for part in parts {
            joined.append(part);
        }
        joined
    }

    /// Copies a part to the end.
    fn append(&mut self, Part { items, starts }: &Part<'_, T>) {
        let Some(first) = items.first() else { return };
        let starts = starts & below(items.len()) & !1 | self.starts_with(first);
        self.starts |= starts << self.items.len();
        self.items.extend_from_slice(items);
    }

    /// Adds an item to the end.
    fn push(&mut self, item: T) {
        self.starts |= self.starts_with(&item) << self.items.len();
        self.items.push(item);
    }

    /// Returns 1 if a run would start with this item at the end, or 0.
    fn starts_with(&self, item: &T) -> u64 {
        let continues = self.items.last().is_some_and(|last| last.is_alike(item));
        u64::from(!continues)
    }
}

impl<T: Ranked> FromIterator<T> for Joined<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items = items.into_iter();
        let mut joined = Self::with_capacity(items.size_hint().0);
        for item in items {
            joined.push(item);
        }
        joined
    }
}

impl<T> Chunk<T> {
    fn part(&self) -> Part<'_, T> {
        Part {
            items: &self.items,
            starts: self.starts,
        }
    }
}

impl<T> Clone for Chunk<T> {
    fn clone(&self) -> Self {
        Self {
            items: Arc::clone(&self.items),
            starts: self.starts,
        }
    }
}

/// Of items that fit into a chunk.
impl<T> From<Joined<T>> for Chunk<T> {
    fn from(Joined { items, starts }: Joined<T>) -> Self {
        let items = items.into();
        Self { items, starts }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Item {
        priority: i32,
        serial: u64,
        kind: u8,
        is_interceptor: bool,
    }

    impl Ranked for Item {
        fn rank(&self) -> Rank {
            (Reverse(self.priority), self.serial)
        }

        fn is_interceptor(&self) -> bool {
            self.is_interceptor
        }

        fn is_alike(&self, other: &Self) -> bool {
            self.kind == other.kind
        }
    }

    /// Items of one priority, in order, whose kinds are these.
    fn items(kinds: impl IntoIterator<Item = u8>) -> Vec<Item> {
        let item = |(kind, serial)| Item {
            priority: 0,
            serial,
            kind,
            is_interceptor: false,
        };
        kinds.into_iter().zip(0..).map(item).collect()
    }

    fn without<'i>(list: List<Item>, gone: impl IntoIterator<Item = &'i Item>) -> List<Item> {
        gone.into_iter().fold(list, |list, item| {
            list.remove(item.rank()).expect("it is there").0
        })
    }

    fn check(list: &List<Item>, model: &[Item]) {
        assert!(list.iter().eq(model), "{:?}", model.len());
        assert_eq!(list.len(), model.len());
        let interceptors = model.iter().filter(|item| item.is_interceptor).count();
        assert_eq!(list.interceptor_count() as usize, interceptors);
        let mut runs = model.chunk_by(Ranked::is_alike);
        match list {
            List::One(_) => assert_eq!(model.len(), 1),
            List::Alike(alike) => {
                assert!((2..=CHUNK).contains(&model.len()));
                assert_eq!(alike.run().items(), runs.next().expect("there is one"));
                assert_eq!(runs.next(), None);
            }
            List::Mixed(_) => {
                assert!(model.len() <= CHUNK && model.len() != 1);
                assert_eq!(runs.count(), model.len());
            }
            List::Chunked { chunks, .. } => {
                let lens: Vec<usize> = chunks.iter().map(|chunk| chunk.items.len()).collect();
                assert!(!lens.is_empty(), "an empty list has no chunks");
                assert!(lens.iter().all(|len| (1..=CHUNK).contains(len)), "{lens:?}");
                if lens.len() == 1 && interceptors == 0 {
                    assert!((2..model.len()).contains(&runs.count()));
                }
                for chunk in chunks {
                    let runs = chunk.items.chunk_by(Ranked::is_alike);
                    assert!(chunk.runs().map(Run::items).eq(runs.clone()));
                    let is_mixed = runs.count() == chunk.items.len();
                    assert_eq!(chunk.mixed(), is_mixed.then_some(&*chunk.items));
                }
            }
        }
    }

    proptest! {
        /// In lists that grow and shrink, so that chunks split and join, with runs of all lengths.
        #[test]
        fn it_does_what_a_sorted_vec_does(
            grow in prop::collection::vec((-3..3, any::<u8>(), any::<u8>()), 0..300),
            removals in prop::collection::vec(any::<prop::sample::Index>(), 0..300),
            kinds in 1..5_u8,
            interceptors in prop::sample::select(&[0_u8, 1, 50]),
        ) {
            let (mut list, mut model) = (List::default(), Vec::new());
            for ((priority, kind, stops), serial) in grow.into_iter().zip(0..) {
                let (kind, is_interceptor) = (kind % kinds, stops < interceptors);
                let item = Item { priority, serial, kind, is_interceptor };
                list = list.insert(item);
                model.push(item);
                model.sort_by_key(Ranked::rank);
                check(&list, &model);
                prop_assert_eq!(list.get(item.rank()), Some(&item));
            }
            check(&List::from_sorted(model.clone()), &model);
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
            for kinds in [1, 2, 10, 1000] {
                let items = items((0..len).map(|n| u8::try_from(n * kinds / 1000 % 256).unwrap()));
                check(&List::from_sorted(items.clone()), &items);
            }
        }
    }

    #[test]
    fn a_list_that_grows_at_its_end_has_full_chunks() {
        let items = items([0; 1000]);
        let list = items.into_iter().fold(List::default(), |list, item| list.insert(item));
        let (_, chunks) = list.slices();
        assert_eq!(chunks.len(), 1000_usize.div_ceil(CHUNK));
    }

    #[test]
    fn a_list_with_one_chunk_left_is_short_again() {
        let items = items([0; 2 * CHUNK]);
        let (first, second) = items.split_at(CHUNK);
        for (gone, left) in [(first, second), (second, first)] {
            check(&without(List::from_sorted(items.clone()), gone), left);
        }
    }

    #[test]
    fn a_list_that_shrinks_everywhere_has_few_chunks() {
        let items = items([0; 1000]);
        let grown = items.iter().fold(List::default(), |list, item| list.insert(*item));
        let goes = |item: &&Item| item.serial % 20 != 0;
        let list = without(grown, items.iter().filter(goes));
        assert_eq!(list.len(), 50);
        let (_, chunks) = list.slices();
        assert!(chunks.len() <= 4);
    }

    /// How often a change compares, whatever the length of the list.
    #[test]
    fn a_change_compares_only_where_it_joins() {
        use std::cell::Cell;

        thread_local!(static COMPARED: Cell<usize> = const { Cell::new(0) });

        #[derive(Clone)]
        struct Counting(Item);

        impl Ranked for Counting {
            fn rank(&self) -> Rank {
                self.0.rank()
            }

            fn is_interceptor(&self) -> bool {
                false
            }

            fn is_alike(&self, other: &Self) -> bool {
                COMPARED.set(COMPARED.get() + 1);
                self.0.is_alike(&other.0)
            }
        }

        for len in [60, 1000] {
            let list = List::from_sorted(items(vec![0; len]).into_iter().map(Counting).collect());
            let first = items([0]).remove(0);
            COMPARED.set(0);
            let new = Item {
                priority: -1,
                ..first
            };
            let grown = list.insert(Counting(new));
            assert!(grown.remove(new.rank()).is_some());
            assert!(grown.remove(first.rank()).is_some());
            let in_the_middle = Item {
                serial: len as u64 / 2,
                ..first
            };
            assert!(grown.remove(in_the_middle.rank()).is_some());
            assert!(COMPARED.get() <= 4, "{} of {len}", COMPARED.get());
        }
    }
}
