//! One handler, from its registration to the drop of its closure.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::ledger::{Count, Ledger, expect};

/// What each closure owns in memory: more than the heap may grow in a run.
pub(crate) const BALLAST: usize = 16 * 1024;

/// One more for each removal that has returned.
static REMOVALS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// How many removals this thread knows to have returned.
    static KNOWN: Cell<u64> = const { Cell::new(1) };
}

/// To be called before a dispatch, and by a handler at its end: the handlers that were
/// removed by now must not be started by this thread any more.
///
/// That is all that can be asked for. Between the registry's last look at whether a handler
/// is removed and the first line of the handler, its removal may return.
pub(crate) fn look_around() {
    KNOWN.set(REMOVALS.load(SeqCst));
}

/// What is known of a handler apart from its closure.
#[derive(Default)]
pub(crate) struct Life {
    /// `REMOVALS` when its own had returned; 0 before.
    removed: AtomicU64,
    calls: Count,
    dropped: AtomicBool,
    once: bool,
}

impl Life {
    /// Its removal has returned.
    pub(crate) fn is_removed(&self) {
        let removals = REMOVALS.fetch_add(1, SeqCst) + 1;
        self.removed.store(removals, SeqCst);
    }

    /// It is paused: until it goes on, as if it were removed.
    pub(crate) fn is_stopped(&self) {
        self.is_removed();
    }

    /// It is about to be resumed.
    pub(crate) fn goes_on(&self) {
        self.removed.store(0, SeqCst);
    }

    /// Not even a dispatch that had come to it may start it any more.
    pub(crate) fn is_over(&self) {
        self.removed.store(1, SeqCst);
    }

    pub(crate) fn is_joined(&self) {
        let is_dropped = self.dropped.load(SeqCst);
        expect("a joined handler's closure is dropped", true, is_dropped);
        self.is_over();
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.get()
    }
}

/// What a closure owns: it tells that it was called and that it was dropped, and may throw
/// then, but not at both times: a destructor that throws while its thread unwinds aborts.
pub(crate) struct Owned {
    pub(crate) life: Arc<Life>,
    pub(crate) ledger: Arc<Ledger>,
    throws_when_dropped: bool,
    _ballast: Box<[u8]>,
}

impl Owned {
    pub(crate) fn new(ledger: &Arc<Ledger>, once: bool) -> Self {
        ledger.created.add(1);
        let life = Life {
            once,
            ..Life::default()
        };
        Self {
            life: Arc::new(life),
            ledger: Arc::clone(ledger),
            throws_when_dropped: fastrand::u8(..16) == 0,
            _ballast: vec![0; BALLAST].into(),
        }
    }

    /// For a closure that is called by value and returns something: that would be leaked, by
    /// the compiler (rust-lang/rust#47949), if what the closure owns threw after that.
    pub(crate) fn harmless(mut self) -> Self {
        self.throws_when_dropped = false;
        self
    }

    /// A call has begun.
    pub(crate) fn enter(&self) {
        let removed = self.life.removed.load(SeqCst);
        let is_late = removed != 0 && removed <= KNOWN.get();
        expect("a call began after the removal", false, is_late);
        let calls = self.life.calls.add(1);
        if self.life.once {
            expect("calls of a handler for once", 1, calls);
        }
    }

    pub(crate) fn throws_when_dropped(&self) -> bool {
        self.throws_when_dropped
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.ledger.dropped.add(1);
        let was_dropped = self.life.dropped.swap(true, SeqCst);
        expect("a closure was dropped before", false, was_dropped);
        if self.throws_when_dropped {
            self.ledger.throw();
        }
    }
}
