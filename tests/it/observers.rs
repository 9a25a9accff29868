//! What observers of topics promise, whatever they observe: there may be several, and each ends
//! with its guard.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use topic_registry::{Interest, ObserverGuard, SyncFlavor, Topics};

use crate::support::{Bomb, Log, OnDrop, Subject, Tested, TopicsOf, gate, within};

/// A topic, and what is observed of it. The tests are written against this.
struct Observed<S, W>(S, PhantomData<fn(W)>);

/// What is observed.
trait What<F: Tested>: 'static {
    /// Whether a new observer is called for handlers that are registered already.
    const TELLS_WHAT_IS: bool;

    /// Sets an observer that runs `call` once while a topic comes to have two handlers.
    fn observe(
        topics: &Topics<F, String, F::Named>,
        call: impl Fn() + Send + Sync + 'static,
    ) -> ObserverGuard;
}

struct Gained;
struct Crowded;

impl<F: Tested> What<F> for Gained {
    const TELLS_WHAT_IS: bool = true;

    fn observe(
        topics: &Topics<F, String, F::Named>,
        call: impl Fn() + Send + Sync + 'static,
    ) -> ObserverGuard {
        topics.observe_interest(move |_, interest| match interest {
            Interest::Gained => call(),
            Interest::Lost => {}
        })
    }
}

impl<F: Tested> What<F> for Crowded {
    const TELLS_WHAT_IS: bool = false;

    fn observe(
        topics: &Topics<F, String, F::Named>,
        call: impl Fn() + Send + Sync + 'static,
    ) -> ObserverGuard {
        topics.observe_handler_limit(1, move |_, _| call())
    }
}

impl<S: Subject, W: What<S::Flavor>> Observed<S, W> {
    fn fresh() -> Self {
        Self(S::fresh(), PhantomData)
    }

    fn topics(&self) -> &TopicsOf<S> {
        self.0.topics().expect("it is used by its key")
    }

    fn observe(&self, call: impl Fn() + Send + Sync + 'static) -> ObserverGuard {
        W::observe(self.topics(), call)
    }

    /// Sets one that writes down that it was called.
    fn log<T: Clone + Send + Sync + 'static>(&self, log: &Log<T>, entry: T) -> ObserverGuard {
        let log = log.clone();
        self.observe(move || log.push(entry.clone()))
    }

    /// Has each observer called once.
    fn come_and_go(&self) {
        self.0.register(0, |_| {});
        self.0.register(0, |_| {});
        self.0.clear();
    }
}

impl<S: Subject, W> Clone for Observed<S, W> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

/// Makes one test of each behaviour for everything that can be observed, sync and async.
macro_rules! for_everything_observed {
    ($($behaviour:ident)*) => {
        $(mod $behaviour {
            use super::{Crowded, Gained, $behaviour as behaviour};
            use crate::support::*;

            #[test]
            fn interest() {
                behaviour::<ByKey, Gained>();
            }
            #[test]
            fn crowds() {
                behaviour::<ByKey, Crowded>();
            }
            #[cfg(feature = "async")]
            #[test]
            fn async_interest() {
                behaviour::<AsyncByKey, Gained>();
            }
            #[cfg(feature = "async")]
            #[test]
            fn async_crowds() {
                behaviour::<AsyncByKey, Crowded>();
            }
        })*
    };
}

for_everything_observed! {
    several_are_called_in_their_order_until_each_has_ended
    one_that_was_forgotten_stays_as_long_as_the_topics
    a_guard_does_not_keep_the_topics_and_does_nothing_after_them
    one_that_owns_the_topics_keeps_them_until_it_has_ended
    one_may_end_itself_from_inside_of_its_call
    one_that_is_called_when_it_ends_goes_on_but_is_not_called_again
    no_call_starts_after_the_guard_was_dropped
    one_may_set_another_which_is_not_called_for_the_same_change
    one_that_panics_is_counted_and_the_others_are_called
    a_destructor_that_panics_is_contained_and_counted
    a_destructor_may_call_everything
    one_may_own_the_guards_of_itself_and_of_another
}

fn several_are_called_in_their_order_until_each_has_ended<S: Subject, W: What<S::Flavor>>() {
    let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
    let [first, second, third] = [1, 2, 3].map(|number| observed.log(&log, number));
    observed.come_and_go();
    assert_eq!(log.take(), [1, 2, 3]);
    drop(second);
    observed.come_and_go();
    assert_eq!(log.take(), [1, 3]);
    let fourth = observed.log(&log, 4);
    drop(first);
    observed.come_and_go();
    assert_eq!(log.take(), [3, 4]);
    drop((third, fourth));
    observed.come_and_go();
    assert!(log.take().is_empty());
}

/// An observer that writes down that it is called, and that it is dropped.
fn log_with_drop<S: Subject, W: What<S::Flavor>>(
    observed: &Observed<S, W>,
    log: &Log<&'static str>,
) -> ObserverGuard {
    let (told, dropped) = (log.clone(), log.clone());
    let on_drop = OnDrop(move || dropped.push("dropped"));
    observed.observe(move || {
        let _ = &on_drop;
        told.push("called");
    })
}

