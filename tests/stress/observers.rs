//! Observers of interest that are slow: they hold nobody up for long who has little to tell.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use topic_registry::{Interest, TopicRegistry};

use crate::{LONG, SHORT, within};

type Topics = TopicRegistry<String, u64>;

/// How many calls of the observer one change of a thread may come to.
const CALLS_A_CHANGE: u64 = 200;

/// What an observer that takes its time was told.
#[derive(Default)]
struct Observer {
    calls: AtomicU64,
    last: Mutex<Option<Interest>>,
    // Whose calls are counted.
    innocent: Mutex<Option<ThreadId>>,
    calls_of_the_innocent: AtomicU64,
    is_inside: AtomicBool,
}

impl Observer {
    fn tell(&self, interest: Interest) {
        assert!(
            !self.is_inside.swap(true, Ordering::SeqCst),
            "calls overlap"
        );
        let before = self.last.lock().unwrap().replace(interest);
        assert_ne!(
            before.unwrap_or(Interest::Lost),
            interest,
            "edges alternate"
        );
        self.calls.fetch_add(1, Ordering::Relaxed);
        if *self.innocent.lock().unwrap() == Some(thread::current().id()) {
            self.calls_of_the_innocent.fetch_add(1, Ordering::Relaxed);
        }
        // Those who have too much to tell have shown it by then.
        if self.calls_of_the_innocent.load(Ordering::Relaxed) <= CALLS_A_CHANGE {
            thread::sleep(Duration::from_millis(1));
        }
        self.is_inside.store(false, Ordering::SeqCst);
    }
}

/// Has a thread that registers and goes make few calls, beside one that does so all the time
/// on the same key.
fn nobody_tells_the_edges_of_all(time: Duration) {
    within(
        "a thread that registers and goes beside others",
        move || {
            let (topics, observer) = (Topics::new(), Arc::new(Observer::default()));
            let told = Arc::clone(&observer);
            let _observer = topics.observe_interest(move |_, interest| told.tell(interest));
            let (done, start) = (AtomicBool::new(false), Instant::now());
            let (mut rounds, mut most) = (0, 0);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        drop(topics.register_guard("key", |_| {}));
                    }
                });
                *observer.innocent.lock().unwrap() = Some(thread::current().id());
                while start.elapsed() < time && most <= CALLS_A_CHANGE {
                    let guard = topics.register_guard("key", |_| {});
                    most = most.max(observer.calls_of_the_innocent.swap(0, Ordering::Relaxed));
                    drop(guard);
                    most = most.max(observer.calls_of_the_innocent.swap(0, Ordering::Relaxed));
                    rounds += 1;
                }
                done.store(true, Ordering::Relaxed);
            });
            let calls = observer.calls.load(Ordering::Relaxed);
            println!("{calls} calls in {rounds} rounds, up to {most} for one change");
            assert!(
                most <= CALLS_A_CHANGE,
                "{most} calls for one change of a thread"
            );
            assert_eq!(
                topics.panic_count(),
                0,
                "calls overlap, or edges do not alternate"
            );
            assert_eq!(*observer.last.lock().unwrap(), Some(Interest::Lost));
            let _guard = topics.register_guard("key", |_| {});
            assert_eq!(*observer.last.lock().unwrap(), Some(Interest::Gained));
        },
    );
}

#[test]
fn no_thread_tells_an_observer_the_edges_of_all() {
    nobody_tells_the_edges_of_all(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn no_thread_tells_an_observer_the_edges_of_all_for_long() {
    nobody_tells_the_edges_of_all(LONG);
}
