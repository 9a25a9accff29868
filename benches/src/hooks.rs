//! Hooks, and a `Vec` of closures that get the same event: it borrows what each handler sets.

use std::fmt;
use std::hint::black_box;

use topic_registry::{Delivery, Hook, HookTopicHandle, HookTopicRegistry};

use crate::{Work, fill};

/// The event.
#[derive(Debug)]
pub struct Change<'e> {
    last: &'e mut u64,
    by: u64,
}

enum Changes {}

impl Hook for Changes {
    type Event<'e> = Change<'e>;
}

/// Calls so many handlers of a topic, by a handle.
#[must_use]
pub fn of_a_handle(handlers: u64) -> Work {
    let topics = HookTopicRegistry::<String, Changes>::new();
    let handle: HookTopicHandle<String, Changes> = topics.handle("a");
    fill(handlers, |priority, n| {
        handle.register_with_priority(priority, handler(n));
    });
    passing(move |change| -> Delivery { handle.notify(change) })
}

/// Calls so many closures of a `Vec`.
#[must_use]
pub fn of_a_vec(handlers: u64) -> Work {
    type Closure = Box<dyn Fn(&mut Change<'_>) + Send + Sync>;
    let mut closures = Vec::<Closure>::new();
    fill(handlers, |_, n| closures.push(Box::new(handler(n))));
    passing(move |change| closures.iter().for_each(|closure| closure(change)))
}

fn handler(n: u64) -> impl Fn(&mut Change<'_>) + Send + Sync + 'static {
    move |change| *change.last = black_box(change.by + n)
}

fn passing<R: fmt::Debug>(pass: impl Fn(&mut Change<'_>) -> R + 'static) -> Work {
    Work::new(move |times| {
        let mut last = 0;
        for by in 0..times {
            let mut change = Change {
                last: &mut last,
                by,
            };
            black_box(&pass(black_box(&mut change)));
        }
    })
}
