//! What the threads do: each way to use the library, at random.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use topic_registry::{Delivery, TopicHandle, TopicRegistry, WaitError};

use super::dice::{below, once_in};
use super::key::Key;
use super::owned::{Owned, look_around};
use super::shelf::Left;
use super::wakers;
use super::world::{SHARED, Topics, World};

/// An act, by name.
type Act = (&'static str, fn(&Arc<World>));

pub(super) const ACTS: &[Act] = &[
    ("notifies", notify_any),
    ("notifies", notify_any),
    ("notifies", notify_any),
    ("notifies", notify_any),
    ("registers", register),
    ("registers", register),
    ("registers", register),
    ("ends what was left", |world| world.end_something()),
    ("ends what was left", |world| world.end_something()),
    ("pauses", pause),
    ("records", record),
    ("waits", wait),
    ("polls a wait", wakers::poll_a_wait),
    ("upgrades", upgrade),
    ("observes", observe),
    ("replaces a callback", replace_a_callback),
    ("clears", clear),
    ("makes a batch", make_a_batch),
    ("makes topics for a moment", make_topics),
    ("looks", look),
    #[cfg(feature = "async")]
    ("registers an async handler", super::tasks::register),
    #[cfg(feature = "async")]
    ("runs a dispatch", super::tasks::run),
    #[cfg(feature = "async")]
    ("runs a dispatch", super::tasks::run),
    #[cfg(feature = "async")]
    ("joins a task", super::tasks::join),
];

impl Owned {
    /// What a sync handler does.
    pub(super) fn be_called(&self) {
        self.ledger().called.add(1);
        self.enter();
        match below(32) {
            0 => self.may_throw(),
            1 | 2 => self.world.act(),
            _ => {}
        }
        look_around();
    }

    /// What an observer or another callback does.
    fn be_called_back(&self) {
        self.enter();
        if self.world.hostile.callbacks {
            match below(16) {
                0 => self.may_throw(),
                1 => self.world.act(),
                _ => {}
            }
        }
    }
}

fn any_topic(world: &Arc<World>) -> TopicHandle<Key, usize> {
    world.topics().handle(world.key(below(SHARED)))
}

fn notify_any(world: &Arc<World>) {
    let (topics, number) = (world.topics(), below(SHARED));
    deliver(world, || match below(4) {
        0 => topics.notify(&number, &number),
        1 => topics.notify_with(&number, || number),
        2 => topics.handle(world.key(number)).notify(&number),
        _ => topics.handle(world.key(number)).pin().notify(&number),
    });
}

/// Makes a dispatch, and counts.
fn deliver(world: &World, dispatch: impl FnOnce() -> Delivery) -> Delivery {
    look_around();
    let delivery = dispatch();
    world.ledger.delivered.add(delivery.called() as u64);
    delivery
}

fn register(world: &Arc<World>) {
    let (topic, owned) = (any_topic(world), Owned::new(world));
    let (life, options) = (
        Arc::clone(&owned.life),
        topic.options().priority([-1, 0, 1][below(3)]),
    );
    let left = match below(8) {
        0 => {
            let id = options.register(move |_| owned.be_called());
            Left::Handler(life, topic.downgrade(), id, false)
        }
        1 => Left::Guard(life, options.guard().register(move |_| owned.be_called())),
        2 | 3 => Left::Joinable(
            life,
            options.joinable().register(move |_| owned.be_called()),
        ),
        4 => {
            let id = options.register_once(move |_| owned.be_called());
            Left::Handler(life, topic.downgrade(), id, true)
        }
        5 => Left::Guard(
            life,
            options.guard().register_until(move |_| {
                owned.be_called();
                breaks()
            }),
        ),
        6 => Left::Joinable(
            life,
            options.joinable().register_interceptor(move |_| {
                owned.be_called();
                breaks()
            }),
        ),
        _ => {
            // Whoever clears next removes it.
            options.register(move |_| owned.be_called());
            return;
        }
    };
    world.leave(left);
}

fn breaks() -> ControlFlow<()> {
    if once_in(8) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

fn pause(world: &Arc<World>) {
    let topic = any_topic(world);
    let handlers = topic.handlers();
    if handlers.is_empty() {
        return;
    }
    let paused = topic.pause(handlers[below(handlers.len())].id);
    world.leave(Left::Anything(Box::new(paused)));
}

fn record(world: &Arc<World>) {
    let (topic, owned) = (any_topic(world), Owned::new(world));
    let recorder = topic.record(move |_| {
        owned.be_called();
        Owned::biting(&owned.world, owned.world.hostile.values)
    });
    deliver(world, || topic.notify(&0));
    if once_in(2) {
        recorder.take().into_iter().for_each(|value| drop(value.harmless()));
    }
    if once_in(2) {
        world.leave(Left::Anything(Box::new(recorder)));
    }
}

/// On a topic of its own, where nobody else takes the event or ends the wait.
fn wait(world: &Arc<World>) {
    let topic = world.topics().handle(world.key(world.own_number()));
    let owned = Owned::new(world);
    let mut waiting = topic.wait_for(move |_| {
        owned.ledger().called.add(1);
        owned.enter();
        Some(Owned::biting(&owned.world, owned.world.hostile.values))
    });
    let found = match below(4) {
        0 => {
            deliver(world, || topic.notify(&0));
            waiting.wait_timeout(Duration::ZERO)
        }
        1 => {
            deliver(world, || topic.notify(&0));
            waiting.wait()
        }
        2 => {
            topic.clear();
            let found = waiting.wait().err();
            return world.ledger.expect("a wait that was removed", Some(WaitError::Removed), found);
        }
        _ => {
            deliver(world, || topic.notify(&0));
            return world.leave(Left::Anything(Box::new(waiting)));
        }
    };
    world.ledger.expect("the event that came", true, found.is_ok());
    drop(found.map(Owned::harmless));
}

fn upgrade(world: &Arc<World>) {
    let (number, topics) = (below(SHARED), world.topics());
    let weak = topics.handle(world.key(number)).downgrade();
    if let Some(registry) = weak.upgrade() {
        deliver(world, || registry.notify(&number));
    }
    world.ledger.expect(
        "topics that live",
        true,
        topics.downgrade().upgrade().is_some(),
    );
}

fn observe(world: &Arc<World>) {
    let (topics, owned) = (world.topics(), Owned::of_callback(world));
    let life = Arc::clone(&owned.life);
    let guard = if once_in(2) {
        topics.observe_interest(move |_, _| owned.be_called_back())
    } else {
        topics.observe_handler_limit(1 + below(4), move |_, _| owned.be_called_back())
    };
    world.leave(Left::Observer(life, guard));
}

fn replace_a_callback(world: &Arc<World>) {
    let topics = world.topics();
    match below(4) {
        0 => {
            let owned = Owned::of_callback(world);
            topics.on_panic(move |_, _| owned.be_called_back());
        }
        1 => {
            let owned = Owned::of_callback(world);
            any_topic(world).on_panic(move |_| owned.be_called_back());
        }
        2 => topics.clear_panic_callback(),
        _ => any_topic(world).clear_panic_callback(),
    }
}

fn clear(world: &Arc<World>) {
    let topics = world.topics();
    match below(3) {
        0 => any_topic(world).clear(),
        1 => _ = topics.remove(&below(SHARED)),
        _ => topics.shrink_to_fit(),
    }
}

fn make_a_batch(world: &Arc<World>) {
    let new = [(); 2].map(|()| Owned::new(world));
    let topic = any_topic(world);
    let old = topic.register({
        let owned = Owned::new(world);
        move |_| owned.be_called()
    });
    let clears = once_in(4);
    let ids = topic.update(|batch| {
        batch.unregister(old);
        let ids = new.map(|owned| batch.register(move |_| owned.be_called()));
        batch.unregister(ids[0]);
        if clears {
            batch.clear();
        }
        ids
    });
    drop(topic.guard(ids[1]));
}

/// Makes topics and ends them, while other threads drop what belongs to them, if these may.
fn make_topics(world: &Arc<World>) {
    let topics: Topics = TopicRegistry::new();
    let weak = topics.downgrade();
    // Nobody looks at the count of these topics.
    let [first, second] = [(); 2].map(|()| Owned::of_callback(world).uncounted());
    let [third, fourth] = [(); 2].map(|()| Owned::new(world).uncounted());
    let observed = [&first, &second].map(|owned| Arc::clone(&owned.life));
    topics.observe_interest(move |_, _| first.be_called_back()).forget();
    topics.observe_handler_limit(1, move |_, _| second.be_called_back()).forget();
    let handle = topics.handle(world.strange_key(0));
    handle.register(move |_| third.be_called());
    let recorder = handle.record(move |_| fourth.be_called());
    deliver(world, || handle.notify(&0));
    let belongings: [Box<dyn Any + Send>; 4] = [
        Box::new(recorder),
        Box::new(topics.handle(world.strange_key(1))),
        Box::new(topics.handle(world.strange_key(2))),
        Box::new(handle),
    ];
    let mut kept = Vec::new();
    for belonging in belongings {
        if world.hostile.strangers {
            world.leave(Left::Anything(belonging));
        } else {
            kept.push(belonging);
        }
    }
    if once_in(4) {
        topics.clear();
    }
    drop(topics);
    world.ledger.expect("topics without an owner", false, weak.upgrade().is_some());
    let observed = observed.map(|life| life.is_dropped());
    world.ledger.expect("their observers are dropped", [true; 2], observed);
}

fn look(world: &Arc<World>) {
    let topics = world.topics();
    let listed: usize = topics.topics().iter().map(|topic| topic.handlers).sum();
    let _ = (listed, topics.keys(), topics.len(), format!("{topics:?}"));
    if let Some(topic) = topics.get(&below(SHARED)) {
        let count = topic.handlers().len();
        let _ = (count, topic.panic_count(), topic.handler_count());
    }
}
