//! What allocates and what is given back (G9, and the memory of G10), by an allocator
//! that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use topic_registry::{
    HookRegistry, HookTopicRegistry, Interest, Owned, SyncRegistry, TopicRegistry,
};

struct Counting;

// Each thread's own: the test harness allocates at its own times.
thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn grown(by: usize) -> isize {
    isize::try_from(by).expect("no allocation is larger")
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE.set(LIVE.get() + grown(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - grown(layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often this thread allocates in `f`.
fn allocations(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// By how many bytes the heap has grown after `f`, which leaves this thread to no other.
fn growth(f: impl FnOnce()) -> isize {
    let before = LIVE.get();
    f();
    LIVE.get() - before
}

const NOTIFIES: usize = 20_000;
const KIB_64: isize = 64 * 1024;
const KIB_8: isize = 8 * 1024;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
    let mut kept = Vec::new();
    assert_eq!(growth(|| kept = vec![0u8; 1 << 20]), 1 << 20);
    assert_eq!(growth(|| drop(kept)), -(1 << 20));
}

/// Runs `check` inside of `depth` dispatches, each of another registry.
fn at_depth(depth: usize, check: impl Fn() + Send + Sync + 'static) {
    let innermost = SyncRegistry::<()>::new();
    innermost.register(move |()| check());
    let outermost = (1..depth).fold(innermost, |inner, _| {
        let outer = SyncRegistry::<()>::new();
        outer.register(move |()| assert_eq!(inner.notify(&()).panicked(), 0));
        outer
    });
    assert_eq!(outermost.notify(&()).panicked(), 0, "the check failed");
}

#[test]
fn notifying_allocates_nothing_by_handle_by_pin_and_by_key_at_any_depth() {
    for handlers in [0, 1, 4, 100] {
        for depth in [1, 12] {
            let topics = TopicRegistry::<String, u64>::new();
            let handle = topics.handle("a");
            for n in 0..handlers {
                handle.register_with_priority(n, |_| {});
            }
            at_depth(depth, move || {
                let mut pinned = handle.pin();
                let bare = SyncRegistry::clone(&handle);
                let count = allocations(|| {
                    for event in 0..NOTIFIES as u64 {
                        handle.notify(&event);
                        pinned.notify(&event);
                        bare.notify(&event);
                        topics.notify("a", &event);
                        topics.notify("unknown", &event);
                    }
                });
                assert_eq!(count, 0);
            });
        }
    }
}

#[test]
fn a_hook_that_changes_its_event_allocates_nothing() {
    for handlers in [0_u64, 1, 4, 100] {
        let topics = HookTopicRegistry::<String, Owned<u64>>::new();
        let handle = topics.handle("a");
        for _ in 0..handlers {
            handle.register(|sum| *sum += 1);
        }
        // Makes what is kept for the thread.
        let other = HookRegistry::<Owned<u64>>::new();
        other.register(|_| {});
        other.notify(&mut 0);
        let mut sum = 0;
        let count = allocations(|| {
            for _ in 0..NOTIFIES {
                handle.notify(&mut sum);
                topics.notify("a", &mut sum);
            }
        });
        assert_eq!((count, sum), (0, 2 * NOTIFIES as u64 * handlers));
    }
}

/// Another thread churns the handlers, and a third is inside of a slow dispatch.
#[test]
fn notifying_allocates_nothing_beside_writers_and_slow_dispatches() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (enter, entered) = std::sync::mpsc::channel();
    handle.register(move |event| {
        if *event == u64::MAX {
            enter.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        }
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| handle.notify(&u64::MAX));
        entered.recv().unwrap();
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(handle.register_guard(|_| {}));
            }
        });
        let mut pinned = handle.pin();
        // This thread's first notification makes what is kept for the thread.
        handle.notify(&0);
        let count = allocations(|| {
            for event in 0..NOTIFIES as u64 {
                handle.notify(&event);
                pinned.notify(&event);
            }
        });
        let by_key = allocations(|| {
            for event in 0..NOTIFIES as u64 {
                topics.notify("a", &event);
            }
        });
        stop.store(true, Ordering::Relaxed);
        release.send(()).unwrap();
        assert_eq!(count, 0);
        // The lock of a shard makes its queue when a thread first has to wait for it.
        assert!(by_key <= 4, "{by_key} allocations by key");
    });
}

