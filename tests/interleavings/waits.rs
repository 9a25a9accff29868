//! Waits for events, recorders, and joins of async handlers: a thread or a task that waits is woken
//! by the first event, and no value is returned twice.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use topic_registry::{HandlerId, SyncRegistry, TopicHandle, TopicRegistry, WaitError, WaitFor};

use super::sync::{Condvar, Mutex};
use super::{Count, Topics, together};

type Work = Box<dyn FnOnce() + Send>;

/// No time is ever up where runs are explored: a wait that nobody ends is found as one.
const HOUR: Duration = Duration::from_secs(3600);

/// A value that was made of an event. It is dropped exactly once.
struct Made {
    event: u32,
    drops: Count,
}

impl Drop for Made {
    fn drop(&mut self) {
        self.drops.up();
    }
}

/// A topic on which somebody waits for any event.
struct Stage {
    topics: Topics,
    topic: TopicHandle<u8, u32>,
    calls: Count,
    drops: Count,
}

impl Stage {
    fn new(topics: Topics) -> Self {
        Self {
            topic: topics.handle(0),
            topics,
            calls: Count::default(),
            drops: Count::default(),
        }
    }

    fn make(&self) -> impl Fn(&u32) -> Made + Send + Sync + use<> {
        let (calls, drops) = (self.calls.clone(), self.drops.clone());
        move |event| {
            calls.up();
            Made {
                event: *event,
                drops: drops.clone(),
            }
        }
    }

    fn wait_for(&self) -> WaitFor<Made> {
        let make = self.make();
        self.topic.wait_for(move |event| Some(make(event)))
    }

    /// Work that notifies of each of these.
    fn notifies<const N: usize>(&self, events: [u32; N]) -> Work {
        let topic = self.topic.clone();
        Box::new(move || {
            for event in events {
                assert_eq!(topic.notify(&event).panicked(), 0);
            }
        })
    }

    /// All that was made is gone, and so are the handler and the topic.
    fn has_ended(self) {
        let Self {
            topics,
            topic,
            calls,
            drops,
        } = self;
        assert_eq!(calls.get(), drops.get(), "each value is dropped once");
        assert!(topic.is_empty(), "it is registered");
        drop(topic);
        assert_eq!(topics.len(), 0, "a topic was left");
    }
}

/// A thread waits beside so many who notify: one of their first events is what it gets, and no
/// other.
pub(crate) fn wait_beside_notifiers(notifiers: u32) {
    let stage = Stage::new(Topics::new());
    let mut waiting = stage.wait_for();
    let mut work: Vec<_> = (0..notifiers).map(|number| stage.notifies([number, 9])).collect();
    let topic = stage.topic.clone();
    work.push(Box::new(move || {
        let made = waiting.wait_timeout(HOUR).expect("somebody notifies");
        assert!(made.event < notifiers, "not the first of its thread");
        let again = waiting.wait_timeout(HOUR).map(|made| made.event);
        assert_eq!(again, Err(WaitError::Removed), "given out twice");
        drop(waiting);
        assert_eq!(topic.notify(&9).called(), 0, "it was removed");
    }));
    together(work);
    stage.has_ended();
}

/// Who waits goes while somebody notifies, and while somebody else removes the handler.
pub(crate) fn wait_that_is_dropped() {
    let stage = Stage::new(Topics::new());
    let (waiting, topic) = (stage.wait_for(), stage.topic.clone());
    let (id, remover) = (waiting.id(), stage.topic.clone());
    together(vec![
        stage.notifies([1]),
        Box::new(move || _ = remover.unregister(id)),
        Box::new(move || {
            drop(waiting);
            assert_eq!(topic.notify(&9).called(), 0, "it was removed");
        }),
    ]);
    stage.has_ended();
}

