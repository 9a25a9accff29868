//! Publishes, loads and pins the current list, and counts its owners; the only user of `arc_swap`.
//!
//! # Consistency
//!
//! A cell is a list, a lane to it, and the list's length. A dispatch first loads the lane only,
//! which says whether there is a list, and loads the list from `arc_swap` where the lane is closed:
//! see `lane.rs`. The lane is closed before a list is published and opened after it. So whatever
//! state of the cell a thread has seen, by a pin or otherwise, it sees that state or a later one by
//! every way from then on.
//!
//! The length is used by queries, and to detect idleness. A writer that adds items first counts and
//! then publishes; a writer that removes items first publishes and then counts. So the length may
//! be ahead of the list that dispatches find, but never behind it.
//!
//! All of these steps are sequentially consistent, those inside of `arc_swap` too. The exception is
//! the opening of a lane, which is a release: the lane was closed by a step of that order before.
//! If one thread registers and then loads some state of its own, and another thread stores that
//! state and then notifies, and these accesses to the state are in the same order, the two cannot
//! both miss each other.
//!
//! A pin only compares the pointer, by a relaxed load. Coherence alone guarantees that it sees
//! every change that happened before, and it promises no more. No data is accessed through the
//! pointer that it compares.
//!
//! # When a cell is idle
//!
//! A cell is idle when it has neither an owner nor an item. Both counts are in one word, so one
//! load tells, and a thread that removes the last owner learns by the same step whether an item is
//! left. Items are added and removed by owners only: an owner adds its items before it is removed,
//! in the single modification order of the word.
//!
//! An idle cell can be ended, by one step that finds the word at 0. No owner is made out of a weak
//! reference after that: making one is a step on the same word, which finds the mark.
//!
//! # Who drops an item
//!
//! The thread that releases the last list that contains the item. A writer releases the old list
//! before it unlocks. At that point all items of the list are still owned: the removed ones by
//! `removed`, the others by the new list. So a writer drops only items that it has removed itself,
//! after it has unlocked. Only dispatches and pins, which hold lists without the lock, can delay
//! that.
//!
//! `arc_swap` may hand the last reference to a list to a load: a writer counts a reference for each
//! reader that it finds on its way to the old list, even for a reader that then takes the new list
//! and gives that reference back. A look-up by key loads where writers wait for it, and must not
//! drop an item there. So if its removed items are shared after it has released its own lists, a
//! writer waits for the look-ups that have begun (`Parent::wait_for_lookups`) before it drops its
//! references to those items. Look-ups that begin later find no list that contains them. A look-up
//! that was not let into a lane collects what it is owed after it has ended.
#![cfg_attr(
    not(any(loom, shuttle)),
    expect(clippy::disallowed_types, reason = "the only user of `arc_swap`")
)]

use std::mem::{self, ManuallyDrop};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::primitive::{ArcSwapAny, Cache, Guard, Mutex, MutexGuard};
use crate::snapshot::lane;
use crate::snapshot::lane::{Inside, Lane};
use crate::snapshot::list::List;

// `None` is the empty list, so that a topic without handlers allocates none.
type Published<T> = Option<Arc<List<T>>>;

pub(crate) struct ListCell<T> {
    // No dispatch is inside when a cell is dropped with the lane open. A dispatch by a handle still
    // borrows the cell. A dispatch by key finds the cell only in a map, which it borrows as well,
    // and a cell is removed from the map without items.
    lane: Lane<List<T>>,
    // Not dropped if it is empty: `arc_swap` would look at what each thread may hold of it.
    list: ManuallyDrop<ArcSwapAny<Published<T>>>,
    // The length of the list, `OWNER` for each owner, and `ENDED`.
    counts: AtomicU64,
    // The list that was published last, for the next writer. Only the lock's holder can replace it,
    // so it needs no protection as a reader's list does.
    writer: Mutex<Published<T>>,
}

const OWNER: u64 = 1 << 32;
const ENDED: u64 = 1 << 63;

