//! Registrations of every kind on the sync topics, and their ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use topic_registry::{HandlerGuard, HandlerId, JoinGuard, ObserverGuard};

use crate::handler::Handler;
use crate::ledger::expect;
use crate::life::Life;
use crate::world::{FIXED, WILD, World, is_wild};

/// A registration and how it ends.
pub(crate) struct Registered {
    life: Arc<Life>,
    key: usize,
    by: By,
}

enum By {
    Id(HandlerId),
    Once(HandlerId),
    Guard(HandlerGuard),
    JoinGuard(JoinGuard),
    Observer(ObserverGuard),
}

impl Registered {
    pub(crate) fn of_observer(life: Arc<Life>, guard: ObserverGuard) -> Self {
        Self {
            life,
            key: WILD,
            by: By::Observer(guard),
        }
    }
}

impl World {
    /// Registers in any way.
    pub(crate) fn register(self: &Arc<Self>, key: usize) -> Registered {
        let how = fastrand::u8(..7);
        let handler = Handler::new(self, how == 0);
        let (topics, life) = (&self.topics, Arc::clone(&handler.owned.life));
        let priority = fastrand::i32(-1..=1);
        let by = match how {
            0 => {
                let counts = u64::from(!is_wild(key));
                self.ledger.once.add(counts);
                By::Once(topics.register_once(key, move |_| handler.call_once(counts)))
            }
            1 => By::Id(topics.update(key, |batch| batch.register(move |_| handler.call()))),
            2 => By::Id(topics.register_with_priority(key, priority, move |_| handler.call())),
            3 => {
                let call = move |_: &usize| handler.call();
                By::Guard(topics.handle(key).options().priority(priority).guard().register(call))
            }
            4 => {
                let until = move |_: &usize| {
                    handler.call();
                    match fastrand::u8(..4) {
                        0 => ControlFlow::Break(()),
                        _ => ControlFlow::Continue(()),
                    }
                };
                By::Guard(topics.handle(key).options().guard().register_until(until))
            }
            // It would keep dispatches from handlers that stay.
            5 if key >= FIXED => {
                let call = move |_: &usize| handler.intercept();
                let topic = topics.handle(key);
                By::Guard(topic.options().priority(priority).guard().register_interceptor(call))
            }
            _ => {
                let call = move |_: &usize| handler.call();
                By::JoinGuard(
                    topics.handle(key).options().priority(priority).joinable().register(call),
                )
            }
        };
        Registered { life, key, by }
    }

    pub(crate) fn end(&self, Registered { life, key, by }: Registered) {
        match by {
            By::Id(id) => {
                let is_removed = self.topics.unregister(&key, id) || is_wild(key);
                expect("a handler was there to remove", true, is_removed);
            }
            By::Once(id) => {
                if self.topics.unregister(&key, id) {
                    life.is_over();
                    expect("calls of a once handler that was removed", 0, life.calls());
                    self.ledger.once_removed.add((!is_wild(key)).into());
                }
                // Else its only call may be about to begin.
                return;
            }
            By::Guard(guard) => drop(guard),
            By::Observer(guard) => drop(guard),
            By::JoinGuard(joinable) => {
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

    /// Puts a handler in the place of another, at once.
    pub(crate) fn batch(self: &Arc<Self>, key: usize) {
        let topic = self.topics.handle(key);
        let [old, new] = [Handler::new(self, false), Handler::new(self, false)];
        let [old_life, new_life] = [&old, &new].map(|handler| Arc::clone(&handler.owned.life));
        let old = topic.register(move |_| old.call());
        let new = topic.update(|batch| {
            let is_removed = batch.unregister(old) || is_wild(key);
            expect("a handler was there to replace", true, is_removed);
            batch.register(move |_| new.call())
        });
        old_life.is_removed();
        drop(topic.guard(new));
        new_life.is_removed();
    }

    /// Leaves a registration to others, and ends another one.
    pub(crate) fn leave(&self, registered: Registered) {
        const MOST: usize = 32;
        let mut all = self.left();
        all.push(registered);
        let other = (all.len() > MOST).then(|| all.swap_remove(fastrand::usize(..MOST)));
        drop(all);
        if let Some(other) = other {
            self.end(other);
        }
    }
}
