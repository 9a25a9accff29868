//! Publishes, loads and pins the current list; the only user of `arc_swap`.
//!
//! # Consistency
//!
//! A cell is a list and, beside it, the list's length, so that an empty topic is
//! recognised by one load. Both are written under the writer lock, one after the
//! other, and read without it, so a reader may meet a length and a list of two
//! neighbouring states:
//!
//! * It reads length 0 and leaves: either the list was empty, or the registration
//!   that fills it has not returned yet, and leaving is as if the reader had come first.
//! * It reads another length and then loads an empty list: the last handler was just
//!   removed, and running nothing is as if the reader had come after that.
//!
//! A change that *happened before* the read is always seen. Coherence alone gives
//! that, for the length as for the pointer that a pin compares, so both are read
//! relaxed: no data is reached through either. The list itself is only ever reached
//! through a load of `arc_swap`, which acquires what its store released.

use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapAny, Cache, Guard};

use crate::list::List;

// `None` is the empty list, so that a topic without handlers allocates none.
type Published<T> = Option<Arc<List<T>>>;

pub(crate) struct Cell<T> {
    list: ArcSwapAny<Published<T>>,
    len: AtomicUsize,
    // What was published last, for the next writer: nobody else can replace it, so it need
    // not be protected as a reader's is.
    writer: Mutex<Published<T>>,
}

/// A list that stays what it is for as long as this is held.
///
/// It owns nothing else: the cell that it came from may go away meanwhile.
pub(crate) struct Snapshot<T>(Guard<Published<T>>);

impl<T> Cell<T> {
    pub(crate) fn new() -> Self {
        Self {
            list: ArcSwapAny::const_empty(),
            len: AtomicUsize::new(0),
            writer: Mutex::new(None),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The current list, or `None` if it is empty.
    #[inline]
    pub(crate) fn load(&self) -> Option<Snapshot<T>> {
        (self.len() != 0).then(|| Snapshot(self.list.load()))
    }

    /// Replaces the list by what `change` makes of it, unless that is `None`.
    ///
    /// `change` runs under the writer lock, so it must run and drop nothing of the
    /// user's. The old list, which may own the last share of a closure, is dropped
    /// after the lock is released.
    pub(crate) fn update<R>(
        &self,
        change: impl FnOnce(&List<T>) -> Option<(List<T>, R)>,
    ) -> Option<R> {
        let mut current = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = List::default();
        let (next, result) = change(current.as_deref().unwrap_or(&empty))?;
        let len = next.len();
        let next = (len != 0).then(|| Arc::new(next));
        let old = mem::replace(&mut *current, next.clone());
        let published = self.list.swap(next);
        self.len.store(len, Ordering::Relaxed);
        drop(current);
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
