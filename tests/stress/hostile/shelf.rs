//! What threads leave to whoever comes by: registrations, observers, handles, pauses and waits.

use std::any::Any;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use topic_registry::{
    HandlerGuard, HandlerId, JoinGuard, ObserverGuard, SyncRegistry, WeakSyncRegistry,
};

use super::dice::below;
use super::owned::Life;
use super::world::World;

pub(super) enum Left {
    /// A handler, and whether it is for a single call.
    Handler(Arc<Life>, WeakSyncRegistry<usize>, HandlerId, bool),
    Guard(Arc<Life>, HandlerGuard),
    Joinable(Arc<Life>, JoinGuard),
    Observer(Arc<Life>, ObserverGuard),
    Anything(Box<dyn Any + Send>),
}

impl World {
    /// Leaves something to others, and ends something else if there is too much.
    pub(super) fn leave(&self, left: Left) {
        const MOST: usize = 40;
        let mut all = self.shelf();
        all.push(left);
        let other = (all.len() > MOST).then(|| all.swap_remove(below(MOST)));
        drop(all);
        if let Some(other) = other {
            self.end(other);
        }
    }

    /// Ends what somebody has left.
    pub(super) fn end_something(&self) {
        let mut all = self.shelf();
        let count = all.len();
        let left = (count > 0).then(|| all.swap_remove(below(count)));
        drop(all);
        if let Some(left) = left {
            self.end(left);
        }
    }

    pub(super) fn end(&self, left: Left) {
        match left {
            Left::Handler(life, topic, id, is_once) => {
                let is_removed =
                    topic.upgrade().is_some_and(|topic: SyncRegistry<_>| topic.unregister(id));
                // A handler for a single call may have been claimed for it, and not be called yet.
                if is_removed || !is_once {
                    life.is_removed();
                }
                if is_removed && is_once {
                    self.ledger.expect("calls of a once handler that was removed", 0, life.calls());
                }
            }
            Left::Guard(life, guard) => {
                drop(guard);
                life.is_removed();
            }
            Left::Joinable(life, guard) => {
                let joined = match below(3) {
                    0 => JoinGuard::join_all([guard]),
                    1 => guard.join(),
                    _ => guard.join_timeout(Duration::from_micros(50)),
                };
                life.is_removed();
                if joined.is_ok() {
                    self.ledger.expect("what was joined is dropped", true, life.is_dropped());
                }
            }
            Left::Observer(life, guard) => {
                drop(guard);
                life.is_removed();
            }
            Left::Anything(anything) => drop(anything),
        }
    }

    pub(super) fn shelf(&self) -> MutexGuard<'_, Vec<Left>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