/// Lanes become hot by so many notifications, and cold by each change.
#[test]
fn notifying_allocates_nothing_while_lanes_heat_and_cool() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    let stays = handle.register(|_| {});
    let mut pinned = handle.pin();
    // This thread's first notification makes what is kept for the thread.
    handle.notify(&0);
    let mut count = 0;
    for round in 0..200 {
        // Cold at first, and then hot; in some rounds it is not heated wholly.
        let notifies = [1_000, 100, 1][round % 3];
        count += allocations(|| {
            for event in 0..notifies {
                handle.notify(&event);
                pinned.notify(&event);
                topics.notify("a", &event);
            }
        });
        drop(handle.register_guard(|_| {}));
    }
    assert!(handle.contains(stays));
    assert_eq!(count, 0);
}

/// Also where it has the record of one that has ended.
#[test]
fn a_thread_notifies_without_allocations_after_its_first_notification() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    handle.register(|_| {});
    for _ in 0..8 {
        let handle = handle.clone();
        let count = thread::spawn(move || {
            handle.notify(&0);
            allocations(|| (0..1_000).for_each(|event| _ = handle.notify(&event)))
        });
        assert_eq!(count.join().expect("it does not panic"), 0);
    }
}

/// What is kept for a thread is used again when it has ended.
#[test]
fn threads_that_end_leave_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    handle.register(|_| {});
    let made_by_threads = |threads: usize| {
        let made = (0..threads).map(|_| {
            let handle = handle.clone();
            let thread = thread::spawn(move || growth(|| _ = handle.notify(&0)));
            thread.join().expect("it does not panic")
        });
        made.sum::<isize>()
    };
    // Other tests run beside this one, and so may have what these leave.
    made_by_threads(1);
    let grown = made_by_threads(2_000);
    assert!(grown < KIB_64, "the heap has grown by {grown} bytes");
}

/// Every way to subscribe to a key, and to be done with it.
fn come_and_go(topics: &TopicRegistry<String, u64>, key: usize) {
    let name = format!("user {key}");
    match key % 8 {
        0 => drop(topics.register_guard(name, |_| {})),
        1 => drop(topics.handle(name).options().priority(3).guard().register(|_| {})),
        2 => {
            let id = topics.register(name.as_str(), |_| {});
            assert!(topics.unregister(&name, id));
        }
        3 => {
            topics.register_once(name.as_str(), |_| {});
            assert_eq!(topics.notify(&name, &0).called(), 1);
        }
        4 => {
            let handle = topics.handle(name);
            let guard = handle.register_guard(|_| {});
            drop(handle);
            drop(guard);
        }
        5 => {
            topics.register_with_priority(name.as_str(), 1, |_| {});
            assert!(topics.remove(&name));
        }
        6 => {
            let mut pinned = topics.handle(name).pin();
            assert_eq!(pinned.notify(&0).called(), 0);
        }
        _ => {
            let bare = SyncRegistry::clone(&topics.handle(name));
            bare.register(|_| {});
            bare.clear();
        }
    }
}

#[test]
fn ephemeral_keys_leave_no_topic_and_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let grown = growth(|| (0..200_000).for_each(|key| come_and_go(&topics, key)));
    assert_eq!(topics.len(), 0);
    assert!(grown < KIB_64, "the heap has grown by {grown} bytes");
}

