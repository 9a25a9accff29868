//! Topics by key: ours, and those of the hand-made map.

use std::fmt;
use std::hint::black_box;

use crate::{Shared, Subject, Work};

/// A map from keys to topics.
pub trait Keyed: Default + Send + Sync + 'static {
    /// What keeps a topic that has no handlers: a handle to it.
    type Handle: Send + Sync;
    /// What a notification returns.
    type Answer;

    /// Makes the topic, with so many handlers.
    fn add(&self, key: String, handlers: u64) -> Self::Handle;

    /// Notifies it.
    fn notify(&self, key: &str, event: &u64) -> Self::Answer;

    /// Removes its handlers, and itself unless it has a handle.
    fn remove(&self, key: &str);
}

/// The key of a topic.
#[must_use]
pub fn name(n: u64) -> String {
    format!("user.session.{n}")
}

/// One topic, notified by its key.
pub struct ByKey<M: Keyed> {
    topics: M,
    key: String,
    _handle: M::Handle,
}

impl<M: Keyed> Shared for ByKey<M> {
    type Answer = M::Answer;

    #[inline]
    fn call_shared(&self, event: &u64) -> M::Answer {
        self.topics.notify(&self.key, event)
    }
}

impl<M: Keyed> Subject for ByKey<M> {
    fn with_handlers(handlers: u64) -> Self {
        let (topics, key) = (M::default(), name(0));
        let handle = topics.add(key.clone(), handlers);
        Self {
            topics,
            key,
            _handle: handle,
        }
    }
}

impl<M: Keyed> fmt::Debug for ByKey<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey").finish_non_exhaustive()
    }
}

#[inline(never)]
fn notify_key<M: Keyed>(topics: &M, key: &str, event: &u64) -> M::Answer {
    topics.notify(key, event)
}

/// Notifies topics of one handler by key, each in its turn.
#[must_use]
pub fn in_turn<M: Keyed>(count: u64) -> Work {
    let (topics, mut keys, _) = filled::<M>(count);
    scatter(&mut keys);
    let mut turns = 0..;
    Work::new(move |times| {
        for (event, at) in (0..times).zip(&mut turns) {
            notify_key(&topics, &keys[at % keys.len()], black_box(&event));
        }
    })
}

/// Makes a topic with one handler beside so many others, and removes it.
#[must_use]
pub fn coming_and_going<M: Keyed>(beside: u64) -> Work {
    let (topics, ..) = filled::<M>(beside);
    Work::new(move |times| {
        for _ in 0..times {
            let key = String::from("come and go");
            drop(topics.add(key.clone(), 1));
            topics.remove(&key);
        }
    })
}

/// Topics of one handler, with their keys and handles.
#[must_use]
pub fn filled<M: Keyed>(count: u64) -> (M, Vec<String>, Vec<M::Handle>) {
    filled_with(count, 1)
}

/// Topics of so many handlers each, with their keys and handles.
#[must_use]
pub fn filled_with<M: Keyed>(count: u64, handlers: u64) -> (M, Vec<String>, Vec<M::Handle>) {
    let topics = M::default();
    let keys: Vec<String> = (0..count).map(name).collect();
    let add = |key: &String| topics.add(key.clone(), handlers);
    let kept = keys.iter().map(add).collect();
    (topics, keys, kept)
}

/// Mixes them, so that neighbours in memory are not visited one after the other.
pub fn scatter<T>(items: &mut [T]) {
    // Any number that shares no factor with many lengths would do.
    for at in 0..items.len() {
        items.swap(at, at.wrapping_mul(0x9E37_79B9) % items.len());
    }
}
