//! Ours, compiled with the features `tracing` and `metrics`.

use instrumented::{Delivery, TopicHandle, TopicRegistry};

use crate::{Shared, Subject, fill, handler, keys};

/// A handle to one of the topics, which have a name.
#[derive(Debug)]
pub struct Handle {
    handle: TopicHandle<String, u64>,
    _topics: TopicRegistry<String, u64>,
}

impl Shared for Handle {
    type Answer = Delivery;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> Delivery {
        self.handle.notify(event)
    }
}

impl Subject for Handle {
    fn with_handlers(handlers: u64) -> Self {
        let topics = TopicRegistry::builder().name("bench").build();
        let handle = topics.handle(keys::name(0));
        fill(handlers, |priority, n| {
            handle.register_with_priority(priority, handler(n));
        });
        Self {
            handle,
            _topics: topics,
        }
    }
}
