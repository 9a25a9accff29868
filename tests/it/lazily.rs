//! Async notifications whose event is made only if somebody listens.

use std::cell::Cell;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use topic_registry::{AsyncTopicHandle, AsyncTopicRegistry, Delivery};

use crate::support::{Log, OnDrop, Wakes, now, poll, yields};

type Topics = AsyncTopicRegistry<String, str>;
type Dispatch<'d> = Pin<Box<dyn Future<Output = Delivery> + 'd>>;

/// Somewhere to notify: a topic, and a handle of it.
struct To {
    topics: Topics,
    handle: AsyncTopicHandle<String, str>,
}

type Way<'d, M> = fn(&'d To, M) -> Dispatch<'d>;

/// Every way to notify with an event that is made.
fn ways<'d, M: FnOnce() -> String + 'd>() -> [Way<'d, M>; 6] {
    [
        |to, make| Box::pin(to.handle.notify_with(make)),
        |to, make| Box::pin(to.handle.notify_sequential_with(make)),
        |to, make| {
            let registry: &topic_registry::AsyncRegistry<str> = &to.handle;
            Box::pin(registry.notify_with(make))
        },
        |to, make| {
            let registry: &topic_registry::AsyncRegistry<str> = &to.handle;
            Box::pin(registry.notify_sequential_with(make))
        },
        |to, make| Box::pin(to.topics.notify_with("a", make)),
        |to, make| Box::pin(to.topics.notify_sequential_with("a", make)),
    ]
}

fn to() -> To {
    let topics = Topics::new();
    let handle = topics.handle("a");
    To { topics, handle }
}

#[test]
fn without_handlers_no_event_is_made() {
    let to = to();
    let never = || -> String { unreachable!("nobody listens") };
    for way in ways() {
        assert_eq!(now(way(&to, never)), Delivery::default());
    }
    assert_eq!(now(to.topics.notify_with("unknown", never)).called(), 0);
    assert_eq!(
        now(to.topics.notify_sequential_with("unknown", never)).called(),
        0
    );
    assert_eq!(to.topics.len(), 1, "asking makes no topic");
}

/// Who listens is seen at the first poll, and not before.
#[test]
fn the_event_is_made_once_when_it_is_first_polled() {
    for way in 0..ways::<fn() -> String>().len() {
        let (to, count) = (to(), Cell::new(0));
        let make = || {
            count.set(count.get() + 1);
            format!("event {}", count.get())
        };
        let (early, late) = (ways()[way](&to, make), ways()[way](&to, make));
        let recorders = [0, 1].map(|_| to.handle.record(str::to_owned));
        assert_eq!(count.get(), 0);
        assert_eq!(now(early).called(), 2);
        assert_eq!(recorders.map(|recorder| recorder.take()), [["event 1"]; 2]);
        assert_eq!(
            (now(late).called(), count.get()),
            (0, 1),
            "they are gone by now"
        );
    }
}

#[test]
fn the_event_lives_as_long_as_the_dispatch() {
    async fn remember(event: &str) {
        yields().await;
        SEEN.with_borrow_mut(|seen| seen.push(event.to_owned()));
    }
    thread_local! {
        static SEEN: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    /// Says when it is dropped.
    struct Event<F: FnMut()>(String, OnDrop<F>);
    impl<F: FnMut()> std::borrow::Borrow<str> for Event<F> {
        fn borrow(&self) -> &str {
            &self.0
        }
    }
    for is_dropped_early in [false, true] {
        let (to, log, task) = (to(), Log::new(), Arc::<Wakes>::default());
        to.handle.register_async_fn(remember);
        let make = || {
            let log = log.clone();
            Event("one".to_owned(), OnDrop(move || log.push("dropped")))
        };
        let dispatches: [Dispatch<'_>; 4] = [
            Box::pin(to.handle.notify_with(make)),
            Box::pin(to.handle.notify_sequential_with(make)),
            Box::pin(to.topics.notify_with("a", make)),
            Box::pin(to.topics.notify_sequential_with("a", make)),
        ];
        for mut dispatch in dispatches {
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            assert_eq!((log.take(), SEEN.take()), (vec![], vec![]));
            if is_dropped_early {
                drop(dispatch);
                assert_eq!((log.take(), SEEN.take()), (vec!["dropped"], vec![]));
                continue;
            }
            let Poll::Ready(delivery) = poll(dispatch.as_mut(), &task) else {
                panic!("it has yielded once");
            };
            assert_eq!(
                (delivery.called(), SEEN.take()),
                (1, vec!["one".to_owned()])
            );
            drop(dispatch);
            assert_eq!(log.take(), ["dropped"]);
        }
    }
}

#[test]
fn a_panic_that_makes_no_event_unwinds_and_nobody_is_called() {
    let to = to();
    let recorder = to.handle.record(str::to_owned);
    let fails = || -> String { panic!("no event") };
    for way in ways() {
        let unwound = catch_unwind(AssertUnwindSafe(|| now(way(&to, fails))));
        let payload = unwound.expect_err("it is the caller's own");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"no event"));
    }
    assert_eq!((recorder.len(), to.topics.panic_count()), (0, 0));
    for way in ways() {
        assert_eq!(now(way(&to, || "an event".to_owned())).called(), 1);
    }
    assert_eq!(recorder.take(), ["an event"; 6]);
}

#[test]
fn its_future_is_sent_with_an_event_that_is() {
    fn is_sent(_: &(impl Future + Send)) {}
    let to = to();
    let make = || "event".to_owned();
    is_sent(&to.handle.notify_with(make));
    is_sent(&to.handle.notify_sequential_with(make));
    is_sent(&to.topics.notify_with("a", make));
    is_sent(&to.topics.notify_sequential_with("a", make));
}

/// A key that counts how often it is hashed.
#[derive(Clone)]
struct Counted(Arc<AtomicUsize>);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, _: &mut H) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_key_is_looked_up_once() {
    let key = Counted(Arc::default());
    let topics = AsyncTopicRegistry::<Counted, u32>::new();
    topics.register(key.clone(), |_| async {});
    key.0.store(0, Ordering::Relaxed);
    assert_eq!(now(topics.notify_with(&key, || 1_u32)).called(), 1);
    assert_eq!(key.0.swap(0, Ordering::Relaxed), 1);
    assert_eq!(
        now(topics.notify_sequential_with(&key, || 1_u32)).called(),
        1
    );
    assert_eq!(key.0.swap(0, Ordering::Relaxed), 1);
}