fn one_that_was_forgotten_stays_as_long_as_the_topics<S: Subject, W: What<S::Flavor>>() {
    let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
    let guard = log_with_drop(&observed, &log);
    assert_eq!(format!("{guard:?}"), "ObserverGuard { .. }");
    guard.forget();
    observed.come_and_go();
    assert_eq!(log.take(), ["called"]);
    drop(observed);
    assert_eq!(log.take(), ["dropped"]);
}

fn a_guard_does_not_keep_the_topics_and_does_nothing_after_them<S: Subject, W: What<S::Flavor>>() {
    let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
    // What is shared stays with a handle, which one of them owns as well.
    let handle = observed.topics().handle("topic");
    let (owned, alive) = (handle.clone(), Arc::new(()));
    let is_alive = Arc::clone(&alive);
    let guards = [
        log_with_drop(&observed, &log),
        observed.observe(move || _ = (&owned, &is_alive)),
    ];
    drop(observed);
    assert_eq!(log.take(), ["dropped"]);
    assert_eq!(Arc::strong_count(&alive), 1, "it kept itself by the handle");
    drop(guards);
    drop(handle);
    assert!(log.take().is_empty());
}

fn one_that_owns_the_topics_keeps_them_until_it_has_ended<S: Subject, W: What<S::Flavor>>() {
    within("an observer that owns the topics", || {
        let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
        let (same, told) = (observed.clone(), log.clone());
        let other = log_with_drop(&observed, &log);
        let guard = observed.observe(move || {
            let _ = &same;
            told.push("called too");
        });
        observed.come_and_go();
        assert_eq!(log.take(), ["called", "called too"]);
        drop(observed);
        assert!(log.take().is_empty());
        drop(guard);
        assert_eq!(log.take(), ["dropped"], "the topics were kept");
        drop(other);
    });
}

fn one_may_end_itself_from_inside_of_its_call<S: Subject, W: What<S::Flavor>>() {
    within("an observer that ends itself", || {
        let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
        let (own, same) = (Arc::new(Mutex::new(None)), observed.clone());
        let (slot, told, dropped) = (Arc::clone(&own), log.clone(), log.clone());
        let on_drop = OnDrop(move || dropped.push("dropped"));
        let guard = observed.observe(move || {
            let _ = &on_drop;
            told.push("begins");
            drop(slot.lock().unwrap().take());
            same.come_and_go();
            told.push("ends");
        });
        *own.lock().unwrap() = Some(guard);
        observed.come_and_go();
        assert_eq!(log.take(), ["begins", "ends", "dropped"]);
    });
}

fn one_that_is_called_when_it_ends_goes_on_but_is_not_called_again<
    S: Subject,
    W: What<S::Flavor>,
>() {
    within("an observer that ends while it is called", || {
        let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
        let (entered, is_entered) = gate("the observer");
        let (leave, left) = gate("the end of the observer");
        let (told, dropped) = (log.clone(), log.clone());
        let this = || thread::current().id();
        let on_drop = OnDrop(move || dropped.push(("dropped", this())));
        let guard = observed.observe(move || {
            let _ = &on_drop;
            told.push(("begins", this()));
            entered();
            left();
            told.push(("ends", this()));
        });
        let same = observed.clone();
        let other = thread::spawn(move || {
            same.come_and_go();
            this()
        });
        is_entered();
        drop(guard);
        assert_eq!(log.take().len(), 1, "the end of one waits for nothing");
        observed.0.clear();
        observed.come_and_go();
        leave();
        let other = other.join().unwrap();
        assert_eq!(log.take(), [("ends", other), ("dropped", other)]);
        observed.come_and_go();
        assert!(log.take().is_empty());
    });
}

/// Two threads make calls. One that has learned, from whatever was called, that the drop of the
/// guard has returned, makes no call of it any more.
fn no_call_starts_after_the_guard_was_dropped<S: Subject, W: What<S::Flavor>>() {
    const ROUNDS: usize = 300;
    thread_local! {
        static HAS_LEARNED: Cell<bool> = const { Cell::new(false) };
    }
    within("observers that end beside changes", || {
        let wrong = Arc::new(AtomicUsize::new(0));
        for _ in 0..ROUNDS {
            let observed = Observed::<S, W>::fresh();
            let has_ended = Arc::new(AtomicBool::new(false));
            let (ended, wrongly) = (Arc::clone(&has_ended), Arc::clone(&wrong));
            let learn = move || HAS_LEARNED.set(ended.load(Ordering::Acquire));
            let _first = observed.observe(learn.clone());
            let guard = observed.observe(move || {
                wrongly.fetch_add(usize::from(HAS_LEARNED.get()), Ordering::Relaxed);
                // For the next call of the same edge.
                learn();
            });
            let start = Barrier::new(3);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        (0..16).for_each(|_| observed.come_and_go());
                    });
                }
                start.wait();
                drop(guard);
                has_ended.store(true, Ordering::Release);
            });
        }
        assert_eq!(wrong.load(Ordering::Relaxed), 0, "calls after the end");
    });
}

