//! The topics of a run, and whether it all adds up in the end.

use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard};

use topic_registry::{AsyncTopicRegistry, Delivery, HandlerGuard, PanicInfo, TopicRegistry};

use crate::bursts::{self, Bursts};
use crate::gauges::Gauges;
use crate::handler::Handler;
use crate::ledger::{Count, Ledger, expect};
use crate::life::look_around;
use crate::observers::Watch;
use crate::registered::Registered;
use crate::timed::{self, Timed};

/// Topics of handlers that stay, beside others that come and go.
pub(crate) const FIXED: usize = 4;
/// Topics that come and go, and where nobody removes what is another's.
pub(crate) const MEETING: usize = FIXED + 4;
/// Topics that anybody clears.
pub(crate) const WILD: usize = MEETING + 4;
/// Of handlers that stay: the first, one in the midst, and the last.
pub(crate) const PRIORITIES: [i32; 3] = [i32::MAX, 0, i32::MIN];

/// A topic of [`FIXED`]: how often it was notified, and each of its handlers called.
#[derive(Default)]
pub(crate) struct Fixed {
    pub(crate) notified: Count,
    pub(crate) called: [Count; PRIORITIES.len()],
}

pub(crate) struct World {
    pub(crate) topics: TopicRegistry<usize, usize>,
    pub(crate) async_topics: AsyncTopicRegistry<usize, usize>,
    pub(crate) timed: Timed,
    /// Of the topics, their async kind, and those that are timed, together.
    gauges: Gauges,
    watch: Arc<Watch>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) fixed: [Fixed; FIXED],
    pub(crate) async_fixed: [Fixed; FIXED],
    pub(crate) bursts: Bursts,
    is_over: AtomicBool,
    /// Keys that one worker uses, once, begin here.
    own_keys: AtomicUsize,
    left: Mutex<Vec<Registered>>,
}

/// The keys of the handlers that stay, and which of [`PRIORITIES`] they have.
pub(crate) fn fixed_handlers() -> impl Iterator<Item = (usize, usize)> {
    (0..FIXED).flat_map(|key| (0..PRIORITIES.len()).map(move |n| (key, n)))
}

/// Whether others may remove what is there.
pub(crate) fn is_wild(key: usize) -> bool {
    (MEETING..WILD).contains(&key)
}

impl World {
    pub(crate) fn new() -> Self {
        let (ledger, gauges) = (Arc::new(Ledger::default()), Gauges::default());
        let world = gauges.receive(|| Self {
            topics: TopicRegistry::builder().name("sync").build(),
            async_topics: AsyncTopicRegistry::builder().name("async").build(),
            timed: timed::topics(&ledger),
            gauges: gauges.clone(),
            watch: Arc::default(),
            ledger,
            fixed: Default::default(),
            async_fixed: Default::default(),
            bursts: Bursts::default(),
            is_over: AtomicBool::new(false),
            own_keys: AtomicUsize::new(0),
            left: Mutex::default(),
        });
        let report = || {
            let ledger = Arc::clone(&world.ledger);
            move |_: &usize, _: &PanicInfo<'_>| _ = ledger.reported.add(1)
        };
        world.topics.on_panic(report());
        world.async_topics.on_panic(report());
        world.timed.on_panic(report());
        let watch = Arc::clone(&world.watch);
        let observe = move |key: &usize, interest| watch.tell(*key, interest, || {});
        world.topics.observe_interest(observe).forget();
        world
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Removes everything; whether it all adds up.
    pub(crate) fn settle(self: Arc<Self>, guards: Vec<HandlerGuard>) -> Arc<Ledger> {
        for Fixed { notified, called } in self.fixed.iter().chain(&self.async_fixed) {
            for called in called {
                expect(
                    "calls of a handler that stays",
                    notified.get(),
                    called.get(),
                );
            }
        }
        self.bursts.settle();
        drop(guards);
        for registered in mem::take(&mut *self.left()) {
            self.end(registered);
        }
        self.topics.clear();
        let (topics, ledger) = (&self.topics, Arc::clone(&self.ledger));
        expect("sync topics that are left", 0, topics.len());
        expect("async topics that are left", 0, self.async_topics.len());
        expect("timed topics that are left", 0, self.timed.len());
        expect("topics of interest that are left", 0, self.watch.len());
        let panics = topics.panic_count() + self.async_topics.panic_count();
        let panics = panics + self.timed.panic_count();
        self.gauges.settle(&ledger);
        let once = ledger.once_called.get() + ledger.once_removed.get();
        let reported = ledger.reported.get() + ledger.unreported.get();
        let slow = [&ledger.timed_delivered, &ledger.slow_reported].map(Count::get);
        let owners = Arc::strong_count(&self);
        expect("owners of the world", 1, owners);
        let called = [&ledger.delivered, &ledger.delivered_in_vain].map(Count::get);
        for (what, expected, found) in [
            ("panics, as topics count", &ledger.thrown, panics),
            ("panics, as reported", &ledger.thrown, reported),
            ("drops", &ledger.created, ledger.dropped.get()),
            ("calls, as delivered", &ledger.called, called[0]),
            ("panics, as delivered", &ledger.called_in_vain, called[1]),
            (
                "stops, as delivered",
                &ledger.stopped,
                ledger.delivered_stopped.get(),
            ),
            ("timed calls, as delivered", &ledger.slow_called, slow[0]),
            ("timed calls, as reported", &ledger.slow_called, slow[1]),
            ("calls and removals of once handlers", &ledger.once, once),
        ] {
            expect(what, expected.get(), found);
        }
        ledger
    }

    pub(crate) fn own_key(&self) -> usize {
        WILD + self.own_keys.fetch_add(1, Relaxed)
    }

    /// Notifies in any way.
    pub(crate) fn notify(&self, key: usize) -> Delivery {
        let topics = &self.topics;
        self.notify_by(key, |event| match fastrand::u8(..4) {
            0 => topics.notify(&key, event),
            1 => topics.notify_with(&key, || *event),
            2 => topics.handle(key).notify(event),
            _ => topics.handle(key).pin().notify(event),
        })
    }

    /// Notifies in a way that reaches the key, and counts.
    pub(crate) fn notify_by(
        &self,
        key: usize,
        dispatch: impl FnOnce(&usize) -> Delivery,
    ) -> Delivery {
        look_around();
        let delivery = dispatch(&key);
        if let Some(fixed) = self.fixed.get(key) {
            fixed.notified.add(1);
        }
        self.ledger.notifications.add(1);
        self.ledger.delivered.add(delivery.called() as u64);
        self.ledger.delivered_stopped.add(delivery.stopped().into());
        self.ledger.delivered_in_vain.add(delivery.panicked() as u64);
        delivery
    }

    /// Of the handlers that stay until the guards are dropped.
    pub(crate) fn register_fixed(self: &Arc<Self>) -> Vec<HandlerGuard> {
        let register = |(key, n): (usize, usize)| {
            let (world, handler) = (Arc::clone(self), Handler::new(self, false));
            let topic = self.topics.handle(key);
            topic.options().priority(PRIORITIES[n]).guard().register(move |_| {
                world.fixed[key].called[n].add(1);
                handler.call();
            })
        };
        fixed_handlers().map(register).chain([bursts::register(self)]).collect()
    }

    /// Registrations that whoever comes by ends.
    pub(crate) fn left(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.left.lock().expect("nothing throws under it")
    }
}
