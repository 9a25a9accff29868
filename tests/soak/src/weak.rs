//! Weak references: to the one topic of a key, and to topics that end.

use std::sync::Arc;

use topic_registry::TopicRegistry;

use crate::handler::Handler;
use crate::ledger::expect;
use crate::life::Owned;
use crate::world::World;

impl World {
    /// What is upgraded is the key's topic, for as long as it is kept. Nobody clears it.
    pub(crate) fn upgrade(self: &Arc<Self>, key: usize) {
        let weak = self.topics.handle(key).downgrade();
        let Some(registry) = weak.upgrade() else {
            // Its last handle and its last handler went meanwhile.
            return;
        };
        let handler = Handler::new(self, false);
        let life = Arc::clone(&handler.owned.life);
        let guard = registry.register_guard(move |_| handler.call());
        let is_there = self.topics.get(&key).is_some_and(|topic| topic.contains(guard.id()));
        expect("what is upgraded is the key's topic", true, is_there);
        self.notify_by(key, |event| registry.notify(event));
        drop(guard);
        life.is_removed();
    }

    /// Topics end with their last clone, and with them the observers; not with their handles.
    pub(crate) fn end_topics(&self) {
        let topics = TopicRegistry::<usize, usize>::new();
        let (weak, handle) = (topics.downgrade(), topics.handle(0usize));
        let [observer, handler] = [(); 2].map(|()| Owned::new(&self.ledger, false).harmless());
        let [observing, handling] = [&observer, &handler].map(|owned| Arc::clone(&owned.life));
        topics.observe_interest(move |_, _| observer.enter()).forget();
        let (own, id) = (
            handle.downgrade(),
            handle.register(move |_| handler.enter()),
        );
        expect("topics that live", true, weak.upgrade().is_some());
        drop(topics);
        expect("topics without an owner", false, weak.upgrade().is_some());
        observing.is_joined();
        expect(
            "a handle outlives its topics",
            1,
            handle.notify(&0).called(),
        );
        expect(
            "the handler of a topic that lives",
            true,
            handle.contains(id),
        );
        drop(handle);
        expect("a topic without an owner", false, own.upgrade().is_some());
        handling.is_joined();
    }
}
