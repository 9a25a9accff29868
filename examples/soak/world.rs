//! The sync topics of a run, and what handlers and workers do with them, at random.

use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use topic_registry::{
    AsyncTopicRegistry, Delivery, HandlerGuard, HandlerId, Joinable, TopicRegistry,
};

use crate::ledger::{Count, Ledger, expect};
use crate::life::{Life, Owned, look_around};

/// Topics of handlers that stay, beside others that come and go.
pub(crate) const FIXED: u64 = FIXED_LEN as u64;
const FIXED_LEN: usize = 4;
/// Topics that come and go, and where nobody removes what is another's.
pub(crate) const MEETING: u64 = FIXED + 4;
/// Topics that anybody clears.
pub(crate) const WILD: u64 = MEETING + 4;
/// Of handlers that stay: the first, one in the midst, and the last.
pub(crate) const PRIORITIES: [i32; 3] = [i32::MAX, 0, i32::MIN];

/// A topic of [`FIXED`]: how often it was notified, and each of its handlers called.
#[derive(Default)]
pub(crate) struct Fixed {
    pub(crate) notified: Count,
    pub(crate) called: [Count; PRIORITIES.len()],
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) topics: TopicRegistry<u64, u64>,
    pub(crate) async_topics: AsyncTopicRegistry<u64, u64>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) fixed: [Fixed; FIXED_LEN],
    pub(crate) async_fixed: [Fixed; FIXED_LEN],
    is_over: AtomicBool,
    /// Keys that one worker uses, once, begin here.
    own_keys: AtomicU64,
    /// Registrations that whoever comes by ends.
    left: Mutex<Vec<Registered>>,
}

/// A registration and how it ends.
pub(crate) struct Registered {
    life: Arc<Life>,
    key: u64,
    by: By,
}

enum By {
    Id(HandlerId),
    Once(HandlerId),
    Guard(HandlerGuard),
    Joinable(Joinable),
}

#[derive(Clone, Copy)]
pub(crate) enum Way {
    Key,
    Handle,
    Pin,
    With,
}

pub(crate) fn any_way() -> Way {
    [Way::Key, Way::Handle, Way::Pin, Way::With][fastrand::usize(..4)]
}

/// Whether others may remove what is there.
fn is_wild(key: u64) -> bool {
    (MEETING..WILD).contains(&key)
}

/// Calls whatever there is when it is dropped, at times.
struct Disturber(Arc<World>);

impl Drop for Disturber {
    fn drop(&mut self) {
        if !self.0.is_over() && fastrand::u8(..16) == 0 {
            self.0.disturb();
        }
    }
}

