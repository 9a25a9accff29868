//! The fast lane: access to the current list without a locked instruction.
//!
//! `arc_swap` remains the source of truth. Beside it, each cell has a lane, which is one word: null
//! if there is no list; `CLOSED` while a change is published, and where lanes stay shut; otherwise
//! the address of the current list, which is *cold*, or marked as *warm* or *hot*. A dispatch
//! announces the list in a slot of its thread's record, so that writers know that the list is in
//! use, and then loads the lane again. This is a hazard pointer. On a hot lane, the announcement is
//! a plain store, because a writer that replaces a hot word makes all threads pass a barrier before
//! it reads the slots. On any other lane, it is a locked instruction.
//!
//! ```text
//! enter    word = lane.load                  null: nothing to do; CLOSED: use arc_swap
//!          hot: slot.store(list); light barrier          else: slot.swap(list)
//!          lane.load == word, or clear the slot and use arc_swap
//! leave    slot.store(0); light barrier; if record.owes: collect
//! heat     every 128th time a thread enters a lane that is not hot: from cold to warm, or from
//!          warm to hot
//! change   (under the writer lock) was = lane.swap(CLOSED); publish through arc_swap;
//!          if was is hot: heavy barrier; for each record that announces the old list: put a
//!          reference to it into record.owed, set record.owes; if there was one: heavy barrier,
//!          and take back the references of records that no longer announce it;
//!          lane.store(new list)
//! ```
//!
//! # Why a list stays alive while it is in use
//!
//! *Not hot.* The announcement, the second load of the lane, the writer's swap of the lane and its
//! load of the slot are sequentially consistent. In their single total order, either the writer's
//! load comes after the announcement, and sees it; or its swap comes before the second load, which
//! then sees another word.
//!
//! *Hot.* If the dispatch stored to its slot before its thread passed the writer's barrier, the
//! writer sees the announcement. If it stored later, its second load came later too, and sees
//! another word. The whole word is compared: it was hot at the second load, so its writer passes
//! the barrier. A dispatch that announced a word before it became hot is seen either way.
//!
//! *The same address again.* If the old list was freed and a new one has its address, the second
//! load sees the current list of this cell, which the slot announces. The pointer of that load is
//! the one that is dereferenced.
//!
//! *A new record* is pushed before its thread announces anything. A writer that does not see the
//! record would not have seen the slot either: the same argument holds.
//!
//! # Why no reference is left behind
//!
//! A dispatch, even one that was not let in, clears its slot and then loads `owes`, before it runs
//! over another list. A writer sets `owes` and then loads the slot again, with the pair of barriers
//! in between. So the writer sees the slot empty and takes its reference back, or the dispatch sees
//! `owes` and collects, or both; `owed` is locked, so only one of them gets the reference. Stores to
//! slots are releases: a writer that sees a later value and releases the list comes after the reads
//! of the dispatch.
//!
//! # Why a lane is closed while a change is published
//!
//! The lane and `arc_swap` are two locations. A thread that saw the new list in one of them must
//! not see the old list in the other afterwards. So from before the new list is published through
//! `arc_swap` until after that, the lane gives out no list.
//!
//! # What a refused barrier does
//!
//! Without the first barrier, the writer cannot know which dispatches are inside: a reference to
//! the list is leaked. Without the second one, the reference stays where its thread finds it the
//! next time. Lanes are not opened any more, in any cell, and all dispatches use `arc_swap`.
#![allow(
    unsafe_code,
    reason = "a list from its address, a record from its address; each block has its argument beside it"
)]

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::sync::{Arc, PoisonError};

use crate::primitive::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::primitive::{Mutex, MutexGuard, explored_static, thread_local_const};
use crate::snapshot::barrier;

/// The mark of a hot word.
const HOT: usize = 1;

/// The mark of a word that is one step from hot.
const WARM: usize = 2;

/// The word of a closed lane: a mark without an address, and not hot.
const CLOSED: usize = WARM;

