//! The threads of a run: what each does until the run is over.

use std::sync::Arc;

use topic_registry::{Pinned, TopicHandle};

use crate::ledger::expect;
use crate::world::{FIXED, MEETING, PRIORITIES, WILD, World};
use crate::{bursts, mailboxes, tasks, timed};

type Work = fn(&Arc<World>);

pub(crate) const WORKERS: [(&str, Work); 11] = [
    ("the notifier by handle", notify_by_handle),
    ("the notifier by pin", notify_by_pin),
    ("the notifier by key", notify_by_key),
    ("the first disturber", disturb),
    ("the second disturber", disturb),
    ("the visitor", visit),
    ("the first with bursts", bursts::run),
    ("the second with bursts", bursts::run),
    ("the tasks", tasks::run),
    ("who waits and records", mailboxes::run),
    ("who is timed", timed::run),
];

/// Notifies the topics in turn; there are handlers that are always called.
fn notify_each(world: &World, mut notify: impl FnMut(usize) -> usize) {
    for key in (0..FIXED).cycle() {
        if world.is_over() {
            return;
        }
        let all = notify(key) >= PRIORITIES.len();
        expect("handlers that stay were called", true, all);
    }
}

fn notify_by_handle(world: &Arc<World>) {
    let handles: Vec<TopicHandle<_, _>> = (0..FIXED).map(|key| world.topics.handle(key)).collect();
    notify_each(world, |key| {
        let handle = &handles[key];
        world.notify_by(key, |event| handle.notify(event)).called()
    });
}

fn notify_by_pin(world: &Arc<World>) {
    let pins = (0..FIXED).map(|key| world.topics.handle(key).pin());
    let mut pins: Vec<Pinned<_>> = pins.collect();
    notify_each(world, |key| {
        let pin = &mut pins[key];
        world.notify_by(key, |event| pin.notify(event)).called()
    });
}

fn notify_by_key(world: &Arc<World>) {
    notify_each(world, |key| {
        world.notify_by(key, |event| world.topics.notify(&key, event)).called()
    });
}

fn disturb(world: &Arc<World>) {
    while !world.is_over() {
        world.disturb();
    }
}

/// Makes topics that end with its own handler, or with that of another thread that meets it.
fn visit(world: &Arc<World>) {
    while !world.is_over() {
        let key = if fastrand::bool() {
            world.own_key()
        } else {
            fastrand::usize(FIXED..MEETING)
        };
        let registered = world.register(key);
        let delivery = world.notify(key);
        // Who meets it may have called a handler that is for once.
        if key >= WILD {
            expect("the only handler was called", 1, delivery.called());
        }
        world.end(registered);
        if key >= WILD {
            let is_left = world.topics.contains_key(&key);
            expect("a topic without a handler is there", false, is_left);
        }
    }
}
