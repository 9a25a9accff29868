//! What is given to the library: closures, futures, keys and values own it. It tells that it was
//! called and that it was dropped, and does something hostile then.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::dice::{below, once_in};
use super::ledger::Ledger;
use super::world::World;

/// One more for each removal that has returned.
static REMOVALS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// How many removals this thread knows to have returned.
    static KNOWN: Cell<u64> = const { Cell::new(1) };
}

/// To be called before a dispatch: this thread must not start any more what was removed by now.
///
/// Between the library's last look at whether a handler is removed and the first line of the
/// handler, its removal may return. So more cannot be asked for.
pub(super) fn look_around() {
    KNOWN.set(REMOVALS.load(SeqCst));
}

/// What is known of an [`Owned`] apart from itself.
#[derive(Default)]
pub(super) struct Life {
    /// `REMOVALS` when its own had returned; 0 before.
    removed: AtomicU64,
    dropped: AtomicBool,
    calls: AtomicU64,
}

impl Life {
    /// The removal of the handler or the observer has returned.
    pub(super) fn is_removed(&self) {
        self.removed.store(REMOVALS.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(SeqCst)
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(SeqCst)
    }
}

/// What it does when it is dropped.
#[derive(Clone, Copy, PartialEq)]
enum Bite {
    Nothing,
    Act,
    Throw,
}

pub(super) struct Owned {
    pub(super) world: Arc<World>,
    pub(super) life: Arc<Life>,
    bite: Bite,
    /// Whether the topics count what its destructor throws.
    counts: bool,
    // The last owner of something, at times.
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl Owned {
    /// Something that a handler owns.
    pub(super) fn new(world: &Arc<World>) -> Self {
        Self::biting(world, world.hostile.destructors)
    }

    /// Something that a callback owns.
    pub(super) fn of_callback(world: &Arc<World>) -> Self {
        Self::biting(world, world.hostile.callbacks)
    }

    /// Something whose destructor means no harm, unless `bites`.
    pub(super) fn biting(world: &Arc<World>, bites: bool) -> Self {
        world.ledger.created.add(1);
        let bite = match below(8) {
            0 if bites => Bite::Act,
            1 if bites => Bite::Throw,
            _ => Bite::Nothing,
        };
        let held = (bites && once_in(8)).then(|| world.something_to_hold()).flatten();
        Self {
            world: Arc::clone(world),
            life: Arc::default(),
            bite,
            counts: true,
            _held: held,
        }
    }

    /// Nothing counts what its destructor throws.
    pub(super) fn uncounted(mut self) -> Self {
        self.counts = false;
        self
    }

    /// Its destructor does not throw any more.
    pub(super) fn harmless(mut self) -> Self {
        self.bite = Bite::Nothing;
        self
    }

    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.world.ledger
    }

    /// A call has begun, of a handler or an observer.
    pub(super) fn enter(&self) {
        let removed = self.life.removed.load(SeqCst);
        let is_late = removed != 0 && removed <= KNOWN.get();
        self.ledger().expect("a call began after the removal", false, is_late);
        self.ledger().expect("a call of what is dropped", false, self.life.is_dropped());
        self.life.calls.fetch_add(1, SeqCst);
    }

    /// Whether its destructor panics: then nothing else may, in a frame that drops it. What panics
    /// while its thread unwinds aborts.
    pub(super) fn throws_when_dropped(&self) -> bool {
        self.bite == Bite::Throw
    }

    /// Panics, unless its destructor does.
    pub(super) fn may_throw(&self) {
        if !self.throws_when_dropped() {
            self.ledger().throw(self.counts);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let ledger = Arc::clone(&self.world.ledger);
        ledger.dropped.add(1);
        let was_dropped = self.life.dropped.swap(true, SeqCst);
        ledger.expect("something was dropped before", false, was_dropped);
        match self.bite {
            Bite::Nothing => {}
            Bite::Act => self.world.act(),
            Bite::Throw => ledger.throw(self.counts),
        }
    }
}
