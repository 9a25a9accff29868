//! The ways to notify that `topic-registry` has.

use std::hint::black_box;
use std::time::Duration;

use topic_registry::{Delivery, Pinned, SyncRegistry, TopicHandle, TopicRegistry};

use crate::keys::{self, Keyed};
use crate::mix::{Mix, Mixed, Register};
use crate::{Churn, Notify, Shared, Subject, Work, handler, notify_once};

/// A registry without a key.
#[derive(Clone, Debug)]
pub struct Registry(SyncRegistry<u64>);

/// A handle to one of the topics.
#[derive(Clone, Debug)]
pub struct Handle {
    handle: TopicHandle<String, u64>,
    _topics: TopicRegistry<String, u64>,
}

/// A handle to a topic whose calls are timed: to count them, or for slow ones.
#[derive(Debug)]
pub struct Timed<const COUNTS: bool>(Handle);

/// A pin.
#[derive(Debug)]
pub struct Pin(Pinned<u64>);

/// Topics by key.
#[derive(Debug, Default)]
pub struct Topics(TopicRegistry<String, u64>);

/// A topic, by its key each time.
pub type ByKey = keys::ByKey<Topics>;

impl Registry {
    /// Registers so many handlers in one change, and removes them in another.
    pub fn churn_at_once(&mut self, handlers: u64) {
        let added: Vec<_> = self
            .0
            .update(|batch| (0..handlers).map(|n| batch.register(handler(n))).collect());
        self.0.update(|batch| {
            for id in added {
                batch.unregister(id);
            }
        });
    }
}

impl Handle {
    /// A pin of its topic.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin(self.handle.pin())
    }
}

impl Shared for Registry {
    type Answer = Delivery;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> Delivery {
        self.0.notify(event)
    }
}

impl Shared for TopicHandle<String, u64> {
    type Answer = Delivery;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> Delivery {
        self.notify(event)
    }
}

impl Shared for Handle {
    type Answer = Delivery;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> Delivery {
        self.handle.notify(event)
    }
}

impl<const COUNTS: bool> Shared for Timed<COUNTS> {
    type Answer = Delivery;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> Delivery {
        self.0.call_shared(event)
    }
}

impl Notify for Pin {
    type Answer = Delivery;

    #[inline(always)]
    fn call(&mut self, event: &u64) -> Delivery {
        self.0.notify(event)
    }
}

impl Subject for Registry {
    fn with_handlers(handlers: u64) -> Self {
        let registry = SyncRegistry::new();
        fill_ours(&registry, handlers);
        Self(registry)
    }
}

impl Handle {
    fn of(topics: TopicRegistry<String, u64>, mix: Mix, handlers: u64) -> Self {
        let handle = topics.handle(keys::name(0));
        mix.fill(handlers, &mut &*handle);
        Self {
            handle,
            _topics: topics,
        }
    }
}

impl Register for &SyncRegistry<u64> {
    fn register(&mut self, priority: i32, handler: impl Fn(&u64) + Send + Sync + 'static) {
        self.register_with_priority(priority, handler);
    }
}

impl Mixed for Handle {
    fn mixed(mix: Mix, handlers: u64) -> Self {
        Self::of(TopicRegistry::new(), mix, handlers)
    }
}

impl Mixed for Pin {
    fn mixed(mix: Mix, handlers: u64) -> Self {
        Handle::mixed(mix, handlers).pin()
    }
}

impl Subject for Handle {
    fn with_handlers(handlers: u64) -> Self {
        Self::mixed(Mix::OneType, handlers)
    }
}

impl<const COUNTS: bool> Subject for Timed<COUNTS> {
    fn with_handlers(handlers: u64) -> Self {
        const NEVER: Duration = Duration::from_secs(3600);
        let builder = TopicRegistry::builder();
        let topics = if COUNTS {
            builder.count_calls().build()
        } else {
            builder.on_slow(NEVER, |_, _, _| {}).build()
        };
        Self(Handle::of(topics, Mix::OneType, handlers))
    }
}

impl Subject for Pin {
    fn with_handlers(handlers: u64) -> Self {
        Handle::with_handlers(handlers).pin()
    }
}

impl Churn for Handle {
    fn churn(&mut self, priority: i32) {
        let id = self.handle.register_with_priority(priority, handler(0));
        self.handle.unregister(id);
    }
}

impl Keyed for Topics {
    type Handle = TopicHandle<String, u64>;
    type Answer = Delivery;

    fn add(&self, key: String, handlers: u64) -> Self::Handle {
        let handle = self.0.handle(key);
        fill_ours(&handle, handlers);
        handle
    }

    #[inline(always)]
    fn notify(&self, key: &str, event: &u64) -> Delivery {
        self.0.notify(key, event)
    }

    fn remove(&self, key: &str) {
        self.0.remove(key);
    }
}

/// Notifies topics of one handler by handle, each in its turn.
#[must_use]
pub fn handles_in_turn(count: u64) -> Work {
    let (_topics, _, mut handles) = keys::filled::<Topics>(count);
    keys::scatter(&mut handles);
    let mut turns = 0..;
    Work::new(move |times| {
        for (event, at) in (0..times).zip(&mut turns) {
            notify_once(&mut &handles[at % handles.len()], black_box(&event));
        }
    })
}

fn fill_ours(mut registry: &SyncRegistry<u64>, handlers: u64) {
    Mix::OneType.fill(handlers, &mut registry);
}