/// All at the same time, so that the map has to grow, and to shrink again.
#[test]
fn keys_that_live_together_leave_no_topic_and_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let grown = growth(|| {
        let key = |n| format!("user {n}");
        let guards: Vec<_> = (0..100_000).map(|n| topics.register_guard(key(n), |_| {})).collect();
        let handles: Vec<_> = (100_000..200_000).map(|n| topics.handle(key(n))).collect();
        assert_eq!(topics.len(), 200_000);
        drop((guards, handles));
    });
    assert_eq!(topics.len(), 0);
    assert!(grown < KIB_64, "the heap has grown by {grown} bytes");
    let grown = grown + growth(|| topics.shrink_to_fit());
    assert!(grown < KIB_8, "the heap has grown by {grown} bytes");
}

/// Interest is kept for topics with handlers only.
#[test]
fn topics_that_are_watched_leave_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let told = Arc::new(Mutex::new(0));
    let count = Arc::clone(&told);
    let _observers = [
        topics.observe_interest(move |_, _| *count.lock().unwrap() += 1),
        topics.observe_handler_limit(1000, |_, _| {}),
    ];
    let grown = growth(|| {
        for at_once in [1, 100_000] {
            let key = |n| format!("user {n}");
            let guards: Vec<_> =
                (0..at_once).map(|n| topics.register_guard(key(n), |_| {})).collect();
            assert_eq!(topics.len(), at_once);
            drop(guards);
        }
    });
    assert_eq!((topics.len(), *told.lock().unwrap()), (0, 200_002));
    let grown = grown + growth(|| topics.shrink_to_fit());
    assert!(grown < KIB_64, "the heap has grown by {grown} bytes");
}

/// Beside handlers that stay, and some that come and go; one by one, and many at once.
#[test]
fn observers_that_have_ended_leave_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    for n in 0..8 {
        topics.register(format!("user {n}"), |_| {});
    }
    let told = Arc::new(Mutex::new(0));
    let observe = |n: usize| {
        let count = Arc::clone(&told);
        let call = move || *count.lock().unwrap() += 1;
        match n % 2 {
            0 => topics.observe_interest(move |_, _| call()),
            _ => topics.observe_handler_limit(n, move |_, _| call()),
        }
    };
    // What a thread, a table of keys and an empty list keep is there before.
    drop([observe(0), observe(1)]);
    drop(topics.register_guard("other", |_| {}));
    *told.lock().unwrap() = 0;
    let grown = growth(|| {
        for n in 0..100_000 {
            let _observer = observe(n);
            if n % 64 < 2 {
                drop(topics.register_guard("other", |_| {}));
            }
        }
        drop((0..10_000).map(observe).collect::<Vec<_>>());
    });
    // Each observer of interest hears of eight, and one in 32 of one that comes and goes.
    let edges = 8 * (50_000 + 5_000) + 2 * 100_000_usize.div_ceil(64);
    assert_eq!(*told.lock().unwrap(), edges);
    assert_eq!(grown, 0, "the heap has grown by {grown} bytes");
}

/// Each call of the observer makes the next edge, so that one registration comes to all of them.
#[test]
fn observers_that_panic_are_counted_and_leave_no_memory_call_by_call() {
    const CALLS: u64 = 100_000;
    let topics = TopicRegistry::<String, u64>::new();
    // The calls so far, those that were not counted when the next came, and the heap at first.
    let told = Arc::new(Mutex::new((0, 0, LIVE.get())));
    let (same, seen) = (topics.clone(), Arc::clone(&told));
    let observer = topics.observe_interest(move |key, interest| {
        {
            let (call, miscounted, heap) = &mut *seen.lock().unwrap();
            *miscounted += u64::from(same.panic_count() != *call);
            *call += 1;
            match *call {
                1_000 => *heap = LIVE.get(),
                CALLS => return *heap = LIVE.get() - *heap,
                _ => {}
            }
        }
        match interest {
            Interest::Gained => assert!(same.remove(key)),
            Interest::Lost => _ = same.register(key.as_str(), |_| {}),
        }
        resume_unwind(Box::new("told"));
    });
    topics.register("a", |_| {});
    let (calls, miscounted, grown) = *told.lock().unwrap();
    drop(observer);
    assert_eq!((calls, topics.panic_count()), (CALLS, CALLS - 1));
    assert!(
        miscounted == 0 && grown < KIB_8,
        "{miscounted} were not counted at once; the heap has grown by {grown} bytes meanwhile"
    );
}

