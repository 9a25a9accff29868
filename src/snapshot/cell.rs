//! Publishes, loads and pins the current list, and counts who owns it; the only user of
//! `arc_swap`.
//!
//! # Consistency
//!
//! A cell is a list, a lane to it, and the list's length. A dispatch looks at the lane only, which says
//! whether there is a list, and goes through `arc_swap` where the lane is closed: see `lane.rs`. The
//! lane is closed before a list is published and opened after it, so whatever a thread has seen of the
//! cell, by a pin or otherwise, it sees by every way from then on.
//!
//! The length is for those who ask for it, and for idleness. A writer that adds counts first and
//! publishes then; one that removes publishes first and counts then. So the length may be ahead of
//! what dispatches find, never behind.
//!
//! All of these steps are sequentially consistent, those inside of `arc_swap` too, but that a lane is
//! opened by a release: before, it was closed by a step of that order. A thread that registers and
//! then looks at some state of its own, and one that sets that state and then notifies, both in the
//! same order, cannot both miss each other.
//!
//! A pin compares the pointer only, relaxed: coherence alone gives that it sees every change
//! that happened before, and that is all it promises. No data is reached through what it
//! compares.
//!
//! # When a cell is idle
//!
//! When it has neither an owner nor an item. Both counts are in one word, so one load tells,
//! and a thread that takes the last owner away learns by the same step whether an item is left.
//! Items come and go by owners only: an owner adds its items before it goes, in the one order
//! that a single word has.
//!
//! A cell that is idle can be ended, by one step that finds the word at 0. No owner is made out of a weak
//! reference after that: to make one is a step on the same word, which finds the mark.
//!
//! # Who drops an item
//!
//! The thread that lets go of the last list that has it. A writer lets go of the old list before it
//! unlocks: then all its items are still owned, those that it removed by `removed`, the others by
//! the new list. So a writer drops only what it has removed itself, after it has unlocked, and
//! only dispatches and pins, which hold lists without the lock, can delay that.
//!
//! `arc_swap` may hand the last share of a list to a load: a writer counts a share for each
//! reader that it finds on its way to the old list, also for one that then takes the new list
//! and gives that share back. A look-up by key loads under the lock of its shard, and must not
//! drop an item there. So a writer whose removed items are shared, when it has let go of its
//! own lists, waits for the look-ups that have begun (`Scope::wait_for_lookups`) before it drops its
//! shares of them. Look-ups that begin later find no list that has them. A look-up that was not let into
//! a lane collects what it is owed after it has unlocked the shard.
#![cfg_attr(
    not(any(loom, shuttle)),
    expect(clippy::disallowed_types, reason = "the only user of `arc_swap`")
)]

use std::mem;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::primitive::{ArcSwapAny, Cache, Guard, Mutex, MutexGuard};
use crate::snapshot::lane::{self, Inside, Lane};
use crate::snapshot::list::List;

// `None` is the empty list, so that a topic without handlers allocates none.
type Published<T> = Option<Arc<List<T>>>;

pub(crate) struct ListCell<T> {
    // Nobody is inside when a cell is dropped with the lane open: who got there by a handle borrows
    // it still, and by key it is only found in a map that is borrowed as well, from which it goes
    // without items.
    lane: Lane<List<T>>,
    list: ArcSwapAny<Published<T>>,
    // The length of the list, `OWNER` for each owner, and `ENDED`.
    counts: AtomicU64,
    // What was published last, for the next writer: nobody else can replace it, so it need
    // not be protected as a reader's is.
    writer: Mutex<Published<T>>,
}

const OWNER: u64 = 1 << 32;
const ENDED: u64 = 1 << 63;

