//! Closures of handlers that come and go beside threads that dispatch all the time, in every way:
//! each is dropped exactly once, not during a call, not under a lock, and not later than the last
//! dispatch.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::{HandlerGuard, SyncRegistry, TopicHandle, TopicRegistry};

use crate::{LONG, SHORT, within};

type Topics = TopicRegistry<String, u64>;
type Handle = TopicHandle<String, u64>;

/// How many closures were made, and how many were dropped.
#[derive(Default)]
struct Tally {
    made: AtomicU64,
    dropped: AtomicU64,
    dropped_twice: AtomicU64,
    called_late: AtomicU64,
    calls: AtomicU64,
}

/// What a closure owns.
struct Owned {
    tally: Arc<Tally>,
    // Not in the closure itself, which is freed with it.
    is_dropped: Arc<AtomicBool>,
}

impl Owned {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.made.fetch_add(1, Ordering::Relaxed);
        Self {
            tally: Arc::clone(tally),
            is_dropped: Arc::default(),
        }
    }

    fn call(&self) {
        let (tally, is_dropped) = (Arc::clone(&self.tally), Arc::clone(&self.is_dropped));
        tally.calls.fetch_add(1, Ordering::Relaxed);
        // For writers to come in between.
        if tally.calls.load(Ordering::Relaxed) % 64 == 0 {
            thread::yield_now();
        }
        let is_late = is_dropped.load(Ordering::SeqCst);
        tally.called_late.fetch_add(u64::from(is_late), Ordering::Relaxed);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let is_second = self.is_dropped.swap(true, Ordering::SeqCst);
        let tally = &self.tally;
        tally.dropped_twice.fetch_add(u64::from(is_second), Ordering::Relaxed);
        tally.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Notifies when it is dropped, with its thread.
struct Late(Handle);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.notify(&0);
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

/// A registry whose dispatch is inside of itself so often, and then notifies the handle; until the
/// guard is dropped.
fn nested(handle: &Handle) -> (SyncRegistry<u64>, HandlerGuard) {
    let (nested, handle) = (SyncRegistry::<u64>::new(), handle.clone());
    let same = nested.clone();
    let guard = nested.register_guard(move |depth| {
        let delivery = match depth {
            0 => handle.notify(&0),
            depth => same.notify(&(depth - 1)),
        };
        assert_eq!(delivery.panicked(), 0);
    });
    (nested, guard)
}

/// Each way to dispatch over the topic.
fn dispatchers(topics: &Topics, handle: &Handle) -> Vec<Box<dyn Fn() + Send>> {
    let (by_handle, by_key, (nested, guard), ends) = (
        handle.clone(),
        topics.clone(),
        nested(handle),
        handle.clone(),
    );
    vec![
        Box::new(move || _ = by_handle.notify(&0)),
        Box::new(move || _ = by_key.notify("key", &0)),
        Box::new(move || {
            let _ = &guard;
            for depth in [40, 7, 6] {
                assert_eq!(nested.notify(&depth).panicked(), 0);
            }
        }),
        Box::new(move || {
            let handle = ends.clone();
            let thread = thread::spawn(move || {
                // Set before this thread has anything of the library's: it is dropped after that.
                LATE.set(Some(Late(handle.clone())));
                handle.notify(&0);
            });
            thread.join().expect("it does not panic");
        }),
    ]
}

/// In rounds, handlers come and go beside the dispatchers. At the end of each, when nobody
/// dispatches, every closure was dropped: the threads are there still, and do nothing.
fn closures_outlive_dispatches_and_nothing_else(time: Duration) {
    const CHANGES: usize = 200;
    let (rounds, tally) = within("closures beside dispatches", move || {
        let topics = Topics::new();
        let handle = topics.handle("key");
        let dispatchers = dispatchers(&topics, &handle);
        let (tally, start) = (Arc::new(Tally::default()), Instant::now());
        let turn = Barrier::new(dispatchers.len() + 1);
        let (changes, ends) = (AtomicBool::new(true), AtomicBool::new(false));
        let (mut rounds, mut is_left) = (0, false);
        thread::scope(|scope| {
            for dispatch in dispatchers {
                let (turn, changes, ends) = (&turn, &changes, &ends);
                scope.spawn(move || {
                    while !ends.load(Ordering::SeqCst) {
                        while changes.load(Ordering::SeqCst) {
                            dispatch();
                        }
                        // Nobody dispatches; and then, it was looked at what is left.
                        turn.wait();
                        turn.wait();
                    }
                });
            }
            while !ends.load(Ordering::SeqCst) {
                for at in 0..CHANGES {
                    let [first, second] = [(); 2].map(|()| Owned::new(&tally));
                    let first = handle.register_guard(move |_| first.call());
                    let second =
                        handle.options().priority(1).guard().register(move |_| second.call());
                    if at % 8 == 0 {
                        thread::yield_now();
                    }
                    drop((first, second));
                }
                changes.store(false, Ordering::SeqCst);
                turn.wait();
                let made = tally.made.load(Ordering::SeqCst);
                is_left |= made != tally.dropped.load(Ordering::SeqCst);
                rounds += 1;
                ends.store(start.elapsed() > time || is_left, Ordering::SeqCst);
                changes.store(!ends.load(Ordering::SeqCst), Ordering::SeqCst);
                turn.wait();
            }
        });
        assert!(!is_left, "a closure was left when nobody dispatched");
        (rounds, tally)
    });
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "{rounds} rounds, {} closures, {} calls",
        count(&tally.made),
        count(&tally.calls)
    );
    assert_eq!(count(&tally.dropped_twice) + count(&tally.called_late), 0);
    assert_ne!(count(&tally.calls), 0, "nothing was called");
}

/// Changes its topic, and another one of the same shard, when it is dropped.
struct Reenters(Topics, Arc<AtomicU64>);

impl Drop for Reenters {
    fn drop(&mut self) {
        for key in ["key", "other"] {
            drop(self.0.register_guard(key, |_| {}));
            assert!(self.0.get(key).is_some());
        }
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Closures that change the shard when they are dropped, beside look-ups of their key: if one was
/// dropped under the lock of the shard, this would hang.
fn destructors_hold_no_lock(time: Duration) {
    let (made, dropped) = within("a destructor under a lock", move || {
        let (topics, dropped) = (Topics::new(), Arc::new(AtomicU64::new(0)));
        let _handles = ["key", "other"].map(|key| topics.handle(key));
        let (mut made, done, start) = (0, AtomicBool::new(false), Instant::now());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(topics.notify("key", &0).panicked(), 0);
                    }
                });
            }
            while start.elapsed() < time {
                let reenters = Reenters(topics.clone(), Arc::clone(&dropped));
                let guard = topics.register_guard("key", move |_| _ = &reenters);
                if made % 8 == 0 {
                    thread::yield_now();
                }
                drop(guard);
                made += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
        (made, dropped.load(Ordering::Relaxed))
    });
    println!("{made} closures");
    assert_eq!(dropped, made, "each is dropped once");
}

#[test]
fn closures_outlive_the_dispatches_that_are_inside_and_nothing_else() {
    closures_outlive_dispatches_and_nothing_else(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn closures_outlive_the_dispatches_that_are_inside_and_nothing_else_for_long() {
    closures_outlive_dispatches_and_nothing_else(LONG);
}

#[test]
fn destructors_run_without_the_lock_of_a_look_up() {
    destructors_hold_no_lock(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn destructors_run_without_the_lock_of_a_look_up_for_long() {
    destructors_hold_no_lock(LONG);
}