/// How many come and go: fewer where that takes its time.
const MANY: usize = match (cfg!(miri), cfg!(debug_assertions)) {
    (true, _) => 1_000,
    (false, true) => 100_000,
    (false, false) => 1_000_000,
};

/// Dropped unused, by an event, and with a topic of their own.
#[test]
fn waits_that_come_and_go_leave_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    let even = |event: &u64| (event % 2 == 0).then(|| Box::new(*event));
    handle.notify(&0);
    let grown = growth(|| {
        for n in 0..MANY {
            match n % 8 {
                0 => drop(topics.handle("b").wait_for(even)),
                1 => {
                    let waiting = handle.wait_for(even);
                    assert_eq!(handle.notify(&2).called(), 1);
                    assert_eq!(waiting.wait(), Ok(Box::new(2)));
                }
                2 => {
                    let waiting = handle.wait_for(even);
                    assert_eq!(handle.notify(&2).called(), 1);
                    drop(waiting);
                }
                _ => drop(handle.wait_for(even)),
            }
        }
    });
    assert_eq!((topics.len(), handle.handler_count()), (1, 0));
    assert!(grown < KIB_8, "the heap has grown by {grown} bytes");
}

#[test]
fn weak_registries_that_come_and_go_leave_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    let grown = growth(|| {
        for n in 0..MANY {
            match n % 8 {
                // Of a topic that has gone when it is asked, and of a registry.
                0 => assert!(topics.handle("b").downgrade().upgrade().is_some()),
                1 => {
                    let weak = topics.handle("b").downgrade();
                    assert!(weak.upgrade().is_none());
                }
                2 => {
                    let weak = SyncRegistry::<u64>::new().downgrade();
                    assert!(weak.upgrade().is_none());
                }
                3 => assert!(topics.downgrade().upgrade().is_some()),
                _ => assert!(handle.downgrade().upgrade().is_some()),
            }
        }
    });
    let handles = topics.topics().iter().map(|topic| topic.handles).sum::<usize>();
    assert_eq!((topics.len(), handles), (1, 1));
    assert!(grown < KIB_8, "the heap has grown by {grown} bytes");
}

#[test]
fn recorders_and_pauses_that_come_and_go_leave_no_memory() {
    let topics = TopicRegistry::<String, u64>::new();
    let handle = topics.handle("a");
    handle.notify(&0);
    let grown = growth(|| {
        for n in 0..MANY / 10 {
            let recorder = handle.record(|event| Box::new(*event));
            assert_eq!(handle.notify(&7).called(), 1);
            let paused = handle.pause(recorder.id()).expect("it is registered");
            assert_eq!(handle.notify(&8).called(), 0);
            if n % 2 == 0 {
                assert_eq!(recorder.take(), [Box::new(7)]);
                drop(paused);
            } else {
                drop(recorder);
            }
        }
    });
    assert!(handle.is_empty());
    assert!(grown < KIB_8, "the heap has grown by {grown} bytes");
}

#[test]
fn a_registry_gives_everything_back() {
    let grown = growth(|| {
        let registry = SyncRegistry::<u64>::new();
        let payload = Arc::new([0u8; 1024]);
        let own = || {
            let payload = Arc::clone(&payload);
            move |_: &u64| {
                let _ = &payload;
            }
        };
        let guards: Vec<_> = (0..500).map(|_| registry.register_guard(own())).collect();
        for _ in 0..500 {
            registry.register(own());
        }
        registry.register_guard(own()).forget();
        let mut pinned = registry.pin();
        pinned.notify(&0);
        drop(registry);
        drop(guards);
    });
    assert!(grown < KIB_8, "the heap has grown by {grown} bytes");
}

