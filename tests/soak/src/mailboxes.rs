//! Threads that wait for events, and recorders of them, beside a thread that notifies: no event
//! is lost, and none is there twice.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use topic_registry::WaitError;

use crate::ledger::expect;
use crate::life::Owned;
use crate::world::World;

/// Longer than any thread is kept from running.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key, and how many events it shall get.
type Order = (usize, usize);

pub(crate) fn run(world: &Arc<World>) {
    let (orders, ordered) = mpsc::channel::<Order>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (key, count) in ordered {
                notify(world, key, count);
            }
        });
        while !world.is_over() {
            let key = world.own_key();
            if fastrand::bool() {
                world.wait(key, &orders);
            } else {
                world.record(key, &orders);
            }
        }
        drop(orders);
    });
}

/// The events are numbers from 0 on.
fn notify(world: &World, key: usize, count: usize) {
    for event in 0..count {
        world.notify_by(key, |_| world.topics.notify(&key, &event));
    }
}

impl World {
    /// Waits in any way for an event that comes, or that does not.
    fn wait(self: &Arc<Self>, key: usize, orders: &Sender<Order>) {
        let (of, owned) = (Arc::clone(self), Owned::new(&self.ledger, false).harmless());
        let (life, topic) = (Arc::clone(&owned.life), self.topics.handle(key));
        let mut waiting = topic.wait_for(move |event| {
            owned.enter();
            of.ledger.called.add(1);
            (*event >= 1).then(|| (*event, Owned::new(&of.ledger, true).harmless()))
        });
        let order = |count| orders.send((key, count)).expect("its thread ends later");
        match fastrand::u8(..4) {
            0 => {
                order(2);
                let found = waiting.wait().map(|(event, _)| event);
                expect("the event that a thread waits for", Ok(1), found);
            }
            1 => {
                order(3);
                let briefly = Duration::from_micros(20);
                let found = waiting.wait_timeout(briefly).or_else(|why| {
                    expect("why a wait gives up", WaitError::TimedOut, why);
                    waiting.wait_timeout(PATIENCE)
                });
                expect(
                    "the event within its time",
                    Ok(1),
                    found.map(|(event, _)| event),
                );
            }
            2 => {
                topic.clear();
                let found = waiting.wait().map(|(event, _)| event);
                expect(
                    "a wait whose handler is removed",
                    Err(WaitError::Removed),
                    found,
                );
            }
            _ => {
                order(2);
                drop(waiting);
            }
        }
        life.is_removed();
    }

    /// Records the events of two threads.
    fn record(self: &Arc<Self>, key: usize, orders: &Sender<Order>) {
        let (of, owned) = (Arc::clone(self), Owned::new(&self.ledger, false).harmless());
        let (life, topic) = (Arc::clone(&owned.life), self.topics.handle(key));
        let recorder = topic.record(move |event| {
            owned.enter();
            of.ledger.called.add(1);
            (*event, Owned::new(&of.ledger, true).harmless())
        });
        let count = fastrand::usize(1..8);
        orders.send((key, count)).expect("its thread ends later");
        notify(self, key, count);
        if fastrand::bool() {
            let outcome = recorder.wait_for_count(2 * count, PATIENCE);
            expect("all events come", Ok(()), outcome);
            expect("events that are recorded", 2 * count, recorder.len());
            let sum = recorder.take().iter().map(|(event, _)| event).sum();
            expect("the sum of the events", count * (count - 1), sum);
            expect("events that are left", true, recorder.is_empty());
        }
        drop(recorder);
        life.is_removed();
    }
}