/// How many lists a thread can announce at once. Dispatches that are nested more deeply use
/// `arc_swap`.
const SLOTS: usize = if cfg!(any(loom, shuttle)) { 2 } else { 8 };

/// After entering lanes that are not hot this many times, a thread heats the one that it has
/// entered. Two steps make a lane hot, so a lane whose list changes sooner stays cold, and its
/// writers pay no barrier. A barrier takes as long as some 60 to 5,000 of the locked instructions
/// that it saves.
const HEAT_EVERY: u32 = if IS_EAGER { 1 } else { 128 };

/// Whether one step makes a lane hot, so that all code paths are explored.
const IS_EAGER: bool = cfg!(any(loom, shuttle, miri, hot_lanes));

/// A way to a list of type `L`. It owns nothing: the cell that contains it owns the list.
pub(crate) struct Lane<L>(AtomicPtr<L>);

/// A list in use: it stays alive until this is dropped, even if the cell is dropped.
pub(crate) struct Inside<L> {
    // Not a counted reference, so never dropped.
    list: ManuallyDrop<Arc<L>>,
    announced: Announced,
}

/// The value of a lane that was not empty when it was loaded.
#[derive(Clone, Copy)]
pub(crate) struct Word<L>(*mut L);

/// The previous state of a lane that was closed for a change.
#[must_use = "dispatches that are inside need the old list"]
pub(crate) struct Closed {
    /// 0 if the lane was closed already, or there was no list.
    list: usize,
    was_hot: bool,
}