/// Of those that run code when they are dropped.
#[test]
fn only_a_large_closure_takes_an_allocation_of_its_own() {
    fn cost<const SIZE: usize>() -> usize {
        let (registry, state) = (SyncRegistry::<u64>::new(), (Arc::new(()), [1_u8; SIZE]));
        allocations(|| _ = registry.register(move |_| _ = std::hint::black_box(&state)))
    }
    // What a thread keeps is there before.
    cost::<1>();
    assert_eq!(cost::<1000>(), cost::<1>());
    assert_eq!(cost::<2000>(), cost::<1>() + 1);
}

/// The table in docs/PERFORMANCE.md: bytes that are requested from the allocator.
#[cfg(all(feature = "fast-lane", target_arch = "x86_64", target_os = "linux"))]
#[test]
fn memory_is_what_the_documentation_says() {
    let register = |registry: &SyncRegistry<u64>, n: u64| _ = registry.register(move |_| _ = n);
    // What this thread is given once.
    register(&SyncRegistry::new(), 0);

    let mut registry = None;
    let of_registry = growth(|| registry = Some(SyncRegistry::new()));
    let registry = registry.expect("it was made");
    let of_handlers: Vec<isize> = (0..64).map(|n| growth(|| register(&registry, n))).collect();
    assert_eq!(of_registry, 112);
    assert_eq!(of_handlers[0], 96, "the first handler");
    assert_eq!(of_handlers[1], 88, "the second one");
    assert!(
        of_handlers[2..].iter().all(|of| *of == 72),
        "{of_handlers:?}"
    );

    let (topics, mut handles) = (TopicRegistry::<u64, u64>::new(), Vec::with_capacity(1_000));
    let of_topics = (0..1_000_u64).map(|key| growth(|| handles.push(topics.handle(key))));
    // Others also make room in the table of keys.
    assert_eq!(of_topics.min(), Some(144), "a topic");

    // All at once, so that not all of them have the record of a thread that has ended.
    let (handle, barrier) = (&handles[0], std::sync::Barrier::new(64));
    handle.register(|_| {});
    let of_thread = || {
        let grown = growth(|| _ = handle.notify(&0));
        barrier.wait();
        grown
    };
    let of_threads: Vec<isize> = thread::scope(|scope| {
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(of_thread)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it does not panic"))
            .collect()
    });
    assert_eq!(of_threads.into_iter().max(), Some(320), "a thread");
}

/// At most the one box a handler that its future lives in.
#[cfg(feature = "async")]
#[test]
fn async_handlers_that_are_ready_at_once_cost_a_box_each() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};
    use topic_registry::AsyncTopicRegistry;

    fn is_ready(future: impl Future) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(future).poll(&mut context).is_ready()
    }

    async fn borrowing(event: &u64) {
        assert_eq!(*event, 7);
    }

    for handlers in [0, 1, 4, 100] {
        let topics = AsyncTopicRegistry::<String, u64>::new();
        let handle = topics.handle("a");
        for n in 0..handlers {
            if n % 2 == 0 {
                handle.register_async_fn(borrowing);
                continue;
            }
            handle.register(move |event| {
                let event = *event;
                async move { assert_eq!(event, 7, "handler {n}") }
            });
        }
        assert!(is_ready(handle.notify(&7)));
        assert!(allocations(|| assert!(is_ready(handle.notify(&7)))) <= handlers);
        assert!(allocations(|| assert!(is_ready(handle.notify_sequential(&7)))) <= handlers);
        assert!(allocations(|| assert!(is_ready(topics.notify("a", &7)))) <= handlers);
        assert_eq!(allocations(|| assert!(is_ready(topics.notify("b", &7)))), 0);
    }
}
