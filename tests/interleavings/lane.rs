//! The fast lane: that a list outlives the dispatches that are inside, and no share of it is left
//! behind when they have ended.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use topic_registry::{HandlerGuard, SyncRegistry, TopicHandle};

use super::look_ups::STAYS;
use super::sync::atomic::{AtomicBool, fence};
use super::{Count, Reenters, Topics, thread, together};

type Work = Box<dyn FnOnce() + Send>;

/// Whether a closure is alive, as its calls and its destructor see it.
#[derive(Clone)]
struct Life {
    is_alive: Arc<AtomicBool>,
    drops: Count,
}

/// What a closure owns.
struct Owned(Life);

impl Life {
    fn new() -> Self {
        Self {
            is_alive: Arc::new(AtomicBool::new(true)),
            drops: Count::default(),
        }
    }

    /// A handler whose closure has this life. `call` is its work.
    fn handler<F: Fn(u32) + Send + Sync>(&self, call: F) -> impl Fn(&u32) + Send + Sync + use<F> {
        let owned = Owned(self.clone());
        move |event| {
            // Its own, in case that the closure is freed meanwhile.
            let life = owned.0.clone();
            life.check();
            call(*event);
            life.check();
        }
    }

    fn check(&self) {
        let is_alive = self.is_alive.load(Ordering::SeqCst);
        assert!(is_alive, "its closure was dropped during the call");
    }

    #[track_caller]
    fn has_ended(&self) {
        assert_eq!(self.drops.get(), 1, "so often it was dropped");
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.is_alive.store(false, Ordering::SeqCst);
        self.0.drops.up();
    }
}

/// Work that notifies the registry so often.
fn notifies(registry: &SyncRegistry<u32>, times: usize) -> Work {
    let registry = registry.clone();
    Box::new(move || {
        for _ in 0..times {
            assert_eq!(registry.notify(&0).panicked(), 0);
        }
    })
}

/// Whether the lane was heated before, by a notification on this thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Before {
    Cold,
    Hot,
}

impl Before {
    pub(crate) fn prepare(self, registry: &SyncRegistry<u32>) {
        if self == Self::Hot {
            assert_eq!(registry.notify(&0).panicked(), 0);
        }
    }
}

/// A handler is removed beside so many threads that dispatch, and `others` stay. Its closure
/// outlives the calls, and nothing else.
pub(crate) fn remove_beside_dispatches(before: Before, others: usize, dispatches: &[usize]) {
    let (registry, life) = (SyncRegistry::new(), Life::new());
    let guard = registry.register_guard(life.handler(|_| {}));
    for _ in 0..others {
        registry.register(|_| {});
    }
    before.prepare(&registry);
    // The last one is on this thread, which has a record if the lane is hot.
    let mut work: Vec<Work> = vec![Box::new(move || drop(guard))];
    work.extend(dispatches.iter().map(|times| notifies(&registry, *times)));
    together(work);
    life.has_ended();
}

/// The same by key, and the closure's destructor uses the same topic, the same shard and the same
/// writer lock: it never runs under a lock. `prepare` comes before the threads.
pub(crate) fn remove_beside_look_ups(
    prepare: impl FnOnce(&Topics, &SyncRegistry<u32>),
    others: usize,
    look_ups: usize,
) {
    let (topics, life) = (Topics::new(), Life::new());
    let handle = topics.handle(STAYS);
    let reenters = Reenters(topics.clone(), handle.clone());
    let calls = life.handler(move |_| _ = &reenters);
    let guard = handle.register_guard(calls);
    for _ in 0..others {
        handle.register(|_| {});
    }
    prepare(&topics, &handle);
    let mut work: Vec<Work> = vec![Box::new(move || drop(guard))];
    for _ in 0..look_ups {
        let topics = topics.clone();
        work.push(Box::new(move || {
            assert_eq!(topics.notify(&STAYS, &0).panicked(), 0);
        }));
    }
    together(work);
    life.has_ended();
    assert_eq!(handle.handler_count(), others);
}

/// Two handlers are removed one after the other beside a thread that dispatches so often.
pub(crate) fn remove_both_beside_a_dispatch(before: Before, times: usize) {
    let (registry, lives) = (SyncRegistry::new(), [Life::new(), Life::new()]);
    let guards = lives.each_ref().map(|life| {
        let handler = life.handler(|_| {});
        registry.register_guard(handler)
    });
    before.prepare(&registry);
    let removes = Box::new(move || drop(guards));
    together(vec![removes, notifies(&registry, times)]);
    lives.iter().for_each(Life::has_ended);
}

/// A handler is replaced beside a dispatch. If the dispatch runs over the new list, it keeps
/// nothing of the old one: once the change has returned, the removed closure is gone.
#[cfg(loom)]
pub(crate) fn replace_beside_a_dispatch(before: Before) {
    let (registry, life) = (SyncRegistry::<u32>::new(), Life::new());
    let id = registry.register(life.handler(|_| {}));
    before.prepare(&registry);
    let (same, drops) = (registry.clone(), life.drops.clone());
    let replaces = move || {
        let has_returned = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&has_returned);
        same.update(|batch| {
            batch.unregister(id);
            batch.register(move |_| {
                if seen.load(Ordering::SeqCst) {
                    assert_eq!(
                        drops.get(),
                        1,
                        "the dispatch keeps what was removed before it"
                    );
                }
            });
        });
        has_returned.store(true, Ordering::SeqCst);
    };
    together(vec![Box::new(replaces), notifies(&registry, 1)]);
    life.has_ended();
}

