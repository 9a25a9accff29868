//! Handlers that are paused, and called again when they are not.

use std::sync::Arc;

use crate::handler::Handler;
use crate::ledger::expect;
use crate::world::{FIXED, World, is_wild};

impl World {
    /// Pauses a handler twice, beside those who notify it.
    pub(crate) fn pause(self: &Arc<Self>, key: usize) {
        let handler = Handler::new(self, false);
        let (life, topic) = (Arc::clone(&handler.owned.life), self.topics.handle(key));
        let guard = topic.register_guard(move |_| handler.call());
        let pauses = [(); 2].map(|()| topic.pause(guard.id()));
        life.is_stopped();
        let is_listed = topic.handlers().iter().any(|found| found.id == guard.id() && found.paused);
        expect(
            "a paused handler is listed",
            true,
            is_listed || is_wild(key),
        );
        self.notify(key);
        let [first, second] = pauses;
        drop(first);
        self.notify(key);
        life.goes_on();
        drop(second);
        if key < FIXED {
            let before = life.calls();
            self.notify(key);
            expect("a resumed handler was called", true, life.calls() > before);
        }
        drop(guard);
        life.is_removed();
    }
}
