//! The async topics of a run: dispatches that end beside others that are dropped while they
//! are pending, and handlers that come and go meanwhile.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::task::{JoinSet, yield_now};
use topic_registry::{Delivery, HandlerGuard};

use crate::ledger::expect;
use crate::life::{Life, Owned, look_around};
use crate::world::{FIXED, PRIORITIES, World, fixed_handlers};

const TASKS: usize = 6;
const THREADS: usize = 2;
/// The key of a topic that comes and goes.
const LOOSE: usize = FIXED;

/// Runs tasks until the world is over.
pub(crate) fn run(world: &Arc<World>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .build()
        .expect("the system starts threads");
    let guards = register_fixed(world);
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let world = Arc::clone(world);
            tasks.spawn(async move {
                while !world.is_over() {
                    notify(&world, fastrand::usize(..FIXED)).await;
                    churn(&world, fastrand::usize(..=LOOSE)).await;
                    join(&world).await;
                    wait(&world).await;
                }
            });
        }
        tasks.join_all().await;
    });
    drop(guards);
}

fn register_fixed(world: &Arc<World>) -> Vec<HandlerGuard> {
    let register = |(key, n): (usize, usize)| {
        let (of, (_, handler)) = (Arc::clone(world), handler(world, false));
        let topics = &world.async_topics;
        topics
            .handle(key)
            .options()
            .priority(PRIORITIES[n])
            .guard()
            .register(move |event| {
                of.async_fixed[key].called[n].add(1);
                handler(event)
            })
    };
    fixed_handlers().map(register).collect()
}

/// Notifies a topic of handlers that stay. They all start at the first poll, so that it makes
/// no difference for them if the dispatch is dropped after that.
async fn notify(world: &World, key: usize) {
    look_around();
    let topic = world.async_topics.handle(key);
    let delivery = match fastrand::u8(..3) {
        0 => Some(topic.notify_sequential(&key).await),
        1 => cancelled(topic.notify(&key)).await,
        _ => cancelled(world.async_topics.notify(&key, &key)).await,
    };
    world.async_fixed[key].notified.add(1);
    world.ledger.notifications.add(1);
    if let Some(delivery) = delivery {
        expect(
            "handlers that stay were called",
            true,
            delivery.called() >= PRIORITIES.len(),
        );
    }
}

/// Polls a dispatch some times, and drops it if it has not ended by then.
async fn cancelled(dispatch: impl Future<Output = Delivery>) -> Option<Delivery> {
    let (mut dispatch, mut polls) = (pin!(dispatch), fastrand::u8(1..5));
    poll_fn(|context| {
        polls -= 1;
        match dispatch.as_mut().poll(context) {
            Poll::Ready(delivery) => Poll::Ready(Some(delivery)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Registers a handler, notifies beside it, and removes it.
async fn churn(world: &Arc<World>, key: usize) {
    let topics = &world.async_topics;
    let is_once = fastrand::bool();
    let (life, handler) = handler(world, is_once);
    let id = if is_once {
        topics.register_once(key, handler)
    } else {
        topics.register(key, handler)
    };
    yield_now().await;
    if key == LOOSE {
        look_around();
        cancelled(topics.notify_sequential(&key, &key)).await;
        world.ledger.notifications.add(1);
    }
    match (topics.unregister(&key, id), is_once) {
        (true, true) => {
            life.is_over();
            expect("calls of a once handler that was removed", 0, life.calls());
        }
        // Else its only call may be about to begin.
        (false, true) => {}
        (is_removed, false) => {
            expect("an async handler was there to remove", true, is_removed);
            life.is_removed();
        }
    }
}

/// Waits for the end of a handler, beside a dispatch that ends or is dropped.
async fn join(world: &Arc<World>) {
    let (life, handler) = handler(world, false);
    let (key, topics) = (world.own_key(), &world.async_topics);
    let topic = topics.handle(key);
    let joinable = topic.options().joinable().register(handler);
    let dispatch = tokio::spawn(async move { cancelled(topic.notify(&key)).await });
    if fastrand::bool() {
        yield_now().await;
    }
    joinable.join_async().await;
    life.is_joined();
    world.ledger.notifications.add(1);
    expect("a dispatch ends", true, dispatch.await.is_ok());
    expect(
        "a topic that was joined is there",
        false,
        topics.contains_key(&key),
    );
}

/// Waits for an event of another task.
async fn wait(world: &Arc<World>) {
    let ledger = Arc::clone(&world.ledger);
    let topic = world.async_topics.handle(world.own_key());
    let waiting = topic.wait_for(move |event| Some((*event, Owned::new(&ledger, true).harmless())));
    let told = topic.clone();
    let dispatch = tokio::spawn(async move { told.notify(told.key()).await.called() });
    let found = waiting.await.map(|(event, _)| event);
    expect(
        "the event that a task waits for",
        Some(*topic.key()),
        found.ok(),
    );
    world.ledger.notifications.add(1);
    expect(
        "the handler that waits is called",
        Some(1),
        dispatch.await.ok(),
    );
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A handler whose futures wait a few times, and throw at times.
fn handler(
    world: &World,
    once: bool,
) -> (Arc<Life>, impl Fn(&usize) -> Waiting + Send + Sync + use<>) {
    world.ledger.registrations.add(1);
    let mut owned = Owned::new(&world.ledger, once);
    if once {
        owned = owned.harmless();
    }
    let life = Arc::clone(&owned.life);
    let handler = move |_: &usize| -> Waiting {
        owned.enter();
        let future = Owned::new(&owned.ledger, true);
        Box::pin(async move {
            for _ in 0..fastrand::u8(..3) {
                yield_now().await;
            }
            if !future.throws_when_dropped() && fastrand::u8(..32) == 0 {
                future.ledger.throw();
            }
            look_around();
        })
    };
    (life, handler)
}
