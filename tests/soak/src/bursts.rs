//! Notifications without a pause, beside everything else: so that lanes and the map are hot most of
//! the time, and the changes of other threads find them so.

use std::sync::Arc;

use topic_registry::HandlerGuard;

use crate::ledger::{Count, expect};
use crate::world::World;

/// The topic of all bursts, which nobody else uses.
const KEY: usize = usize::MAX;

const LENGTH: u64 = 20_000;

/// Notifications in bursts, and the calls of the handler that counts them.
#[derive(Default)]
pub(crate) struct Bursts {
    notified: Count,
    called: Count,
}

impl Bursts {
    pub(crate) fn settle(&self) {
        expect("calls in bursts", self.notified.get(), self.called.get());
    }
}

/// Registers the handler that stays until the guard is dropped.
pub(crate) fn register(world: &Arc<World>) -> HandlerGuard {
    let world = Arc::clone(world);
    world.topics.handle(KEY).register_guard(move |_| _ = world.bursts.called.add(1))
}

/// Notifies in bursts, by each way in turn, beside another thread that does the same, and changes
/// the handlers between two of them.
pub(crate) fn run(world: &Arc<World>) {
    let topic = world.topics.handle(KEY);
    let mut pin = topic.pin();
    while !world.is_over() {
        let own = Arc::new(Count::default());
        let heard = Arc::clone(&own);
        let guard = topic.register_guard(move |_| _ = heard.add(1));
        let mut notified = 0;
        notified += burst(world, |event| topic.notify(event).called());
        notified += burst(world, |event| pin.notify(event).called());
        notified += burst(world, |event| world.topics.notify(&KEY, event).called());
        drop(guard);
        expect("its own bursts were heard", true, own.get() >= notified);
    }
}

/// Notifies so often. Returns how often.
fn burst(world: &World, mut notify: impl FnMut(&usize) -> usize) -> u64 {
    let least = (0..LENGTH).map(|_| notify(&KEY)).min();
    expect("both handlers were called", true, least >= Some(2));
    world.bursts.notified.add(LENGTH);
    world.ledger.notifications.add(LENGTH);
    LENGTH
}