/// How the handler of one who waits may be removed, by name.
type Removal = (&'static str, fn(&SyncRegistry<u32>, HandlerId));

pub(crate) const REMOVALS: [Removal; 2] = [
    ("unregister", |registry, id| {
        assert!(registry.unregister(id));
    }),
    ("clear", |registry, _| registry.clear()),
];

/// A thread waits while its handler is removed, also if a pin keeps the handler, and calls are
/// timed: it gets an event that came before, and none that came later.
pub(crate) fn wait_beside_a_removal(removal: Removal, notified: [bool; 2], is_timed: bool) {
    let topics = if is_timed {
        TopicRegistry::builder().on_slow(HOUR, |_, _, _| {}).build()
    } else {
        Topics::new()
    };
    let stage = Stage::new(topics);
    let (waiting, topic, pinned) = (stage.wait_for(), stage.topic.clone(), stage.topic.pin());
    let (id, (_, remove), [before, after]) = (waiting.id(), removal, notified);
    together(vec![
        Box::new(move || {
            let called = if before { topic.notify(&1).called() } else { 0 };
            assert_eq!(called == 1, before);
            if before {
                assert!(!topic.unregister(id), "its event has removed it");
            } else {
                remove(&topic, id);
            }
            if after {
                assert_eq!(topic.notify(&2).called(), 0, "it was removed");
            }
        }),
        Box::new(move || {
            let outcome = waiting.wait().map(|made| made.event);
            assert_eq!(
                outcome,
                if before {
                    Ok(1)
                } else {
                    Err(WaitError::Removed)
                }
            );
        }),
    ]);
    drop(pinned);
    stage.has_ended();
}

/// A thread waits while one notifies and another one removes the handler, which a pin keeps: it
/// gets the event, or an error.
pub(crate) fn wait_beside_a_notifier_and_a_removal() {
    let stage = Stage::new(Topics::new());
    let (waiting, topic, pinned) = (stage.wait_for(), stage.topic.clone(), stage.topic.pin());
    let (id, calls) = (waiting.id(), stage.calls.clone());
    let outcome = Arc::new(std::sync::Mutex::new(None));
    let told = Arc::clone(&outcome);
    together(vec![
        stage.notifies([1]),
        Box::new(move || _ = topic.unregister(id)),
        Box::new(move || {
            let waited = waiting.wait().map(|made| made.event);
            *told.lock().unwrap() = Some(waited);
        }),
    ]);
    let outcome = outcome.lock().unwrap().take();
    match outcome.expect("it has waited") {
        Ok(event) => assert_eq!((event, calls.get()), (1, 1)),
        Err(error) => assert_eq!(error, WaitError::Removed),
    }
    drop(pinned);
    stage.has_ended();
}

/// A thread waits while the last owner of the registry goes.
pub(crate) fn wait_beside_the_last_clone() {
    let registry = SyncRegistry::<u32>::new();
    let waiting = registry.wait_for(|event| Some(*event));
    together(vec![
        Box::new(move || drop(registry)),
        Box::new(move || assert_eq!(waiting.wait(), Err(WaitError::Removed))),
    ]);
}

/// A task waits, beside one who notifies, or who removes its handler: it is woken.
pub(crate) fn await_beside_an_end(is_notified: bool) {
    let stage = Stage::new(Topics::new());
    let (waiting, topic, pinned) = (stage.wait_for(), stage.topic.clone(), stage.topic.pin());
    let id = waiting.id();
    together(vec![
        Box::new(move || {
            if is_notified {
                assert_eq!(topic.notify(&1).called(), 1);
            } else {
                assert!(topic.unregister(id));
            }
        }),
        Box::new(move || {
            let event = block_on(waiting).map(|made| made.event);
            assert_eq!(event, is_notified.then_some(1).ok_or(WaitError::Removed));
        }),
    ]);
    drop(pinned);
    stage.has_ended();
}

/// A thread waits for what so many others notify of, and finds it in their order.
pub(crate) fn record_beside_notifiers(notifiers: u32) {
    let stage = Stage::new(Topics::new());
    let recorder = stage.topic.record(stage.make());
    let mut work: Vec<_> = (0..notifiers).map(|number| stage.notifies([number])).collect();
    work.push(Box::new(move || {
        assert_eq!(recorder.wait_for_count(notifiers as usize, HOUR), Ok(()));
        let mut events: Vec<_> = recorder.take().iter().map(|made| made.event).collect();
        events.sort_unstable();
        assert!(events.into_iter().eq(0..notifiers));
        assert!(recorder.is_empty());
    }));
    together(work);
    stage.has_ended();
}

/// A thread waits for two events, of which one comes; the recorder is removed, though a pin keeps
/// it.
pub(crate) fn record_beside_its_removal() {
    let stage = Stage::new(Topics::new());
    let (recorder, topic) = (stage.topic.record(stage.make()), stage.topic.clone());
    let (id, pinned, calls) = (recorder.id(), stage.topic.pin(), stage.calls.clone());
    together(vec![
        stage.notifies([1]),
        Box::new(move || assert!(topic.unregister(id))),
        Box::new(move || {
            assert_eq!(recorder.wait_for_count(2, HOUR), Err(WaitError::Removed));
            assert!(recorder.take().len() <= calls.get() as usize);
        }),
    ]);
    drop(pinned);
    stage.has_ended();
}

/// What wakes a thread that polls.
struct Parker {
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_one();
    }
}

impl Parker {
    fn park(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = self.woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}

/// Polls a future to its end, each time that it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    let parker = Arc::new(Parker {
        is_woken: Mutex::new(false),
        woken: Condvar::new(),
    });
    let waker = Waker::from(Arc::clone(&parker));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        parker.park();
    }
}

#[cfg(feature = "async")]
pub(crate) mod asynchronous {
    use std::future::poll_fn;

    use topic_registry::AsyncRegistry;

    use super::super::Slow;
    use super::*;

    /// Is pending once.
    async fn yields() {
        let mut has_yielded = false;
        poll_fn(|context| {
            if has_yielded {
                return Poll::Ready(());
            }
            has_yielded = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// A task joins a handler beside others that notify, to the end or to the first wait: it is
    /// woken when the last future of the handler is gone, and its closure.
    pub(crate) fn join_beside_notifiers(notifiers: usize, is_cancelled: bool) {
        let (registry, alive) = (AsyncRegistry::<u32>::new(), Arc::new(()));
        let (owned, shared) = (Slow(Arc::clone(&alive)), Arc::clone(&alive));
        let joinable = registry.options().joinable().register(move |_| {
            let _ = &owned;
            let owned = Slow(Arc::clone(&shared));
            async move {
                yields().await;
                drop(owned);
            }
        });
        let mut work: Vec<Work> = Vec::new();
        for _ in 0..notifiers {
            let registry = registry.clone();
            work.push(Box::new(move || {
                let mut dispatch = pin!(registry.notify(&0));
                if is_cancelled {
                    let mut context = Context::from_waker(Waker::noop());
                    _ = dispatch.as_mut().poll(&mut context);
                } else {
                    assert_eq!(block_on(dispatch).panicked(), 0);
                }
            }));
        }
        work.push(Box::new(move || {
            block_on(joinable.join_async());
            assert_eq!(Arc::strong_count(&alive), 1, "something of it was alive");
        }));
        together(work);
        assert!(registry.is_empty());
    }
}