impl<T: Send + Sync + 'static> ListCell<T> {
    pub(crate) fn new() -> Self {
        Self {
            lane: Lane::new(),
            list: ManuallyDrop::new(ArcSwapAny::const_empty()),
            counts: AtomicU64::new(0),
            writer: Mutex::new(None),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // SeqCst, as all accesses of `counts`: with the lane, for a thread that registers and
        // then loads a flag, and one that stores the flag and then asks for the length (see
        // `Registry`).
        (self.counts.load(Ordering::SeqCst) % OWNER) as usize
    }

    /// Counts another owner. Returns `false`, and does not count it, if there are too many: the
    /// caller may hold a lock, under which it must not panic.
    pub(crate) fn add_owner(&self) -> bool {
        // Steps add_owner and guard of tests/protocols/topics.tla.
        let has_room = has_room(self.counts.fetch_add(OWNER, Ordering::SeqCst));
        if !has_room {
            self.counts.fetch_sub(OWNER, Ordering::SeqCst);
        }
        has_room
    }

    /// Counts another owner, unless the cell was ended. Returns whether it was live, and panics if
    /// there are too many owners.
    pub(crate) fn add_owner_if_live(&self) -> bool {
        // Step upgrade of tests/protocols/topics.tla.
        let is_live = |counts| counts & ENDED == 0;
        let add = |counts| (is_live(counts) && has_room(counts)).then(|| counts + OWNER);
        match self.counts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add) {
            Ok(_) => true,
            Err(counts) => {
                assert!(!is_live(counts), "{TOO_MANY_OWNERS}");
                false
            }
        }
    }

    /// Counts one owner less. Returns whether the cell is idle now.
    pub(crate) fn remove_owner(&self) -> bool {
        // Step remove_owner of tests/protocols/topics.tla.
        self.counts.fetch_sub(OWNER, Ordering::SeqCst) == OWNER
    }

    /// Returns the number of owners, and the number of items.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let counts = self.counts.load(Ordering::SeqCst);
        ((counts % ENDED / OWNER) as usize, (counts % OWNER) as usize)
    }

    /// Ends the cell if it is idle. Returns whether it did.
    pub(crate) fn end_if_idle(&self) -> bool {
        // Step end_if_idle of tests/protocols/topics.tla.
        let ended = self.counts.compare_exchange(0, ENDED, Ordering::SeqCst, Ordering::SeqCst);
        ended.is_ok()
    }

    /// Calls `read` with the current list, unless it is empty.
    #[inline(always)]
    pub(crate) fn read<R: Default>(&self, read: impl FnOnce(&Arc<List<T>>) -> R) -> R {
        let Some(word) = self.lane.look() else {
            return R::default();
        };
        if let Some(inside) = self.lane.enter_hot(word) {
            return read(inside.list());
        }
        self.read_slowly(read)
    }

    /// Reads the list off the hot path. A separate function, so that the rest is inlined into the
    /// caller.
    #[cfg_attr(feature = "fast-lane", inline(never))]
    fn read_slowly<R: Default>(&self, read: impl FnOnce(&Arc<List<T>>) -> R) -> R {
        self.protect_slowly().read(read)
    }

    /// Returns the current list, unless it is empty. The list stays alive as long as the result is
    /// held, even if the cell is dropped. For look-ups by key, which do not keep the topic.
    #[inline]
    pub(crate) fn protect(&self) -> Option<Protected<T>> {
        let inside = self.lane.enter_hot(self.lane.look()?);
        Some(inside.map_or_else(|| self.protect_slowly(), Protected::Inside))
    }

    /// Protects the list where the lane is not hot: in a nested dispatch, beside a change, in a
    /// thread's first dispatch, and where lanes are shut.
    fn protect_slowly(&self) -> Protected<T> {
        match self.lane.enter() {
            Some(inside) => Protected::Inside(inside),
            // Step load of tests/protocols/lane.tla.
            None => Protected::Loaded(self.list.load()),
        }
    }

    /// Replaces the list by the one that `change` returns, unless that is `None`. Returns what
    /// `change` removed.
    ///
    /// Both functions run under the writer lock: they must not run user code or drop user values.
    /// `published` receives the removed items, the old length and the new one. All removed items
    /// are in the returned value, so that the caller drops them after the lock is released.
    pub(crate) fn update<R: AsRef<[T]>>(
        &self,
        change: impl FnOnce(&List<T>) -> Option<(List<T>, R)>,
        published: impl FnOnce(&[T], usize, usize),
    ) -> Option<R> {
        // Step lock of tests/protocols/lane.tla.
        // Steps register and unregister of tests/protocols/topics.tla.
        let mut current = self.lock();
        let empty = List::default();
        let (next, removed) = change(current.as_deref().unwrap_or(&empty))?;
        let (len, old_len) = (next.len(), self.len());
        if len as u64 >= OWNER {
            drop(current);
            panic!("2^32 handlers of one registry");
        }
        let next = (len != 0).then(|| Arc::new(next));
        let closed = self.lane.close();
        let old = mem::replace(&mut *current, next.clone());
        let count = || {
            let change = (len as u64).wrapping_sub(old_len as u64);
            self.counts.fetch_add(change, Ordering::SeqCst);
        };
        // Step count_more of tests/protocols/topics.tla.
        if len > old_len {
            count();
        }
        // Step publish of tests/protocols/lane.tla.
        // Steps publish_more and publish_less of tests/protocols/topics.tla.
        let swapped_out = self.list.swap(next);
        // Step count_less of tests/protocols/topics.tla.
        if len < old_len {
            count();
        }
        if let Some(old) = &old {
            closed.hand_over(old);
        }
        self.lane.open(current.as_ref());
        published(removed.as_ref(), old_len, len);
        // Under the lock: everything in the old list is also in the new one or in `removed`. After
        // the lock is released, the next change might remove some of it, and this drop would be the
        // last.
        // Step release of tests/protocols/lane.tla.
        drop((swapped_out, old));
        // Step unlock of tests/protocols/lane.tla.
        Some(removed)
    }

    /// Calls `f` with the current list, under the writer lock: a snapshot might hold the last
    /// reference to an item that is removed meanwhile.
    pub(crate) fn with_list<R>(&self, f: impl FnOnce(&List<T>) -> R) -> R {
        f(self.lock().as_deref().unwrap_or(&List::default()))
    }

    /// Returns the list that was published last, of a cell that is being dropped.
    pub(crate) fn last(&mut self) -> Published<T> {
        self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Published<T>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for ListCell<T> {
    fn drop(&mut self) {
        let last = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if last.is_some() {
            let empty = ManuallyDrop::new(ArcSwapAny::const_empty());
            drop(ManuallyDrop::into_inner(mem::replace(
                &mut self.list,
                empty,
            )));
        }
    }
}

/// Returns whether there are so few owners that their count cannot reach `ENDED`, even if many
/// threads add one at once.
fn has_room(counts: u64) -> bool {
    counts % ENDED < ENDED / 2
}

/// The message of a panic because an owner could not be added.
pub(crate) const TOO_MANY_OWNERS: &str = "2^30 handles of one registry";

/// A list that is kept alive by the lane or by `arc_swap`.
pub(crate) enum Protected<T> {
    Inside(Inside<List<T>>),
    Loaded(Guard<Published<T>>),
}

impl<T> Protected<T> {
    /// Calls `read` with the list, unless it is empty. Must not be called under a lock: the thread
    /// may be owed a list that it failed to enter, and drops it here, before it runs over another.
    #[inline]
    pub(crate) fn read<R: Default>(self, read: impl FnOnce(&Arc<List<T>>) -> R) -> R {
        match self {
            Self::Inside(inside) => {
                // Step collect_late of tests/protocols/lane.tla.
                inside.collect_if_owed();
                read(inside.list())
            }
            Self::Loaded(list) => {
                lane::attach_and_collect();
                list.as_ref().map_or_else(R::default, read)
            }
        }
    }
}

/// An owner of a cell, which can be pinned.
pub(crate) trait HasCell {
    type Item: Send + Sync + 'static;
    fn cell(&self) -> &ListCell<Self::Item>;
}

/// An owner and its list as of the last [`load`](Self::load).
pub(crate) struct CachedList<O: HasCell> {
    cache: Cache<CellRef<O>, Published<O::Item>>,
}

impl<O: HasCell> CachedList<O> {
    pub(crate) fn new(owner: O) -> Self {
        Self {
            cache: Cache::new(CellRef(owner)),
        }
    }

    /// Returns the current list, or `None` if it is empty. Releases an older one.
    #[inline]
    pub(crate) fn load(&mut self) -> Option<&List<O::Item>> {
        self.cache.load().as_deref()
    }
}

/// An owner that derefs to the `arc_swap` of its cell, as `Cache` requires.
struct CellRef<O>(O);

impl<O: HasCell> Deref for CellRef<O> {
    type Target = ArcSwapAny<Published<O::Item>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0.cell().list
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
impl<T: Send + Sync + 'static> ListCell<T> {
    /// Counts as many owners as there may be, without making them.
    pub(crate) fn fill(&self) {
        self.counts.fetch_add(ENDED / 2, Ordering::SeqCst);
    }

    /// Takes back what [`fill`](Self::fill) has counted.
    pub(crate) fn unfill(&self) {
        self.counts.fetch_sub(ENDED / 2, Ordering::SeqCst);
    }
}
