//! Observers of interest and of handler limits: one that stays, and others that come and go.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

use topic_registry::Interest;

use crate::ledger::{Ledger, expect};
use crate::life::Owned;
use crate::registered::Registered;
use crate::world::World;

/// The keys of topics that have handlers, as an observer is told.
#[derive(Default)]
pub(crate) struct Watch {
    gained: Mutex<HashSet<usize>>,
    /// Those for which it is being called.
    calling: Mutex<HashSet<usize>>,
}

impl Watch {
    /// What the observer is told: edges of a key alternate, and its calls do not overlap.
    pub(crate) fn tell(&self, key: usize, interest: Interest, meanwhile: impl FnOnce()) {
        let is_alone = keys(&self.calling).insert(key);
        expect(
            "calls of an observer for a key do not overlap",
            true,
            is_alone,
        );
        let alternates = match interest {
            Interest::Gained => keys(&self.gained).insert(key),
            Interest::Lost => keys(&self.gained).remove(&key),
        };
        expect("edges of a key alternate", true, alternates);
        meanwhile();
        keys(&self.calling).remove(&key);
    }

    pub(crate) fn len(&self) -> usize {
        keys(&self.gained).len()
    }
}

fn keys(keys: &Mutex<HashSet<usize>>) -> MutexGuard<'_, HashSet<usize>> {
    keys.lock().expect("nothing throws under it")
}

/// What an observer that comes and goes owns.
struct Observer {
    world: Arc<World>,
    owned: Owned,
    watch: Watch,
}

impl Observer {
    /// What it does besides: at times, whatever a worker does.
    fn be_called(&self) {
        if !self.world.is_over() && fastrand::u8(..16) == 0 {
            self.world.disturb();
        }
    }

    /// Panics of observers are counted, and not reported.
    fn throw_at_times(&self) {
        if fastrand::u8(..16) == 0 {
            self.world.ledger.throw_unreported();
        }
    }
}

impl World {
    pub(crate) fn observe(self: &Arc<Self>) -> Registered {
        let observer = Observer {
            world: Arc::clone(self),
            owned: Owned::new(&self.ledger, false).harmless(),
            watch: Watch::default(),
        };
        let life = Arc::clone(&observer.owned.life);
        let guard = if fastrand::bool() {
            // Whoever adds it owns each topic for a moment: not where others look whether one is
            // gone.
            self.timed.observe_interest(move |key, interest| {
                observer.owned.enter();
                observer.watch.tell(*key, interest, || observer.be_called());
                observer.throw_at_times();
            })
        } else {
            let limit = fastrand::usize(1..8);
            self.topics.observe_handler_limit(limit, move |_, handlers| {
                observer.owned.enter();
                expect("a limit that is told was passed", true, handlers > limit);
                observer.be_called();
                observer.throw_at_times();
            })
        };
        Registered::of_observer(life, guard)
    }
}

impl Ledger {
    /// Panics in a callback.
    pub(crate) fn throw_unreported(&self) -> ! {
        self.unreported.add(1);
        self.throw()
    }
}
