//! Wakers that panic or act when they are cloned, woken or dropped.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use std::thread;

use super::dice::below;
use super::owned::Owned;
use super::world::World;

/// The caller's own waker, which means no harm when the caller drops it.
static ORIGINAL: RawWakerVTable = RawWakerVTable::new(clone, free, wake_by_ref, free);

static CLONE: RawWakerVTable = RawWakerVTable::new(clone, drop_clone, wake_by_ref, drop_clone);

/// Returns a waker whose clones do anything, if wakers are hostile.
pub(super) fn hostile_waker(world: &Arc<World>) -> Waker {
    let data = Arc::into_raw(Arc::clone(world));
    // SAFETY: each waker owns a reference, which `free` or `drop_clone` takes once.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &ORIGINAL)) }
}

fn clone(data: *const ()) -> RawWaker {
    let world = world_of(data);
    misbehave(&world);
    world.ledger.created.add(1);
    RawWaker::new(Arc::into_raw(world).cast(), &CLONE)
}

fn free(data: *const ()) {
    drop(take(data));
}

fn wake_by_ref(data: *const ()) {
    misbehave(&world_of(data));
}

/// Also what a clone does when it is woken, which uses it up.
fn drop_clone(data: *const ()) {
    let world = take(data);
    world.ledger.dropped.add(1);
    misbehave(&world);
}

fn world_of(data: *const ()) -> Arc<World> {
    // SAFETY: the waker, which is there, owns a reference.
    unsafe { Arc::increment_strong_count(data.cast::<World>()) };
    take(data)
}

fn take(data: *const ()) -> Arc<World> {
    // SAFETY: the waker that owned the reference is used up, or another one was made.
    unsafe { Arc::from_raw(data.cast()) }
}

fn misbehave(world: &Arc<World>) {
    if !world.hostile.wakers {
        return;
    }
    match below(8) {
        // What panics while its thread unwinds may be in a frame that is not the library's.
        0 if !thread::panicking() => world.ledger.throw(true),
        1 => world.act(),
        _ => {}
    }
}

/// Polls once, with a waker that may come back with a panic: the caller's own.
pub(super) fn poll_hostile<F: Future>(
    world: &Arc<World>,
    future: Pin<&mut F>,
) -> Result<Poll<F::Output>, ()> {
    let waker = hostile_waker(world);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        future.poll(&mut Context::from_waker(&waker))
    }));
    polled.map_err(|payload| world.ledger.comes_out(payload))
}

/// A wait of a task loses no event, whatever its wakers do.
pub(super) fn poll_a_wait(world: &Arc<World>) {
    let topic = world.topics().handle(world.key(world.own_number()));
    let owned = Owned::new(world);
    let mut waiting = topic.wait_for(move |_| {
        owned.ledger().called.add(1);
        owned.enter();
        Some(Owned::biting(&owned.world, false))
    });
    for _ in 0..below(3) {
        let polled = poll_hostile(world, Pin::new(&mut waiting));
        world.ledger.expect(
            "a wait ends before its event",
            false,
            matches!(polled, Ok(Poll::Ready(_))),
        );
    }
    if below(4) == 0 {
        return;
    }
    world.ledger.delivered.add(topic.notify(&0).called() as u64);
    // A poll that unwinds out of a clone may be repeated.
    for _ in 0..100 {
        match poll_hostile(world, Pin::new(&mut waiting)) {
            Ok(Poll::Ready(found)) => {
                return world.ledger.expect("the event that came", true, found.is_ok());
            }
            Ok(Poll::Pending) => return world.ledger.expect("a wait is over", true, false),
            Err(()) => {}
        }
    }
}