impl<T: Send + Sync + 'static> ListCell<T> {
    pub(crate) fn new() -> Self {
        Self {
            lane: Lane::new(),
            list: ArcSwapAny::const_empty(),
            counts: AtomicU64::new(0),
            writer: Mutex::new(None),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.counts.load(Ordering::SeqCst) % OWNER) as usize
    }

    /// Counts another owner.
    pub(crate) fn add_owner(&self) {
        check_owners(self.counts.fetch_add(OWNER, Ordering::SeqCst));
    }

    /// Counts another owner, unless the cell was ended; whether it did.
    pub(crate) fn add_owner_if_live(&self) -> bool {
        let add = |counts| (counts & ENDED == 0).then(|| counts + OWNER);
        let added = self.counts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        added.is_ok_and(|counts| {
            check_owners(counts);
            true
        })
    }

    /// Counts one owner less; whether the cell is idle now.
    pub(crate) fn remove_owner(&self) -> bool {
        self.counts.fetch_sub(OWNER, Ordering::SeqCst) == OWNER
    }

    /// How many owners there are, and how many items.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let counts = self.counts.load(Ordering::SeqCst);
        ((counts % ENDED / OWNER) as usize, (counts % OWNER) as usize)
    }

    /// Ends the cell if it is idle; whether it did.
    pub(crate) fn end_if_idle(&self) -> bool {
        let ended = self.counts.compare_exchange(0, ENDED, Ordering::SeqCst, Ordering::SeqCst);
        ended.is_ok()
    }

    /// Runs `read` over the current list, unless it is empty.
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

    /// Kept apart, so that the rest is compiled into the caller.
    #[cfg_attr(feature = "fast-lane", inline(never))]
    fn read_slowly<R: Default>(&self, read: impl FnOnce(&Arc<List<T>>) -> R) -> R {
        self.protect_slowly().read(read)
    }

    /// The current list, unless it is empty: it stays what it is as long as this is held, whatever
    /// comes of the cell. For look-ups by key, which do not keep the topic.
    #[inline]
    pub(crate) fn protect(&self) -> Option<Protected<T>> {
        let inside = self.lane.enter_hot(self.lane.look()?);
        Some(inside.map_or_else(|| self.protect_slowly(), Protected::Inside))
    }

    /// Where the lane is not hot: in a nested dispatch, beside a change, in a thread's first one, and
    /// where lanes are shut.
    fn protect_slowly(&self) -> Protected<T> {
        match self.lane.enter() {
            Some(inside) => Protected::Inside(inside),
            None => Protected::Loaded(self.list.load()),
        }
    }

    /// Replaces the list by what `change` makes of it, unless that is `None`. Returns what
    /// `change` removed.
    ///
    /// Both functions run under the writer lock: they must run and drop nothing of the user's.
    /// `published` is given what was removed, the old length and the new one. Whatever was
    /// removed is in what is returned, so that the caller drops it after the lock is released.
    pub(crate) fn update<R: AsRef<[T]>>(
        &self,
        change: impl FnOnce(&List<T>) -> Option<(List<T>, R)>,
        published: impl FnOnce(&[T], usize, usize),
    ) -> Option<R> {
        let mut current = self.lock();
        let empty = List::default();
        let (next, removed) = change(current.as_deref().unwrap_or(&empty))?;
        let (len, old_len) = (next.len(), self.len());
        assert!((len as u64) < OWNER, "2^32 handlers of one registry");
        let next = (len != 0).then(|| Arc::new(next));
        let closed = self.lane.close();
        let old = mem::replace(&mut *current, next.clone());
        let count = || {
            let change = (len as u64).wrapping_sub(old_len as u64);
            self.counts.fetch_add(change, Ordering::SeqCst);
        };
        if len > old_len {
            count();
        }
        let swapped_out = self.list.swap(next);
        if len < old_len {
            count();
        }
        if let Some(old) = &old {
            closed.hand_over(old);
        }
        self.lane.open(current.as_ref());
        published(removed.as_ref(), old_len, len);
        // Under the lock: what is in the old list is in the new one too, or in `removed`. After
        // the lock, the next change might remove some of it, and this drop would be the last.
        drop((swapped_out, old));
        Some(removed)
    }

    /// Looks at the current list, under the writer lock: a snapshot might be the last to let go
    /// of what is removed meanwhile.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&List<T>) -> R) -> R {
        look(self.lock().as_deref().unwrap_or(&List::default()))
    }

    fn lock(&self) -> MutexGuard<'_, Published<T>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owners stay so few that their count cannot reach `ENDED`, also if many threads add one at once.
fn check_owners(counts: u64) {
    assert!(counts % ENDED < ENDED / 2, "2^30 handles of one registry");
}

/// A list that is protected, by the lane or by `arc_swap`.
pub(crate) enum Protected<T> {
    Inside(Inside<List<T>>),
    Loaded(Guard<Published<T>>),
}

impl<T> Protected<T> {
    /// Runs `read` over the list, unless it is empty. Not under a lock: the thread may be owed a
    /// list that it failed to enter, and drops it here.
    #[inline]
    pub(crate) fn read<R: Default>(self, read: impl FnOnce(&Arc<List<T>>) -> R) -> R {
        match self {
            Self::Inside(inside) => read(inside.list()),
            Self::Loaded(list) => {
                lane::attach_and_collect();
                list.as_ref().map_or_else(R::default, read)
            }
        }
    }
}

/// What has a cell, and can be pinned.
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

    /// The current list, or `None` if it is empty; lets go of an older one.
    #[inline]
    pub(crate) fn load(&mut self) -> Option<&List<O::Item>> {
        self.cache.load().as_deref()
    }
}

/// The way to the `arc_swap` that `Cache` wants.
struct CellRef<O>(O);

impl<O: HasCell> Deref for CellRef<O> {
    type Target = ArcSwapAny<Published<O::Item>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0.cell().list
    }
}