impl<L> Lane<L> {
    pub(crate) fn new() -> Self {
        const {
            assert!(
                align_of::<L>() > HOT | WARM,
                "an address has room for the marks"
            );
        };
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Loads the lane. Returns `None` if there is no list.
    #[inline(always)]
    pub(crate) fn look(&self) -> Option<Word<L>> {
        // Step look of tests/protocols/lane.tla.
        let word = self.0.load(Ordering::SeqCst);
        (!word.is_null()).then_some(Word(word))
    }

    /// Returns the current list, if the lane was hot, has not changed since, and this thread
    /// announces no other list.
    ///
    /// Neither this nor [`enter`](Self::enter) runs user code. A thread that was not let in may be
    /// owed a list, even if the lane is empty now: it must [collect](attach_and_collect).
    #[inline(always)]
    pub(crate) fn enter_hot(&self, Word(word): Word<L>) -> Option<Inside<L>> {
        if word.addr() & HOT == 0 {
            return None;
        }
        let record = own_record()?;
        let slot = &record.slots[0];
        // Relaxed: as in `free_slot`.
        if slot.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.announce_hot(word, Announced { record, slot })
    }

    /// Returns the current list, if the lane is open and this thread has a free slot.
    pub(crate) fn enter(&self) -> Option<Inside<L>> {
        // Step look_slowly of tests/protocols/lane.tla.
        let Word(word) = self.look()?;
        let list = list_of(word);
        if list.is_null() {
            return None;
        }
        let record = record_of_thread()?;
        let slot = record.free_slot()?;
        let announced = Announced { record, slot };
        if word.addr() & HOT != 0 {
            return self.announce_hot(word, announced);
        }
        // Step announce of tests/protocols/lane.tla.
        slot.swap(list.addr(), Ordering::SeqCst);
        barrier::sequential();
        let inside = self.look_again(word, announced)?;
        self.heat(word, &inside);
        Some(inside)
    }

    #[inline(always)]
    fn announce_hot(&self, word: *mut L, announced: Announced) -> Option<Inside<L>> {
        let list = list_of(word).addr();
        // Step announce_hot of tests/protocols/lane.tla.
        announced.slot.store(list, Ordering::Release);
        barrier::light();
        self.look_again(word, announced)
    }

    /// Returns the list of a word, which was announced in a slot, unless the lane has changed.
    #[inline]
    fn look_again(&self, word: *mut L, announced: Announced) -> Option<Inside<L>> {
        // Step second_look of tests/protocols/lane.tla.
        let again = self.0.load(Ordering::SeqCst);
        if again != word {
            announced.give_up();
            return None;
        }
        // SAFETY: the address of a list that an `Arc` owned when the lane was opened. It still owns
        // the list, because the slot announced it before this load of the lane: see above. The
        // pointer is that of this load and not of the first one, whose list may have been freed and
        // replaced by another one at the same address.
        let list = ManuallyDrop::new(unsafe { Arc::from_raw(list_of(again)) });
        Some(Inside { list, announced })
    }

    /// Heats the lane, every `HEAT_EVERY`-th time. The list was announced in a way that needs no
    /// barrier to be seen.
    #[inline]
    fn heat(&self, word: *mut L, inside: &Inside<L>) {
        let entered = &inside.announced.record.entered;
        // Relaxed, and not a read-modify-write: only this thread counts.
        let count = entered.load(Ordering::Relaxed).wrapping_add(1);
        entered.store(count, Ordering::Relaxed);
        if count % HEAT_EVERY == 0 && barrier::is_registered() {
            let is_warm = word.addr() & WARM != 0;
            let mark = if is_warm || IS_EAGER { HOT } else { WARM };
            // Made of the entered list, not of the word: as in `look_again`.
            let heated = Arc::as_ptr(&inside.list).map_addr(|address| address | mark);
            // The word may have been heated or replaced meanwhile. Relaxed: this publishes nothing
            // new, and continues the release sequence of the store that opened the lane.
            // Step heat of tests/protocols/lane.tla.
            let _ = self.0.compare_exchange(
                word,
                heated.cast_mut(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Closes the lane for a change. Called under the writer lock, like the functions below.
    pub(crate) fn close(&self) -> Closed {
        let closed = ptr::without_provenance_mut(CLOSED);
        // Step close of tests/protocols/lane.tla.
        let word = self.0.swap(closed, Ordering::SeqCst);
        let was_hot = word.addr() & HOT != 0;
        if !was_hot {
            // If it was hot, the heavy barrier does it.
            barrier::sequential();
        }
        Closed {
            list: list_of(word).addr(),
            was_hot,
        }
    }

    /// Opens the lane to the list that was published, unless the system has no heavy barriers.
    pub(crate) fn open(&self, list: Option<&Arc<L>>)
    where
        L: Send + Sync + 'static,
    {
        #[cfg(any(loom, shuttle))]
        list.into_iter().for_each(keep_address);
        let word = match list {
            None => ptr::null_mut(),
            Some(list) if barrier::register() => Arc::as_ptr(list).cast_mut(),
            Some(_) => return,
        };
        // A release, for the first load of a dispatch, after the list was published. It needs no
        // order with other locations: a dispatch that finds the lane still closed uses `arc_swap`.
        // Step open of tests/protocols/lane.tla.
        self.0.store(word, Ordering::Release);
    }
}

impl Closed {
    /// Ensures that the old list, to which the lane led, outlives all dispatches that are inside.
    pub(crate) fn hand_over<L: Send + Sync + 'static>(self, list: &Arc<L>) {
        let Self {
            list: address,
            was_hot,
        } = self;
        if address == 0 {
            return;
        }
        // Step first_barrier of tests/protocols/lane.tla.
        if was_hot && !barrier::heavy() {
            mem::forget(Arc::clone(list));
            return;
        }
        let mut others_are_inside = false;
        // Step next_record of tests/protocols/lane.tla.
        for record in records().filter(|record| record.announces(address)) {
            record.owe(Arc::<L>::clone(list));
            // This thread needs no barrier to know its own slots.
            others_are_inside |= !is_own(record);
        }
        // Step second_barrier of tests/protocols/lane.tla.
        if others_are_inside && barrier::heavy() {
            // Step next_owing of tests/protocols/lane.tla.
            let owing = |record: &&Record| record.owes.load(Ordering::Relaxed);
            for record in records().filter(owing) {
                record.take_back(address);
            }
        }
    }
}

impl<L> Inside<L> {
    /// Collects what this thread is owed, if it entered only after it had not been let in: it would
    /// keep the old list until it leaves the new one. Must not be called under a lock.
    #[inline]
    pub(crate) fn collect_if_owed(&self) {
        self.announced.record.collect_if_owed();
    }

    #[inline]
    pub(crate) fn list(&self) -> &Arc<L> {
        &self.list
    }
}

/// Returns the address of a word's list, without the marks.
#[inline]
fn list_of<L>(word: *mut L) -> *mut L {
    word.map_addr(|address| address & !(HOT | WARM))
}

/// A list of any type, to be owned by an `Arc`.
trait Share: Send + Sync {}

impl<L: Send + Sync> Share for L {}

fn address(list: &Arc<dyn Share>) -> usize {
    Arc::as_ptr(list).addr()
}

/// Keeps the list's address from being used again in this run, though not the list. Whether the
/// allocator uses it again differs from run to run, and dispatches compare addresses; but a run
/// must be repeatable.
#[cfg(any(loom, shuttle))]
fn keep_address<L: Send + Sync + 'static>(list: &Arc<L>) {
    #[expect(clippy::disallowed_types, reason = "not explored")]
    type Addresses = std::sync::Mutex<Vec<std::sync::Weak<dyn Share>>>;
    explored_static!(ADDRESSES: Addresses = Addresses::default());
    let list: std::sync::Weak<dyn Share> = Arc::<L>::downgrade(list);
    ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner).push(list);
}

/// A slot in use. It keeps its own address, because stackful coroutines may leave in any order.
struct Announced {
    record: &'static Record,
    slot: &'static AtomicUsize,
}

impl Announced {
    /// Clears the slot, and leaves the collecting to the caller.
    #[cold]
    fn give_up(self) {
        // Step give_up of tests/protocols/lane.tla.
        self.slot.store(0, Ordering::Release);
        mem::forget(self);
    }
}

impl Drop for Announced {
    #[inline]
    fn drop(&mut self) {
        // Step leave of tests/protocols/lane.tla.
        self.slot.store(0, Ordering::Release);
        self.record.collect_if_owed();
    }
}

/// What a thread announces, and the lists that it is owed.
// Aligned so that no two records share a cache line, nor a pair of lines that is fetched together.
#[repr(C, align(128))]
pub(crate) struct Record {
    /// The addresses of lists in use; 0 if free.
    slots: [AtomicUsize; SLOTS],
    /// The gate behind which a look-up of the record's thread reads; 0 if none. See
    /// `topics/look_up.rs`.
    pub(crate) gate: AtomicUsize,
    /// Whether `owed` is not empty.
    owes: AtomicBool,
    /// Whether a thread holds the record.
    is_used: AtomicBool,
    /// How often the threads that held the record entered lanes that were not hot.
    entered: AtomicU32,
    /// References to replaced lists that are or were announced here.
    owed: Mutex<Vec<Arc<dyn Share>>>,
    next: AtomicPtr<Record>,
}

impl Record {
    fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| AtomicUsize::new(0)),
            gate: AtomicUsize::new(0),
            owes: AtomicBool::new(false),
            is_used: AtomicBool::new(true),
            entered: AtomicU32::new(0),
            owed: Mutex::new(Vec::new()),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    // Relaxed: only the record's own thread fills slots, and if another thread frees one, this need
    // not be visible at once.
    #[inline]
    fn free_slot(&'static self) -> Option<&'static AtomicUsize> {
        self.slots.iter().find(|slot| slot.load(Ordering::Relaxed) == 0)
    }

    /// Returns whether a slot announces this list. The load is `SeqCst`, to be in the single total
    /// order with the swap of a cold announcement and the second load of the lane. A hot
    /// announcement is visible through the heavy barrier before.
    fn announces(&self, list: usize) -> bool {
        let mut slots = self.slots.iter();
        // Step look_at_slot of tests/protocols/lane.tla.
        slots.any(|slot| slot.load(Ordering::SeqCst) == list)
    }

    fn owe(&self, list: Arc<dyn Share>) {
        let mut owed = self.owed();
        owed.push(list);
        // Relaxed: the heavy barrier that `hand_over` passes next pairs with the light one in
        // `collect_if_owed`.
        // Step owe of tests/protocols/lane.tla.
        self.owes.store(true, Ordering::Relaxed);
    }

    /// Collects what is owed here, after a slot was cleared.
    #[inline]
    fn collect_if_owed(&self) {
        // For the heavy barrier between `owes` and the second look at the slots in `hand_over`.
        barrier::light();
        // Step look_owes of tests/protocols/lane.tla.
        if self.owes.load(Ordering::Relaxed) {
            self.collect();
        }
    }

    /// Releases the lists that are owed here and no longer in use. Their closures may be dropped
    /// with them, so no lock is held.
    #[cold]
    fn collect(&self) {
        // Step collect of tests/protocols/lane.tla.
        while let Some(list) = self.take(|list| !self.announces(address(list))) {
            drop(list);
        }
    }

    /// Takes back a reference that its dispatch no longer needs, if it was not collected.
    fn take_back(&self, list: usize) {
        // Step look_at_slot_again of tests/protocols/lane.tla.
        if !self.announces(list) {
            // Not the last reference: the caller has another.
            // Step take_back of tests/protocols/lane.tla.
            drop(self.take(|owed| address(owed) == list));
        }
    }

    fn take(&self, what: impl FnMut(&Arc<dyn Share>) -> bool) -> Option<Arc<dyn Share>> {
        let mut owed = self.owed();
        let list = owed.iter().position(what).map(|at| owed.swap_remove(at));
        // Steps collect and take_back of tests/protocols/lane.tla.
        // Relaxed: the mutex orders this store with that of `owe`, and the thread that reads the
        // flag has its own program order.
        self.owes.store(!owed.is_empty(), Ordering::Relaxed);
        list
    }

    fn owed(&self) -> MutexGuard<'_, Vec<Arc<dyn Share>>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The newest record, from which all others are reached.
#[cfg(not(any(loom, shuttle)))]
explored_static!(RECORDS: Records = Records(AtomicPtr::new(ptr::null_mut())));

// Where runs are explored, each run has its own records, which are freed with the last thread that
// holds one: a thread's values may be dropped after the statics.
#[cfg(any(loom, shuttle))]
explored_static!(RECORDS: Arc<Records> = Arc::new(Records(AtomicPtr::new(ptr::null_mut()))));

struct Records(AtomicPtr<Record>);

/// Frees the records, where runs are explored. Elsewhere, records are never freed.
#[cfg(any(loom, shuttle))]
impl Drop for Records {
    fn drop(&mut self) {
        // The last of all steps on it, after those that made the records.
        let mut address = self.0.swap(ptr::null_mut(), Ordering::AcqRel);
        while !address.is_null() {
            // SAFETY: it was leaked, and all threads that held it have ended.
            let record = unsafe { Box::from_raw(address) };
            address = record.next.load(Ordering::Relaxed);
        }
    }
}

// The record of this thread. It has no destructor, so that dispatches need not check whether it has
// run.
thread_local_const!(RECORD: Cell<Option<&'static Record>> = Cell::new(None));

// The same record, to be given back when the thread ends.
thread_local_const!(CLAIMED: Cell<Option<Claimed>> = Cell::new(None));

/// A record that this thread holds until this is dropped.
struct Claimed {
    record: &'static Record,
    #[cfg(any(loom, shuttle))]
    #[expect(dead_code, reason = "it is kept, and dropped")]
    records: Arc<Records>,
}

impl Claimed {
    fn new(record: &'static Record) -> Self {
        Self {
            record,
            #[cfg(any(loom, shuttle))]
            records: Arc::clone(&RECORDS),
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let _ = RECORD.try_with(Cell::take);
        // A refused barrier may have left something.
        self.record.collect_if_owed();
        // For the next thread's acquire, which then sees the slots as this one left them.
        self.record.is_used.store(false, Ordering::Release);
    }
}

/// Returns the record of this thread, if it has one: it gets one where a lock may be taken (see
/// [`attach`]). Where runs are explored, it gets one here, so that all code paths are explored.
#[inline(always)]
pub(crate) fn record_of_thread() -> Option<&'static Record> {
    if cfg!(any(loom, shuttle)) {
        attach();
    }
    own_record()
}

// Fails only where runs are explored, in a thread that ends: there, each thread-local has a
// destructor.
#[inline(always)]
fn own_record() -> Option<&'static Record> {
    RECORD.try_with(Cell::get).ok().flatten()
}

fn is_own(record: &Record) -> bool {
    own_record().is_some_and(|own| ptr::eq(own, record))
}

/// Gives this thread a record, if it has none, and collects what it is owed. Called where
/// destructors may run, by a dispatch that could not enter. So after its first dispatch, a thread
/// has all that it needs for both ways.
pub(crate) fn attach_and_collect() {
    attach();
    if let Some(record) = own_record() {
        record.collect_if_owed();
    }
}

/// Gives this thread a record, if it has none. A thread that is ending gets none if it has given
/// its own back.
pub(crate) fn attach() {
    if own_record().is_none() {
        let _ = CLAIMED.try_with(|claimed| {
            let new = Claimed::new(claim());
            if RECORD.try_with(|own| own.set(Some(new.record))).is_ok() {
                claimed.set(Some(new));
            }
        });
    }
}

/// Returns a record of a thread that has ended, or a new one.
fn claim() -> &'static Record {
    // An acquire, for the release when its thread ended: this thread sees the slots as that one
    // left them. The load before it only saves the swap.
    let is_free = |record: &&Record| {
        !record.is_used.load(Ordering::Relaxed) && !record.is_used.swap(true, Ordering::Acquire)
    };
    if let Some(record) = records().find(is_free) {
        return record;
    }
    let record: &'static Record = Box::leak(Box::new(Record::new()));
    let address = ptr::from_ref(record).cast_mut();
    let mut newest = RECORDS.0.load(Ordering::SeqCst);
    loop {
        record.next.store(newest, Ordering::Relaxed);
        // Publishes the record, and precedes its announcements in the single total order.
        // Step attach of tests/protocols/lane.tla.
        match RECORDS.0.compare_exchange(newest, address, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return record,
            Err(newer) => newest = newer,
        }
    }
}

/// Returns the records of all threads. A thread whose record is not among them has announced
/// nothing by then, in the single total order of sequentially consistent steps.
pub(crate) fn records() -> impl Iterator<Item = &'static Record> {
    let newest = RECORDS.0.load(Ordering::SeqCst);
    // SAFETY: an address in the chain is null, or that of a record that was leaked.
    let record = |address: *mut Record| unsafe { address.as_ref() };
    std::iter::successors(record(newest), move |last| {
        // Relaxed: set before the record was published.
        record(last.next.load(Ordering::Relaxed))
    })
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::Arc;

    use super::{CLOSED, HEAT_EVERY, HOT, IS_EAGER, Inside, Lane, SLOTS, WARM, attach};
    use crate::snapshot::barrier;

    /// Returns a lane to a list, and the list. `None` if the system has no heavy barriers.
    fn open(event: u64) -> Option<(Lane<u64>, Arc<u64>)> {
        attach();
        let (lane, list) = (Lane::new(), Arc::new(event));
        lane.open(Some(&list));
        barrier::register().then_some((lane, list))
    }

    fn entered(inside: Option<Inside<u64>>) -> Option<u64> {
        inside.map(|inside| **inside.list())
    }

    fn marks(lane: &Lane<u64>) -> usize {
        let word = lane.look().expect("there is a list");
        word.0.addr() & (HOT | WARM)
    }

    /// Enters until the lane has this mark. Returns how often.
    fn enter_until_marked(lane: &Lane<u64>, mark: usize) -> u32 {
        let times = (1..=HEAT_EVERY).find(|_| {
            assert_eq!(entered(lane.enter()), Some(7));
            marks(lane) == mark
        });
        times.expect("it is heated")
    }

    /// Between the two looks of a dispatch, its list was freed, and a later one got its address.
    /// The next writer passes no barrier, because the lane is cold again: it may not see what the
    /// dispatch has announced by a plain store.
    #[test]
    fn a_list_at_the_address_of_an_earlier_one_is_not_taken_for_it() {
        let Some((lane, mut list)) = open(1) else {
            return;
        };
        for _ in 0..2 * HEAT_EVERY {
            assert_eq!(entered(lane.enter()), Some(1));
        }
        let word = lane.look().expect("there is a list");
        assert_eq!(marks(&lane), HOT, "it is not hot");

        // As the change that frees the list, and the one that publishes another one in its place.
        lane.close().hand_over(&list);
        *Arc::get_mut(&mut list).expect("it is still in use") = 2;
        lane.open(Some(&list));
        assert!(
            lane.enter_hot(word).is_none(),
            "it entered by the earlier word"
        );
        assert_eq!(entered(lane.enter()), Some(2));
    }

    #[test]
    fn a_lane_is_heated_by_two_steps() {
        let Some((lane, list)) = open(7) else { return };
        assert_eq!(marks(&lane), 0);
        if !IS_EAGER {
            // Where this thread's count stands is not known.
            enter_until_marked(&lane, WARM);
            assert!(lane.enter_hot(lane.look().expect("there is a list")).is_none());
        }
        assert_eq!(enter_until_marked(&lane, HOT), HEAT_EVERY);
        let hot = lane.look().expect("there is a list");
        assert_eq!(entered(lane.enter_hot(hot)), Some(7));
        assert_eq!(entered(lane.enter()), Some(7));
        assert_eq!(marks(&lane), HOT, "it stays hot");

        let closed = lane.close();
        assert!(closed.was_hot && closed.list == Arc::as_ptr(&list).addr());
        assert_eq!(marks(&lane), CLOSED);
        assert!(lane.enter().is_none() && lane.enter_hot(hot).is_none());
        closed.hand_over(&list);
        lane.open(Some(&list));
        assert_eq!(marks(&lane), 0, "it is cold again");
        assert!(!lane.close().was_hot);
    }

    #[test]
    fn a_thread_enters_as_many_lists_as_it_has_slots() {
        let Some((lane, list)) = open(7) else { return };
        // Cold, and hot.
        for _ in 0..2 {
            let mut inside: Vec<_> = (0..SLOTS).map(|_| lane.enter()).collect();
            assert!(inside.iter().all(Option::is_some));
            let word = lane.look().expect("there is a list");
            assert!(lane.enter().is_none() && lane.enter_hot(word).is_none());
            // The slot that a hot lane is entered by is the first.
            drop(inside.pop());
            assert!(lane.enter_hot(word).is_none());
            assert_eq!(entered(lane.enter()), Some(7));
            drop(inside);
            let is_hot = word.0.addr() & HOT != 0;
            assert_eq!(entered(lane.enter_hot(word)).is_some(), is_hot);
            (0..2 * HEAT_EVERY).for_each(|_| drop(lane.enter()));
            assert_eq!(marks(&lane), HOT);
        }
        lane.close().hand_over(&list);
    }

    #[test]
    fn a_list_goes_with_the_last_dispatch_that_is_inside() {
        for enters in [0, 2 * HEAT_EVERY] {
            let Some((lane, list)) = open(7) else { return };
            (0..enters).for_each(|_| drop(lane.enter()));
            let (first, second) = (lane.enter(), lane.enter());
            let left = Arc::downgrade(&list);
            lane.close().hand_over(&list);
            lane.open(None);
            assert!(lane.look().is_none());
            drop(list);
            drop(first);
            assert_eq!(left.strong_count(), 1, "one is inside");
            assert_eq!(entered(second), Some(7));
            assert_eq!(left.strong_count(), 0, "none is inside");
        }
    }
}
