//! What the handlers of the sync topics do when they are called, and when they are dropped:
//! at times, whatever a worker does.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use crate::life::{Owned, look_around};
use crate::world::{MEETING, WILD, World};

/// What a closure owns.
pub(crate) struct Handler {
    pub(crate) world: Arc<World>,
    pub(crate) owned: Owned,
}

/// How deeply handlers and destructors may disturb each other.
const MAX_DEPTH: u32 = 3;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl Handler {
    pub(crate) fn new(world: &Arc<World>, once: bool) -> Self {
        world.ledger.registrations.add(1);
        Self {
            world: Arc::clone(world),
            owned: Owned::new(&world.ledger, once),
        }
    }

    pub(crate) fn call(&self) {
        self.owned.enter();
        let (world, may_throw) = (&self.world, !self.owned.throws_when_dropped());
        world.ledger.called.add(1);
        match fastrand::u8(..128) {
            0..3 if may_throw => self.throw(),
            3 if may_throw => {
                let other = Self::new(world, false);
                let key = fastrand::usize(..WILD);
                // Removed while the thread unwinds.
                let _guard = world.topics.register_guard(key, move |_| other.call());
                self.throw();
            }
            4..10 => world.disturb(),
            _ => {}
        }
        look_around();
    }

    /// The call of an interceptor, which also stops the dispatch if it throws.
    pub(crate) fn intercept(&self) -> ControlFlow<()> {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.call()));
        let stops = outcome.is_err() || fastrand::u8(..4) == 0;
        self.world.ledger.stopped.add(stops.into());
        match outcome {
            Ok(()) if stops => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// The only call of a handler that is dropped in it.
    pub(crate) fn call_once(self, counts: u64) {
        let ledger = &self.world.ledger;
        ledger.once_called.add(counts);
        self.call();
        let throws = self.owned.throws_when_dropped();
        ledger.called_in_vain.add(throws.into());
    }

    fn throw(&self) -> ! {
        self.world.ledger.called_in_vain.add(1);
        self.world.ledger.throw()
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if !self.world.is_over() && fastrand::u8(..16) == 0 {
            self.world.disturb();
        }
    }
}

impl World {
    /// Something at random, from a worker or from inside of a handler.
    pub(crate) fn disturb(self: &Arc<Self>) {
        let (depth, topics) = (DEPTH.get(), &self.topics);
        if depth == MAX_DEPTH {
            return;
        }
        DEPTH.set(depth + 1);
        let (any, wild) = (fastrand::usize(..WILD), fastrand::usize(MEETING..WILD));
        match fastrand::u8(..20) {
            0..4 => drop(self.notify(any)),
            4..6 => self.end(self.register(any)),
            6..10 => self.leave(self.register(any)),
            10 => self.batch(any),
            11 => drop(topics.remove(&wild)),
            12 => topics.handle(wild).clear(),
            13..15 => {
                let handler = Handler::new(self, false);
                topics.update(wild, |batch| {
                    batch.clear();
                    // Left to whoever clears next.
                    batch.register(move |_| handler.call());
                });
            }
            15 => self.pause(any),
            16 => self.upgrade(fastrand::usize(..MEETING)),
            17 => self.end_topics(),
            18 => self.leave(self.observe()),
            _ => topics.shrink_to_fit(),
        }
        DEPTH.set(depth);
    }
}
