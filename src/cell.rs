//! Publishes, loads and pins the current list, and counts who owns it; the only user of
//! `arc_swap`.
//!
//! # Consistency
//!
//! A cell is a list and, beside it, the list's length, so that an empty topic is recognised
//! by one load. A writer publishes the list first and the length after it, under the writer
//! lock. A reader loads the length first, so the list that it then loads is at least as new:
//!
//! * It reads length 0 and leaves: either the list was empty, or the registration that fills
//!   it has not returned yet, and leaving is as if the reader had come first.
//! * It reads another length and then loads an empty list: the last handler was just
//!   removed, and running nothing is as if the reader had come after that.
//!
//! Both are sequentially consistent. Whoever registers and then looks at some state of its
//! own, and whoever sets that state and then notifies, cannot both miss the other.
//!
//! A pin compares the pointer only, relaxed: coherence alone gives that it sees every change
//! that happened before, and that is all it promises. No data is reached through what it
//! compares.
//!
//! # When a cell is idle
//!
//! When it has neither an owner nor an item. Both counts are in one word, so one load tells,
//! and whoever takes the last owner away is told by the same step whether an item is left.
//! Items come and go by owners only: an owner adds its items before it goes, in the one order
//! that a single word has.
//!
//! # Who drops a list
//!
//! Whoever lets go of its last share, which may be `arc_swap` inside of a load: a writer
//! counts a share for each reader that it finds on its way to the old list, also for one that
//! then takes the new list and gives that share back. A look-up by key loads under the lock of
//! its shard, and must not drop a list there. So a writer that is not the only one left to own
//! the old list lets such look-ups end (`settle`) before it lets go of its own shares. Those
//! that begin later do not find the old list any more.

use std::mem;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};

use crate::concurrency::atomic::{AtomicU64, Ordering};
use crate::concurrency::{ArcSwapAny, Cache, Guard, Mutex};
use crate::list::List;

// `None` is the empty list, so that a topic without handlers allocates none.
type Published<T> = Option<Arc<List<T>>>;

pub(crate) struct Cell<T> {
    list: ArcSwapAny<Published<T>>,
    // The length of the list, and `OWNER` for each owner.
    counts: AtomicU64,
    // What was published last, for the next writer: nobody else can replace it, so it need
    // not be protected as a reader's is.
    writer: Mutex<Published<T>>,
}

const OWNER: u64 = 1 << 32;

/// A list that stays what it is for as long as this is held.
///
/// It owns nothing else: the cell that it came from may go away meanwhile.
pub(crate) struct Snapshot<T>(Guard<Published<T>>);

impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        Self {
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
    pub(crate) fn own(&self) {
        let counts = self.counts.fetch_add(OWNER, Ordering::SeqCst);
        assert!(counts < u64::MAX / 2, "2^31 handles of one registry");
    }

    /// Counts one owner less; whether the cell is idle now.
    pub(crate) fn disown(&self) -> bool {
        self.counts.fetch_sub(OWNER, Ordering::SeqCst) == OWNER
    }

    /// How many owners there are, and how many items.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let counts = self.counts.load(Ordering::SeqCst);
        ((counts / OWNER) as usize, (counts % OWNER) as usize)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.counts.load(Ordering::SeqCst) == 0
    }

    /// The current list, or `None` if it is empty.
    #[inline]
    pub(crate) fn load(&self) -> Option<Snapshot<T>> {
        (self.len() != 0).then(|| Snapshot(self.list.load()))
    }

    /// Replaces the list by what `change` makes of it, unless that is `None`; then does what
    /// `change` leaves to be done when the new list is published.
    ///
    /// Both run under the writer lock, and so does `record`, which is given the old length and
    /// the new one: they must run and drop nothing of the user's. The old list, which may own
    /// the last share of a closure, is dropped after that.
    pub(crate) fn update<R, A: FnOnce() -> R>(
        &self,
        change: impl FnOnce(&List<T>) -> Option<(List<T>, A)>,
        record: impl FnOnce(usize, usize),
        settle: impl FnOnce(),
    ) -> Option<R> {
        let mut current = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = List::default();
        let (next, afterwards) = change(current.as_deref().unwrap_or(&empty))?;
        let (len, old_len) = (next.len(), self.len());
        assert!((len as u64) < OWNER, "2^32 handlers of one registry");
        let next = (len != 0).then(|| Arc::new(next));
        let old = mem::replace(&mut *current, next.clone());
        let published = self.list.swap(next);
        let change = (len as u64).wrapping_sub(old_len as u64);
        self.counts.fetch_add(change, Ordering::SeqCst);
        let result = afterwards();
        record(old_len, len);
        drop(current);
        // Shares that `swap` counted for readers were counted on this thread: they show.
        if old.as_ref().is_some_and(|old| Arc::strong_count(old) > 2) {
            settle();
        }
        drop((published, old));
        Some(result)
    }
}

impl<T> Snapshot<T> {
    #[inline]
    pub(crate) fn list(&self) -> Option<&List<T>> {
        self.0.as_deref()
    }

    /// The list as its owner keeps it who keeps it for long: a snapshot takes one of the
    /// few places that this thread has for them.
    #[cfg(feature = "async")]
    pub(crate) fn into_owned(self) -> Option<Arc<List<T>>> {
        Guard::into_inner(self.0)
    }
}

/// Whoever owns a cell and can be pinned.
pub(crate) trait Owner {
    type Item;
    fn cell(&self) -> &Cell<Self::Item>;
}

/// An owner and its list as of the last [`load`](Self::load).
pub(crate) struct Pin<O: Owner> {
    cache: Cache<Through<O>, Published<O::Item>>,
}

impl<O: Owner> Pin<O> {
    pub(crate) fn new(owner: O) -> Self {
        Self {
            cache: Cache::new(Through(owner)),
        }
    }

    /// The current list, or `None` if it is empty; lets go of an older one.
    #[inline]
    pub(crate) fn load(&mut self) -> Option<&List<O::Item>> {
        self.cache.load().as_deref()
    }
}

/// The way to the `arc_swap` that `Cache` wants.
struct Through<O>(O);

impl<O: Owner> Deref for Through<O> {
    type Target = ArcSwapAny<Published<O::Item>>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0.cell().list
    }
}
