//! Async handlers and dispatches that end, or are dropped at any time, with hostile wakers.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::dice::{below, once_in};
use super::owned::{Owned, look_around};
use super::shelf::Left;
use super::wakers::poll_hostile;
use super::world::{SHARED, World};

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A handler whose futures yield a few times, and throw at times.
fn handler(owned: Owned) -> impl Fn(&usize) -> Waiting + Send + Sync {
    move |_| {
        owned.enter();
        if once_in(32) {
            owned.may_throw();
        }
        let (mine, mut yields) = (Owned::new(&owned.world), below(3));
        Box::pin(async move {
            poll_fn(|context| {
                if yields == 0 {
                    return Poll::Ready(());
                }
                yields -= 1;
                // A waker that panics is dropped with what this future owns.
                if !mine.throws_when_dropped() {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            })
            .await;
            match below(16) {
                0 => mine.may_throw(),
                1 => mine.world.act(),
                _ => {}
            }
            look_around();
        })
    }
}

pub(super) fn register(world: &Arc<World>) {
    let owned = Owned::new(world);
    let topic = world.async_topics.handle(world.key(below(SHARED)));
    let options = topic.options().guard();
    let guard = if once_in(3) {
        // A closure that is called by value and returns something is leaked if what it owns throws
        // after that (rust-lang/rust#47949).
        options.register_once(handler(owned.harmless()))
    } else {
        options.register(handler(owned))
    };
    world.leave(Left::Anything(Box::new(guard)));
}

pub(super) fn run(world: &Arc<World>) {
    let number = below(SHARED);
    let topics = &world.async_topics;
    let topic = topics.handle(world.key(number));
    look_around();
    match below(4) {
        0 => drive(world, topic.notify(&number)),
        1 => drive(world, topic.notify_sequential(&number)),
        2 => drive(world, topics.notify(&number, &number)),
        _ => drive(world, topics.notify_sequential_with(&number, || number)),
    }
}

/// Polls some times, and drops what has not ended by then.
fn drive(world: &Arc<World>, future: impl Future) {
    let mut future = Box::pin(future);
    for _ in 0..below(8) {
        match poll_hostile(world, future.as_mut()) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(_)) | Err(()) => break,
        }
    }
    // It owns wakers.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
        world.ledger.comes_out(payload);
    }
}

pub(super) fn join(world: &Arc<World>) {
    let owned = Owned::new(world);
    let life = Arc::clone(&owned.life);
    let topic = world.async_topics.handle(world.key(world.own_number()));
    let guard = topic.options().joinable().register(handler(owned));
    let mut dispatch = Box::pin(topic.notify(&0));
    let is_running = matches!(poll_hostile(world, dispatch.as_mut()), Ok(Poll::Pending));
    let mut joined = Box::pin(guard.join_async());
    if is_running {
        let polled = poll_hostile(world, joined.as_mut());
        let is_early = matches!(polled, Ok(Poll::Ready(())));
        world.ledger.expect("a join ends before the call", false, is_early);
    }
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(dispatch))) {
        world.ledger.comes_out(payload);
    }
    for _ in 0..100 {
        match poll_hostile(world, joined.as_mut()) {
            Ok(Poll::Ready(())) => {
                return world.ledger.expect("what was joined is dropped", true, life.is_dropped());
            }
            Ok(Poll::Pending) => return world.ledger.expect("a join is over", true, false),
            Err(()) => {}
        }
    }
}