/// A dispatch goes through the registry itself so often, which takes more places than a thread has,
/// beside a removal.
pub(crate) fn remove_beside_a_nested_dispatch(before: Before, depth: u32) {
    let (registry, life) = (SyncRegistry::new(), Life::new());
    let same = registry.clone();
    let calls = life.handler(move |depth| {
        if depth != 0 {
            assert_eq!(same.notify(&(depth - 1)).panicked(), 0);
        }
    });
    let guard = registry.register_guard(calls);
    before.prepare(&registry);
    together(vec![
        Box::new(move || drop(guard)),
        Box::new(move || assert_eq!(registry.notify(&depth).panicked(), 0)),
    ]);
    life.has_ended();
}

/// Dispatches of three registries, each inside of the other, beside a removal from one of them.
pub(crate) fn remove_beside_nested_registries(removed: usize) {
    let life = Life::new();
    let registries = [(); 3].map(|()| SyncRegistry::<u32>::new());
    let mut guard = None;
    for (at, registry) in registries.iter().enumerate() {
        let inner = registries.get(at + 1).cloned();
        let calls = move |event| {
            if let Some(inner) = &inner {
                assert_eq!(inner.notify(&event).panicked(), 0);
            }
        };
        if at == removed {
            guard = Some(registry.register_guard(life.handler(calls)));
        } else {
            registry.register(move |event| calls(*event));
        }
    }
    let [outermost, ..] = registries;
    outermost.notify(&0);
    together(vec![Box::new(move || drop(guard)), notifies(&outermost, 1)]);
    life.has_ended();
}

/// A handler removes one from inside, itself or the other, beside another dispatch.
pub(crate) fn remove_from_inside(before: Before, itself: bool) {
    let (registry, life) = (SyncRegistry::<u32>::new(), Life::new());
    let slot = Arc::new(Mutex::new(None::<HandlerGuard>));
    let taken = Arc::clone(&slot);
    let removes = move |_| {
        let guard = taken.lock().unwrap().take();
        drop(guard);
    };
    let guard = if itself {
        registry.register_guard(life.handler(removes))
    } else {
        registry.register(move |event| removes(*event));
        registry.register_guard(life.handler(|_| {}))
    };
    before.prepare(&registry);
    *slot.lock().unwrap() = Some(guard);
    together(vec![notifies(&registry, 1), notifies(&registry, 1)]);
    life.has_ended();
}

/// A thread dispatches and ends, and another one comes, which may have its record, beside a
/// removal.
pub(crate) fn remove_beside_threads_that_end(before: Before) {
    let (registry, life) = (SyncRegistry::new(), Life::new());
    let guard = registry.register_guard(life.handler(|_| {}));
    before.prepare(&registry);
    let first = thread::spawn(notifies(&registry, 1));
    let second = notifies(&registry, 1);
    let removes = thread::spawn(move || drop(guard));
    first.join().expect("it does not panic");
    thread::spawn(second).join().expect("it does not panic");
    removes.join().expect("it does not panic");
    life.has_ended();
}

/// Handlers are removed where the system refuses barriers: from the start, or from between two
/// changes on. Without a barrier nobody knows who is inside, so that what was hot may be kept.
#[cfg(any(loom, shuttle))]
pub(crate) fn remove_without_barriers(from_the_start: bool) {
    if from_the_start {
        topic_registry::explored::refuse_barriers();
    }
    let (registry, lives) = (SyncRegistry::new(), [Life::new(), Life::new()]);
    let guards = lives.each_ref().map(|life| {
        let handler = life.handler(|_| {});
        registry.register_guard(handler)
    });
    together(vec![
        notifies(&registry, 1),
        Box::new(move || {
            let [first, second] = guards;
            drop(first);
            topic_registry::explored::refuse_barriers();
            drop(second);
        }),
    ]);
    let drops = lives.map(|life| life.drops.get());
    if from_the_start {
        assert_eq!(drops, [1, 1]);
    }
    assert!(drops.iter().all(|times| *times <= 1), "{drops:?}");
    assert_eq!(registry.notify(&0).called(), 0);
}

/// Barriers are refused from some moment of a change on, which is beside a dispatch.
#[cfg(any(loom, shuttle))]
pub(crate) fn remove_while_barriers_are_refused(before: Before) {
    let (registry, life) = (SyncRegistry::new(), Life::new());
    let guard = registry.register_guard(life.handler(|_| {}));
    before.prepare(&registry);
    together(vec![
        notifies(&registry, 1),
        Box::new(topic_registry::explored::refuse_barriers),
        Box::new(move || drop(guard)),
    ]);
    assert!(life.drops.get() <= 1);
    // By arc_swap, as new handlers are.
    let calls = Count::default();
    let own = calls.clone();
    registry.register(move |_| own.up());
    assert_eq!((registry.notify(&0).called(), calls.get()), (1, 1));
}

/// Of a thread that registers and then looks at a flag, and another that sets it and then notifies,
/// one sees the other.
pub(crate) fn register_and_look_beside_set_and_notify(before: Before, others: usize) {
    let topics = Topics::new();
    let topic: TopicHandle<u8, u32> = topics.handle(0);
    for _ in 0..others {
        topic.register(|_| {});
    }
    before.prepare(&topic);
    let (flag, sees, is_seen) = (
        Arc::new(AtomicBool::new(false)),
        Count::default(),
        Count::default(),
    );
    let (same, notifier, sets, looks) = (topic.clone(), topic, Arc::clone(&flag), sees.clone());
    let called = is_seen.clone();
    together(vec![
        Box::new(move || {
            same.register(move |_| called.up());
            if flag.load(Ordering::SeqCst) {
                looks.up();
            }
        }),
        Box::new(move || {
            sets.store(true, Ordering::SeqCst);
            // `loom` takes the store for a release.
            fence(Ordering::SeqCst);
            notifier.notify(&0);
        }),
    ]);
    assert_ne!(sees.get() + is_seen.get(), 0, "both missed the other");
}