/// Otherwise, those that each set another one would never come to an end.
fn one_may_set_another_which_is_not_called_for_the_same_change<S: Subject, W: What<S::Flavor>>() {
    fn set<S: Subject, W: What<S::Flavor>>(
        observed: &Observed<S, W>,
        guards: &Arc<Mutex<Vec<ObserverGuard>>>,
        log: &Log<usize>,
        number: usize,
    ) {
        let (same, all, told) = (observed.clone(), Arc::clone(guards), log.clone());
        let guard = observed.observe(move || {
            told.push(number);
            if number < 9 {
                set(&same, &all, &told, number + 1);
            }
        });
        guards.lock().unwrap().push(guard);
    }
    within("an observer that sets another", || {
        let (observed, guards, log) = (Observed::<S, W>::fresh(), Arc::default(), Log::new());
        set(&observed, &guards, &log, 0);
        observed.come_and_go();
        if W::TELLS_WHAT_IS {
            // Each was called for the handlers that its creator found.
            assert_eq!(log.take(), (0..10).collect::<Vec<_>>());
        } else {
            assert_eq!(log.take(), [0]);
            observed.come_and_go();
            assert_eq!(log.take(), [0, 1]);
        }
        let all = std::mem::take(&mut *guards.lock().unwrap());
        drop(all);
        observed.come_and_go();
        assert!(log.take().is_empty());
    });
}

fn one_that_panics_is_counted_and_the_others_are_called<S: Subject, W: What<S::Flavor>>() {
    let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
    let _first = observed.observe(|| panic_any(Bomb("thrown by an observer")));
    let _second = observed.log(&log, "called");
    // What it throws panics in turn.
    for panics in [2, 4] {
        observed.come_and_go();
        assert_eq!(
            (log.take(), observed.0.panic_count()),
            (vec!["called"], panics)
        );
    }
}

fn a_destructor_that_panics_is_contained_and_counted<S: Subject, W: What<S::Flavor>>() {
    let observed = Observed::<S, W>::fresh();
    let bomb = Bomb("dropped with its guard");
    let guard = observed.observe(move || _ = &bomb);
    drop(guard);
    assert_eq!(observed.0.panic_count(), 1);

    let bomb = Bomb("dropped while its thread unwinds");
    let unwinds = catch_unwind(AssertUnwindSafe(|| {
        let _guard = observed.observe(move || _ = &bomb);
        panic!("beside a guard");
    }));
    assert!(unwinds.is_err());
    assert_eq!(observed.0.panic_count(), 2);

    let (bomb, own) = (
        Bomb("dropped by its own last call"),
        Arc::new(Mutex::new(None)),
    );
    let slot = Arc::clone(&own);
    let guard = observed.observe(move || {
        let _ = &bomb;
        drop(slot.lock().unwrap().take());
    });
    *own.lock().unwrap() = Some(guard);
    observed.come_and_go();
    assert_eq!(observed.0.panic_count(), 3);
}

fn a_destructor_may_call_everything<S: Subject, W: What<S::Flavor>>() {
    within("the destructor of an observer", || {
        let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
        let _other = observed.log(&log, "called");
        let (same, dropped) = (observed.clone(), log.clone());
        let on_drop = OnDrop(move || {
            drop(same.observe(|| {}));
            same.come_and_go();
            same.0.use_everything();
            dropped.push("dropped");
        });
        drop(observed.observe(move || _ = &on_drop));
        let calls = log.take();
        assert_eq!((calls[0], calls.last()), ("called", Some(&"dropped")));
    });
}

/// They do not keep each other.
fn one_may_own_the_guards_of_itself_and_of_another<S: Subject, W: What<S::Flavor>>() {
    let (observed, log) = (Observed::<S, W>::fresh(), Log::new());
    for _ in 0..2 {
        let guards = Arc::new(Mutex::new(vec![log_with_drop(&observed, &log)]));
        let owned = Arc::clone(&guards);
        let dropped = log.clone();
        let on_drop = OnDrop(move || dropped.push("the owner dropped"));
        let guard = observed.observe(move || _ = (&on_drop, &owned));
        guards.lock().unwrap().push(guard);
    }
    observed.come_and_go();
    assert_eq!(log.take(), ["called"; 2]);
    drop(observed);
    let mut drops = log.take();
    drops.sort_unstable();
    assert_eq!(
        drops,
        [
            "dropped",
            "dropped",
            "the owner dropped",
            "the owner dropped"
        ]
    );
}

#[test]
fn a_guard_can_be_kept_anywhere() {
    fn check<T: Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
    check::<ObserverGuard>();
}

/// Each of them with a limit of its own: linear, or this would take minutes.
#[test]
fn many_observers_end_one_after_the_other() {
    within("the ends of many observers", || {
        let topics = Topics::<SyncFlavor, u32, u32>::new();
        let guards: Vec<_> = (1..=40_000)
            .map(|limit| topics.observe_handler_limit(limit, |_, _| {}))
            .collect();
        drop(guards);
    });
}