/// How deeply handlers and destructors may disturb each other.
const MAX_DEPTH: u32 = 3;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::default();
        let [sync_ledger, async_ledger] = [&world.ledger; 2].map(Arc::clone);
        let (topics, async_topics) = (&world.topics, &world.async_topics);
        topics.on_panic(move |_, _| _ = sync_ledger.reported.add(1));
        async_topics.on_panic(move |_, _| _ = async_ledger.reported.add(1));
        world
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Where a topic of [`FIXED`] is.
    pub(crate) fn index(key: u64) -> usize {
        usize::try_from(key).expect("a few")
    }

    /// Removes everything; whether it all adds up.
    pub(crate) fn settle(self: Arc<Self>, guards: Vec<HandlerGuard>) -> Arc<Ledger> {
        for fixed in self.fixed.iter().chain(&self.async_fixed) {
            for called in &fixed.called {
                expect(
                    "calls of a handler that stays",
                    fixed.notified.get(),
                    called.get(),
                );
            }
        }
        drop(guards);
        for registered in mem::take(&mut *self.left()) {
            self.end(registered);
        }
        self.topics.clear();
        let (topics, ledger) = (&self.topics, Arc::clone(&self.ledger));
        expect("sync topics that are left", 0, topics.len());
        expect("async topics that are left", 0, self.async_topics.len());
        let panics = topics.panic_count() + self.async_topics.panic_count();
        let once = ledger.once_called.get() + ledger.once_removed.get();
        let owners = Arc::strong_count(&self);
        expect("owners of the world", 1, owners);
        for (what, expected, found) in [
            ("panics, as topics count", &ledger.thrown, panics),
            ("panics, as reported", &ledger.thrown, ledger.reported.get()),
            ("drops", &ledger.created, ledger.dropped.get()),
            (
                "calls, as delivered",
                &ledger.called,
                ledger.delivered.get(),
            ),
            (
                "panics, as delivered",
                &ledger.called_in_vain,
                ledger.delivered_in_vain.get(),
            ),
            (
                "calls and removals of handlers for once",
                &ledger.once,
                once,
            ),
        ] {
            expect(what, expected.get(), found);
        }
        ledger
    }

    pub(crate) fn own_key(&self) -> u64 {
        WILD + self.own_keys.fetch_add(1, Relaxed)
    }

    pub(crate) fn notify(&self, key: u64, way: Way) -> Delivery {
        self.notify_by(key, |event| match way {
            Way::Key => self.topics.notify(&key, event),
            Way::Handle => self.topics.handle(key).notify(event),
            Way::Pin => self.topics.handle(key).pin().notify(event),
            Way::With => self.topics.notify_with(&key, || *event),
        })
    }

    /// Notifies in a way that reaches the key, and counts.
    pub(crate) fn notify_by(&self, key: u64, dispatch: impl FnOnce(&u64) -> Delivery) -> Delivery {
        look_around();
        let delivery = dispatch(&key);
        if let Some(fixed) = self.fixed.get(Self::index(key)) {
            fixed.notified.add(1);
        }
        self.ledger.notifications.add(1);
        self.ledger.delivered.add(delivery.called as u64);
        self.ledger.delivered_in_vain.add(delivery.panicked as u64);
        delivery
    }

    /// Of the handlers that stay until the guards are dropped.
    pub(crate) fn register_fixed(self: &Arc<Self>) -> Vec<HandlerGuard> {
        let each = (0..FIXED).flat_map(|key| PRIORITIES.map(|priority| (key, priority)));
        each.enumerate()
            .map(|(n, (key, priority))| {
                let (world, closure) = (Arc::clone(self), self.closure().1);
                self.topics
                    .register_guard_with_priority(key, priority, move |event| {
                        world.fixed[Self::index(key)].called[n % PRIORITIES.len()].add(1);
                        closure(event);
                    })
            })
            .collect()
    }

    /// A handler that can be called more than once, and what is known of it.
    fn closure(self: &Arc<Self>) -> (Arc<Life>, impl Fn(&u64) + Send + Sync + use<>) {
        let (disturber, owned) = (Disturber(Arc::clone(self)), self.owned(false));
        let life = Arc::clone(&owned.life);
        (life, move |_: &u64| disturber.0.called(&owned))
    }

    fn owned(&self, once: bool) -> Owned {
        self.ledger.registrations.add(1);
        Owned::new(&self.ledger, once)
    }

    /// Registers at random how and where in the list.
    pub(crate) fn register(self: &Arc<Self>, key: u64) -> Registered {
        let (topics, priority) = (&self.topics, fastrand::i32(-1..=1));
        let how = fastrand::u8(..5);
        if how == 0 {
            return self.register_once(key);
        }
        let (life, closure) = self.closure();
        let by = match how {
            1 => By::Id(topics.register_with_priority(key, priority, closure)),
            2 => By::Id(topics.update(key, |batch| batch.register(closure))),
            3 => By::Guard(topics.register_guard_with_priority(key, priority, closure)),
            _ => By::Joinable(topics.register_joinable_with_priority(key, priority, closure)),
        };
        Registered { life, key, by }
    }

    fn register_once(self: &Arc<Self>, key: u64) -> Registered {
        let (disturber, owned) = (Disturber(Arc::clone(self)), self.owned(true));
        let (life, counts) = (Arc::clone(&owned.life), u64::from(!is_wild(key)));
        self.ledger.once.add(counts);
        let id = self.topics.register_once(key, move |_| {
            let ledger = &disturber.0.ledger;
            ledger.once_called.add(counts);
            disturber.0.called(&owned);
            // It is dropped in the call.
            ledger
                .called_in_vain
                .add(owned.throws_when_dropped().into());
        });
        let by = By::Once(id);
        Registered { life, key, by }
    }

    pub(crate) fn end(&self, registered: Registered) {
        let Registered { life, key, by } = registered;
        match by {
            By::Id(id) => {
                let is_removed = self.topics.unregister(&key, id);
                expect(
                    "a handler was there to remove",
                    true,
                    is_removed || is_wild(key),
                );
            }
            By::Once(id) => {
                if self.topics.unregister(&key, id) {
                    life.is_over();
                    expect(
                        "calls of a handler for once that was removed",
                        0,
                        life.calls(),
                    );
                    self.ledger.once_removed.add((!is_wild(key)).into());
                }
                // Else its only call may be about to begin.
                return;
            }
            By::Guard(guard) => drop(guard),
            By::Joinable(joinable) => {
                let outcome = match fastrand::u8(..4) {
                    0 => joinable.join_timeout(Duration::from_micros(50)),
                    _ => joinable.join(),
                };
                if outcome.is_ok() {
                    return life.is_joined();
                }
            }
        }
        life.is_removed();
    }

    /// Puts handlers in the place of others, at once.
    fn batch(self: &Arc<Self>, key: u64) {
        let topic = self.topics.handle(key);
        let [(life, old), (new_life, new)] = [self.closure(), self.closure()];
        let (old, once) = (topic.register(old), self.register_once(key));
        let new = topic.update(|batch| {
            let is_removed = batch.unregister(old);
            expect(
                "a handler was there for a batch to remove",
                true,
                is_removed || is_wild(key),
            );
            batch.register(new)
        });
        life.is_removed();
        drop(topic.guard(new));
        new_life.is_removed();
        self.end(once);
    }

    /// What each handler does when it is called.
    fn called(self: &Arc<Self>, owned: &Owned) {
        owned.enter();
        self.ledger.called.add(1);
        match fastrand::u8(..128) {
            0..3 if !owned.throws_when_dropped() => {
                self.ledger.called_in_vain.add(1);
                self.ledger.throw();
            }
            3 if !owned.throws_when_dropped() => {
                // Removed while the thread unwinds.
                let _guard = self
                    .topics
                    .register_guard(fastrand::u64(..WILD), self.closure().1);
                self.ledger.called_in_vain.add(1);
                self.ledger.throw();
            }
            4..10 => self.disturb(),
            _ => {}
        }
        look_around();
    }

    /// Something at random, from a worker or from inside of a handler.
    pub(crate) fn disturb(self: &Arc<Self>) {
        let depth = DEPTH.get();
        if depth == MAX_DEPTH {
            return;
        }
        DEPTH.set(depth + 1);
        let (any, wild) = (fastrand::u64(..WILD), fastrand::u64(MEETING..WILD));
        match fastrand::u8(..16) {
            0..4 => drop(self.notify(any, any_way())),
            4..6 => {
                let registered = self.register(any);
                self.end(registered);
            }
            6..10 => self.leave(self.register(any)),
            10 => self.batch(any),
            11 => drop(self.topics.remove(&wild)),
            12 => self
                .topics
                .get(&wild)
                .iter()
                .for_each(|topic| topic.clear()),
            13..15 => self.topics.update(wild, |batch| {
                batch.clear();
                // Left to whoever clears next.
                batch.register(self.closure().1);
            }),
            _ => drop(self.topics.prune()),
        }
        DEPTH.set(depth);
    }

    /// Leaves a registration to others, and ends another one.
    fn leave(&self, registered: Registered) {
        const MOST: usize = 32;
        let mut all = self.left();
        all.push(registered);
        let other = (all.len() > MOST).then(|| all.swap_remove(fastrand::usize(..MOST)));
        drop(all);
        if let Some(other) = other {
            self.end(other);
        }
    }

    fn left(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.left.lock().expect("nothing throws under it")
    }
}
