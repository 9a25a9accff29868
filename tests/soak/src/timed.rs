//! Topics whose calls are timed. With a limit of 0 each call is reported, once: beside handlers
//! that come and go, and callbacks that notify and throw.

use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use topic_registry::TopicRegistry;

use crate::ledger::{Ledger, expect};
use crate::life::{Owned, look_around};
use crate::world::World;

pub(crate) type Timed = TopicRegistry<usize, usize>;

const TOPICS: usize = 3;

thread_local! {
    /// Whether this thread reports a call: it reports no other one meanwhile.
    static REPORTS: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn topics(ledger: &Arc<Ledger>) -> Timed {
    let ledger = Arc::clone(ledger);
    let report = move |_: &usize, _: &_, _: Duration| {
        expect("a report inside of a report", false, REPORTS.replace(true));
        ledger.slow_reported.add(1);
        let throws = fastrand::u8(..32) == 0;
        REPORTS.set(false);
        if throws {
            ledger.throw_unreported();
        }
    };
    TopicRegistry::builder().name("timed").on_slow(Duration::ZERO, report).build()
}

/// Notifies on one thread, and has handlers come and go on this one.
pub(crate) fn run(world: &Arc<World>) {
    thread::scope(|scope| {
        scope.spawn(|| {
            while !world.is_over() {
                notify(world, fastrand::usize(..TOPICS));
            }
        });
        while !world.is_over() {
            let key = fastrand::usize(..=TOPICS);
            come_and_go(world, key);
        }
    });
}

fn notify(world: &World, key: usize) {
    look_around();
    let delivery = if fastrand::bool() {
        world.timed.notify(&key, &key)
    } else {
        world.timed.handle(key).notify(&key)
    };
    world.ledger.notifications.add(1);
    world.ledger.timed_delivered.add(delivery.called() as u64);
}

fn come_and_go(world: &Arc<World>, key: usize) {
    let owned = Owned::new(&world.ledger, false);
    let (life, ledger, topic) = (
        Arc::clone(&owned.life),
        Arc::clone(&world.ledger),
        world.timed.handle(key),
    );
    let call = move |_: &usize| {
        owned.enter();
        ledger.slow_called.add(1);
        if !owned.throws_when_dropped() && fastrand::u8(..32) == 0 {
            ledger.throw();
        }
        look_around();
    };
    world.ledger.registrations.add(1);
    if fastrand::bool() {
        let guard = topic.register_guard(call);
        notify(world, key);
        let paused = topic.pause(guard.id());
        notify(world, key);
        drop((paused, guard));
        life.is_removed();
    } else {
        let joinable = topic.options().joinable().register(call);
        notify(world, key);
        if joinable.join().is_ok() {
            life.is_joined();
        } else {
            life.is_removed();
        }
    }
}
