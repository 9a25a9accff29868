//! Joins that would wait for themselves, directly or through others, and those that only seem to.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use topic_registry::{JoinError, JoinGuard, SyncRegistry};

use crate::support::{gate, within};

type Registry = SyncRegistry<u32>;

/// A thread that is inside of one handler and there waits for another one, and a thread that is
/// inside of that and tries, when it is asked to, to wait for the first.
struct HalfCircle {
    ask: Sender<()>,
    outcomes: Receiver<Result<(), JoinError>>,
    waits: thread::JoinHandle<()>,
}

impl HalfCircle {
    fn new() -> Self {
        let (hand_over, handed_over) = mpsc::channel::<JoinGuard>();
        let ((ask, asked), (answer, outcomes)) = (mpsc::channel(), mpsc::channel());
        let second = inside(move || {
            let first = handed_over.recv().unwrap();
            for () in asked {
                answer.send(first.join_timeout(Duration::ZERO)).unwrap();
            }
        });
        let (told, waits) = mpsc::channel();
        let first = inside(move || told.send(second.join()).unwrap());
        hand_over.send(first).unwrap();
        let waits = thread::spawn(move || assert_eq!(waits.recv(), Ok(Ok(()))));
        let circle = Self {
            ask,
            outcomes,
            waits,
        };
        // It may not wait yet.
        while circle.ask() == JoinError::TimedOut {
            thread::yield_now();
        }
        circle
    }

    fn ask(&self) -> JoinError {
        self.ask.send(()).unwrap();
        self.outcomes.recv().unwrap().unwrap_err()
    }

    /// Lets the second thread out of its handler, and so the first.
    fn end(self) {
        drop(self.ask);
        self.waits.join().unwrap();
    }
}

/// A handler that a thread is inside of, for as long as that takes.
fn inside(body: impl FnOnce() + Send + 'static) -> JoinGuard {
    let (registry, body) = (Registry::new(), Mutex::new(Some(body)));
    let (enter, entered) = gate("the handler to be entered");
    let joinable = registry.options().joinable().register(move |_| {
        enter();
        let body = body.lock().unwrap().take();
        body.expect("it is called once")();
    });
    thread::spawn(move || assert_eq!(registry.notify(&0).panicked(), 0));
    entered();
    joinable
}

#[test]
fn a_join_that_ends_takes_no_other_wait_with_it() {
    within("two joins from inside of handlers", || {
        let [first, second] = [(); 2].map(|()| HalfCircle::new());
        second.end();
        assert_eq!(first.ask(), JoinError::Deadlock);
        first.end();
    });
}

#[test]
fn from_inside_of_the_handler_it_is_an_error_and_the_handler_is_removed() {
    within("a join from inside", || {
        let (registry, alive) = (Registry::new(), Arc::new(()));
        let slot = Arc::new(Mutex::new(None::<JoinGuard>));
        let (own, same, outcome) = (
            Arc::clone(&slot),
            registry.clone(),
            Arc::new(Mutex::new(None)),
        );
        let (answer, owned) = (Arc::clone(&outcome), Arc::clone(&alive));
        *slot.lock().unwrap() = Some(registry.options().joinable().register(move |event| {
            let _ = &owned;
            if *event < 3 {
                // Nested, so that this thread is inside several times.
                same.notify(&(event + 1));
            } else if let Some(joinable) = own.lock().unwrap().take() {
                *answer.lock().unwrap() = Some(joinable.join());
            }
        }));
        assert_eq!(registry.notify(&0).panicked(), 0);
        assert_eq!(*outcome.lock().unwrap(), Some(Err(JoinError::Inside)));
        assert!(registry.is_empty());
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "dropped by the last call that returned"
        );
    });
}

/// Each of `count` handlers, on a thread of its own, joins the next one's.
#[test]
fn handlers_that_join_each_other_in_a_circle_end_with_an_error() {
    for count in [2, 3, 5] {
        within("joins in a circle", move || {
            let inside = Arc::new(std::sync::Barrier::new(count));
            let slots: Vec<_> = (0..count).map(|_| Arc::new(Mutex::new(None))).collect();
            let outcomes = Arc::new(Mutex::new(Vec::new()));
            let registries: Vec<Registry> = (0..count).map(|_| Registry::new()).collect();
            for (at, registry) in registries.iter().enumerate() {
                let next: Arc<Mutex<Option<JoinGuard>>> = Arc::clone(&slots[(at + 1) % count]);
                let (inside, outcomes) = (Arc::clone(&inside), Arc::clone(&outcomes));
                let joinable = registry.options().joinable().register(move |_| {
                    inside.wait();
                    let joinable = next.lock().unwrap().take().expect("one joins each");
                    let outcome = joinable.join();
                    outcomes.lock().unwrap().push(outcome);
                });
                *slots[at].lock().unwrap() = Some(joinable);
            }
            thread::scope(|scope| {
                for registry in &registries {
                    scope.spawn(|| assert_eq!(registry.notify(&0).panicked(), 0));
                }
            });
            let outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
            let failed = outcomes.iter().filter(|outcome| **outcome == Err(JoinError::Deadlock));
            assert_eq!((outcomes.len(), failed.count()), (count, 1), "{outcomes:?}");
            assert!(registries.iter().all(SyncRegistry::is_empty));
        });
    }
}

/// What waits for a limited time breaks the circle by itself.
#[test]
fn a_wait_that_ends_by_itself_is_no_deadlock() {
    within("a join that waits for one with a time-out", || {
        let (first, second) = (Registry::new(), Registry::new());
        let inside = Arc::new(std::sync::Barrier::new(2));
        let slots = [(); 2].map(|()| Arc::new(Mutex::new(None::<JoinGuard>)));
        let [one, two] = slots.clone();
        let (started, waiting) = gate("the first to wait");
        let (met, outcomes) = (Arc::clone(&inside), Arc::new(Mutex::new(Vec::new())));
        let told = Arc::clone(&outcomes);
        *slots[0].lock().unwrap() = Some(first.options().joinable().register(move |_| {
            met.wait();
            let joinable = two.lock().unwrap().take().expect("it is joined once");
            started();
            let outcome = joinable.join_timeout(Duration::from_millis(200));
            told.lock().unwrap().push(("first", outcome));
        }));
        let (met, told) = (Arc::clone(&inside), Arc::clone(&outcomes));
        *slots[1].lock().unwrap() = Some(second.options().joinable().register(move |_| {
            met.wait();
            let joinable = one.lock().unwrap().take().expect("it is joined once");
            waiting();
            let outcome = joinable.join();
            told.lock().unwrap().push(("second", outcome));
        }));
        thread::scope(|scope| {
            scope.spawn(|| first.notify(&0));
            scope.spawn(|| second.notify(&0));
        });
        let outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
        assert!(outcomes.contains(&("second", Ok(()))), "{outcomes:?}");
        assert!(
            outcomes[0].0 == "first" && outcomes[0].1.is_err(),
            "{outcomes:?}"
        );
    });
}
