//! What threads may do to each other, in scenarios that `loom` explores wholly, and `shuttle` and
//! miri at random. A thread that waits for a lock that it holds itself is found by all of them.

pub(crate) mod lane;
pub(crate) mod look_ups;
pub(crate) mod stops;
pub(crate) mod waits;
pub(crate) mod weak;

#[cfg(loom)]
use loom::{sync, thread};
#[cfg(shuttle)]
use shuttle::{sync, thread};
#[cfg(not(any(loom, shuttle)))]
use std::{sync, thread};

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use topic_registry::{
    HandlerId, Interest, JoinError, ObserverGuard, SyncRegistry, TopicHandle, TopicRegistry,
};

use self::sync::atomic::AtomicBool;
use self::thread::ThreadId;

type Topics = TopicRegistry<u8, u32>;

/// Runs these at once, one of them on this thread.
fn together(mut work: Vec<Box<dyn FnOnce() + Send>>) {
    let own = work.pop().expect("there is work");
    let threads: Vec<_> = work.into_iter().map(thread::spawn).collect();
    own();
    for thread in threads {
        thread.join().expect("it does not panic");
    }
}

/// Counts calls. It is not explored itself: whoever reads it has joined, or notified.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU32>);

impl Count {
    fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Each subscriber hears its own notification, by key and by handle, beside others that make
/// and drop handles; and no topic is left.
pub(crate) fn subscribe_beside_handles(subscribers: u32, handles: u32) {
    let topics = Topics::new();
    let mut work: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for number in 0..subscribers {
        let topics = topics.clone();
        work.push(Box::new(move || {
            let (count, calls) = (Count::default(), Count::default());
            let own = calls.clone();
            let guard = topics.register_guard(0, move |event| {
                if *event == number {
                    own.up();
                }
            });
            count.up();
            topics.notify(&0, &number);
            assert_eq!(calls.get(), count.get(), "the registration was lost");
            drop(guard);
            topics.notify(&0, &number);
            assert_eq!(calls.get(), count.get(), "the removal was lost");
        }));
    }
    for _ in 0..handles {
        let topics = topics.clone();
        work.push(Box::new(move || drop(topics.handle(0))));
    }
    together(work);
    assert_eq!(topics.len(), 0, "a topic was left");
}

/// Handles of one topic that are dropped at the same time leave none.
pub(crate) fn drop_handles(handles: usize) {
    let topics = Topics::new();
    let handle = topics.handle(0);
    let mut work: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..handles {
        let handle = handle.clone();
        work.push(Box::new(move || drop(handle)));
    }
    drop(handle);
    together(work);
    assert_eq!(topics.len(), 0, "a topic was left");
}

/// A handler that is registered through a handle that goes at once, beside the removal of the
/// topic's only other handler: it is found by its key.
pub(crate) fn register_beside_the_last_removal() {
    let topics = Topics::new();
    let guard = topics.register_guard(0, |_| {});
    let late = topics.clone();
    together(vec![
        Box::new(move || drop(guard)),
        Box::new(move || {
            let id = late.handle(0).register(|_| {});
            assert!(late.get(&0).is_some_and(|topic| topic.contains(id)));
            assert!(late.notify(&0, &0).called() >= 1);
        }),
    ]);
    assert_eq!(topics.notify(&0, &0).called(), 1);
    topics.clear();
    assert_eq!(topics.len(), 0, "a topic was left");
}

/// A handler for once is called by one of those who notify, and by one only.
pub(crate) fn once_beside_notifiers(notifiers: usize) {
    let (topics, calls, called) = (Topics::new(), Count::default(), Count::default());
    let own = calls.clone();
    topics.register_once(0, move |_| own.up());
    let mut work: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..notifiers {
        let (topics, called) = (topics.clone(), called.clone());
        work.push(Box::new(move || {
            if topics.notify(&0, &0).called() == 1 {
                called.up();
            }
        }));
    }
    together(work);
    assert_eq!((calls.get(), called.get()), (1, 1));
    assert_eq!(topics.len(), 0, "a topic was left");
}

/// A handler for once is either called or removed.
pub(crate) fn once_beside_its_removal() {
    let (registry, calls) = (SyncRegistry::<u32>::new(), Count::default());
    let own = calls.clone();
    let id = registry.register_once(move |_| own.up());
    let notifier = registry.clone();
    let removed = Count::default();
    let told = removed.clone();
    together(vec![
        Box::new(move || {
            notifier.notify(&0);
        }),
        Box::new(move || {
            if registry.unregister(id) {
                told.up();
            }
        }),
    ]);
    assert_eq!(calls.get() + removed.get(), 1);
}

/// A dispatch that learned in one handler that a removal of the next has returned does not
/// start that one, whichever removal it was that came first.
pub(crate) fn remove_beside_a_dispatch(removals: usize) {
    let (registry, removed) = (SyncRegistry::<u32>::new(), Arc::new(AtomicBool::new(false)));
    let (flag, learned) = (Arc::clone(&removed), Arc::new(Count::default()));
    let told = Arc::clone(&learned);
    registry.register(move |_| {
        if flag.load(Ordering::Acquire) {
            told.up();
        }
    });
    let id = registry.register(move |_| assert_eq!(learned.get(), 0, "a removed one started"));
    let (mut work, own): (Vec<Box<dyn FnOnce() + Send>>, _) = (Vec::new(), Count::default());
    for at in 0..removals {
        let (registry, removed, own) = (registry.clone(), Arc::clone(&removed), own.clone());
        work.push(Box::new(move || {
            let is_removed = match at % 2 {
                0 => registry.unregister(id),
                _ => registry.update(|batch| batch.unregister(id)),
            };
            if is_removed {
                own.up();
            }
            removed.store(true, Ordering::Release);
        }));
    }
    work.push(Box::new(move || {
        assert_eq!(registry.notify(&0).panicked(), 0);
    }));
    together(work);
    assert_ne!(own.get(), 0, "nobody has removed it");
}

/// A registration that happened before a notification is seen by it, in a topic of `others`
/// handlers, by each way to notify.
pub(crate) fn register_before_a_notification(others: usize) {
    happened_before(others, |topic| {
        topic.register(|_| {});
    });
}

/// A removal that happened before a notification is seen by it.
pub(crate) fn remove_before_a_notification(others: usize) {
    happened_before(others, |topic| topic.clear());
}

fn happened_before(others: usize, change: fn(&TopicHandle<u8, u32>)) {
    let topics = Topics::new();
    let topic = topics.handle(0);
    for _ in 0..others {
        topic.register(|_| {});
    }
    let (mut pinned, handle) = (topic.pin(), topic.clone());
    let changed = Arc::new(AtomicBool::new(false));
    let is_changed = Arc::clone(&changed);
    together(vec![
        Box::new(move || {
            change(&topic);
            changed.store(true, Ordering::Release);
        }),
        Box::new(move || {
            let happened = is_changed.load(Ordering::Acquire);
            let called = [
                topics.notify(&0, &0).called(),
                handle.notify(&0).called(),
                pinned.notify(&0).called(),
            ];
            if happened {
                assert_eq!(called, [handle.handler_count(); 3], "a change was missed");
                assert_ne!(called, [others; 3], "nothing has changed");
            }
        }),
    ]);
}

/// A handler that was called by one way to notify, beginning with the one at `first`, is counted
/// from then on, and called by every other way; in a topic of `others` handlers, with a hot lane.
pub(crate) fn call_beside_a_registration(first: usize, others: usize) {
    let topics = Topics::new();
    let topic = topics.handle(0);
    for _ in 0..others {
        topic.register(|_| {});
    }
    topic.notify(&0);
    let (mut pinned, handle) = (topic.pin(), topic.clone());
    together(vec![
        Box::new(move || {
            topic.register(|_| {});
        }),
        Box::new(move || {
            let mut seen = 0;
            for way in (first..).take(3) {
                let called = match way % 3 {
                    0 => pinned.notify(&0).called(),
                    1 => handle.notify(&0).called(),
                    _ => topics.notify(&0, &0).called(),
                };
                assert!(called >= seen, "less was called than before");
                seen = called;
                assert!(
                    handle.handler_count() >= seen,
                    "what was called is not counted"
                );
            }
        }),
    ]);
}

/// What a closure owns: it notes which thread drops it.
struct Dropped(Arc<Mutex<Option<ThreadId>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let before = self.0.lock().unwrap().replace(thread::current().id());
        assert_eq!(before, None, "dropped twice");
        // What else goes with it may meanwhile be removed by others.
        thread::yield_now();
    }
}

/// Registers a handler; returns what removes it, and makes sure that its closure went with it.
fn removal(registry: &SyncRegistry<u32>) -> Box<dyn FnOnce() + Send> {
    let by = Arc::new(Mutex::new(None));
    let owned = Dropped(Arc::clone(&by));
    let guard = registry.register_guard(move |_| _ = &owned);
    Box::new(move || {
        drop(guard);
        let by = by.lock().unwrap().take();
        assert_eq!(
            by,
            Some(thread::current().id()),
            "not dropped by its removal"
        );
    })
}

/// A closure goes with its removal from a topic, beside so many others that do.
pub(crate) fn remove_beside_removals(others: usize) {
    let topics = Topics::new();
    let topic = topics.handle(0);
    let removals = (0..=others).map(|_| removal(&topic)).collect();
    // Heats the lane.
    topic.notify(&0);
    together(removals);
    assert!(topic.is_empty());
}

/// What a thread may do beside a removal that neither dispatches nor pins, by name: to a registry
/// and a handler of it that stays.
type Beside = (&'static str, fn(&SyncRegistry<u32>, HandlerId));

pub(crate) const BESIDE_A_REMOVAL: [Beside; 3] = [
    ("a registration", |registry, _| {
        registry.register(|_| {});
    }),
    ("contains", |registry, stays| {
        assert!(registry.contains(stays));
    }),
    ("handlers", |registry, _| {
        assert_ne!(registry.handlers().len(), 0);
    }),
];

/// A closure goes with its removal, beside a writer that adds to it or somebody who looks.
pub(crate) fn remove_beside(other: fn(&SyncRegistry<u32>, HandlerId)) {
    let registry = SyncRegistry::new();
    let stays = registry.register(|_| {});
    let (removes, same) = (removal(&registry), registry.clone());
    // Heats the lane.
    registry.notify(&0);
    together(vec![removes, Box::new(move || other(&same, stays))]);
    assert!(registry.contains(stays));
}

/// Uses its topic when it is dropped, in the way that takes most locks.
struct Reenters(Topics, TopicHandle<u8, u32>);

impl Drop for Reenters {
    fn drop(&mut self) {
        let Self(topics, handle) = self;
        assert!(topics.contains_key(handle.key()));
        handle.unregister(handle.register(|_| {}));
        // A topic of the same shard. Inside of a look-up, it would wait for that look-up forever.
        drop(topics.handle(look_ups::COMES));
    }
}

type Edges = Arc<Mutex<Vec<Interest>>>;

fn watch(topics: &Topics, edges: &Edges) -> ObserverGuard {
    let (told, turn) = (Arc::clone(edges), AtomicBool::new(false));
    topics.observe_interest(move |_, interest| {
        // So that it is explored who comes first.
        turn.swap(true, Ordering::SeqCst);
        told.lock().unwrap().push(interest);
    })
}

/// The edges alternate, beginning with the first that was gained and ending with what is.
fn check_edges(edges: &Edges, is_empty: bool) {
    let edges = edges.lock().unwrap();
    for (at, interest) in edges.iter().enumerate() {
        let expected = [Interest::Gained, Interest::Lost][at % 2];
        assert_eq!(*interest, expected, "{edges:?}");
    }
    assert_eq!(edges.len() % 2 == 0, is_empty, "{edges:?}");
}

/// Edges are told in their order, whoever makes them, and the last one is what is.
pub(crate) fn edges_beside_edges(subscribers: usize) {
    let (topics, edges) = (Topics::new(), Edges::default());
    let _observer = watch(&topics, &edges);
    let mut work: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..subscribers {
        let topics = topics.clone();
        work.push(Box::new(move || drop(topics.register_guard(0, |_| {}))));
    }
    together(work);
    check_edges(&edges, true);
    assert!(!edges.lock().unwrap().is_empty());
    assert_eq!(topics.len(), 0, "a topic was left");
}

/// The last handler goes while another one comes to stay: what is told last is what is.
pub(crate) fn edge_beside_an_edge() {
    let (topics, edges) = (Topics::new(), Edges::default());
    let _observer = watch(&topics, &edges);
    let (guard, other) = (topics.register_guard(0, |_| {}), topics.clone());
    together(vec![
        Box::new(move || drop(guard)),
        Box::new(move || {
            other.register(0, |_| {});
        }),
    ]);
    check_edges(&edges, false);
    topics.clear();
    check_edges(&edges, true);
}

/// An edge that the observer makes and undoes while it is called for another one is not reported;
/// of what other threads change meanwhile, only what remains is reported.
pub(crate) fn edge_beside_one_that_is_undone() {
    let (topics, edges) = (Topics::new(), Edges::default());
    let (told, same, first) = (Arc::clone(&edges), topics.clone(), AtomicBool::new(true));
    let observer = topics.observe_interest(move |key, interest| {
        told.lock().unwrap().push(interest);
        if interest == Interest::Lost && first.swap(false, Ordering::SeqCst) {
            drop(same.register_guard(*key, |_| {}));
        }
    });
    let (guard, other) = (topics.register_guard(0, |_| {}), topics.clone());
    together(vec![
        Box::new(move || drop(guard)),
        Box::new(move || {
            other.register(0, |_| {});
        }),
    ]);
    drop(observer);
    check_edges(&edges, false);
    let edges = edges.lock().unwrap();
    assert!(edges.len() <= 3, "one was undone: {edges:?}");
}

/// An observer that is added while a topic gains its first handler, or loses its last one, hears
/// the current state.
fn watch_beside(change: fn(&Topics), before: usize, after: usize) {
    let (topics, edges) = (Topics::new(), Edges::default());
    for _ in 0..before {
        topics.register(0, |_| {});
    }
    let (watched, told, changed) = (topics.clone(), Arc::clone(&edges), topics.clone());
    together(vec![
        Box::new(move || watch(&watched, &told).forget()),
        Box::new(move || change(&changed)),
    ]);
    check_edges(&edges, after == 0);
    topics.remove(&0);
    check_edges(&edges, true);
}

pub(crate) fn watch_beside_a_registration() {
    let register = |topics: &Topics| {
        topics.register(0, |_| {});
    };
    watch_beside(register, 0, 1);
}

pub(crate) fn watch_beside_a_removal() {
    watch_beside(Topics::clear, 1, 0);
}

/// Two observers of one topic each hear their own edges, beside subscribers.
pub(crate) fn two_observers_beside_edges(subscribers: usize) {
    let (topics, edges) = (Topics::new(), [Edges::default(), Edges::default()]);
    let _observers = edges.each_ref().map(|edges| watch(&topics, edges));
    let come_and_go = |_| -> Box<dyn FnOnce() + Send> {
        let topics = topics.clone();
        Box::new(move || drop(topics.register_guard(0, |_| {})))
    };
    together((0..subscribers).map(come_and_go).collect());
    for edges in edges {
        check_edges(&edges, true);
        assert!(!edges.lock().unwrap().is_empty());
    }
}

/// The end of an observer, and the threads that have learned that the drop of its guard has
/// returned.
#[derive(Clone)]
struct End {
    has_ended: Arc<AtomicBool>,
    learned: Arc<Mutex<Vec<ThreadId>>>,
}

impl End {
    fn new() -> Self {
        Self {
            has_ended: Arc::new(AtomicBool::new(false)),
            learned: Arc::default(),
        }
    }

    /// Has this thread learn it.
    fn learn(&self) {
        if self.has_ended.load(Ordering::Acquire) {
            self.learned.lock().unwrap().push(thread::current().id());
        }
    }

    /// Whether this thread has learned it.
    fn is_known(&self) -> bool {
        self.learned.lock().unwrap().contains(&thread::current().id())
    }

    /// What the observer does.
    fn called(&self) {
        assert!(!self.is_known(), "called after its end");
        // It may be called again by this thread, which has more to tell.
        self.learn();
    }

    fn drop_guard(&self, guard: ObserverGuard) {
        drop(guard);
        self.has_ended.store(true, Ordering::Release);
    }

    /// This is the last to know of it, because the observers are gone.
    #[track_caller]
    fn was_let_go(&self) {
        assert_eq!(Arc::strong_count(&self.has_ended), 1, "an observer is left");
    }
}

/// An observer ends while the last handler is removed and another one is registered. A thread that
/// knows of the end does not call the observer. Another observer, which stays, hears the current
/// state.
pub(crate) fn end_an_observer_beside_edges() {
    let (topics, edges, end) = (Topics::new(), Edges::default(), End::new());
    let (first, called) = (end.clone(), end.clone());
    let learns = topics.observe_interest(move |_, _| first.learn());
    let observer = topics.observe_interest(move |_, _| called.called());
    let _stays = watch(&topics, &edges);
    let (guard, registers, ends) = (
        topics.register_guard(0, |_| {}),
        topics.clone(),
        end.clone(),
    );
    together(vec![
        Box::new(move || drop(guard)),
        Box::new(move || {
            registers.register(0, |_| {});
        }),
        Box::new(move || ends.drop_guard(observer)),
    ]);
    assert_eq!(topics.panic_count(), 0, "called after its end");
    check_edges(&edges, false);
    drop(learns);
    end.was_let_go();
}

/// The guard of an observer is dropped while the topics go and end it, and a handle that outlives
/// them has two edges to report. Who has learned in the first call that the guard is gone makes no
/// second one.
pub(crate) fn end_an_observer_beside_the_end_of_its_topics() {
    let (topics, end, late) = (Topics::new(), End::new(), Count::default());
    let handle = topics.handle(0);
    let (same, called, told) = (handle.clone(), end.clone(), late.clone());
    let observer = topics.observe_interest(move |_, _| {
        if called.is_known() {
            told.up();
        }
        same.clear();
        called.learn();
    });
    let ends = end.clone();
    together(vec![
        Box::new(move || drop(topics)),
        Box::new(move || ends.drop_guard(observer)),
        Box::new(move || {
            handle.register(|_| {});
        }),
    ]);
    assert_eq!(late.get(), 0, "called after its end");
    end.was_let_go();
}

/// Of two observers of crowds that are set at once, each has its own limit.
pub(crate) fn set_limits_beside_each_other() {
    let (topics, told) = (Topics::new(), [Count::default(), Count::default()]);
    let set = |limit: usize| -> Box<dyn FnOnce() + Send> {
        let (topics, told) = (topics.clone(), told[limit - 1].clone());
        Box::new(move || {
            topics.observe_handler_limit(limit, move |_, _| told.up()).forget();
        })
    };
    together(vec![set(1), set(2)]);
    for _ in 0..3 {
        topics.register(0, |_| {});
    }
    assert_eq!(told.map(|count| count.get()), [2, 1]);
}

/// An observer of crowds ends beside a registration that is past its limit, and while another
/// observer is added, which hears of registrations past its own limit.
pub(crate) fn end_a_limit_beside_a_registration() {
    let (topics, told, end) = (Topics::new(), Count::default(), End::new());
    let (first, called) = (end.clone(), end.clone());
    let lowest = topics.observe_handler_limit(1, move |_, _| first.learn());
    let observer = topics.observe_handler_limit(1, move |_, _| called.called());
    topics.register(0, |_| {});
    let (sets, registers) = (topics.clone(), topics.clone());
    let (own, ends) = (told.clone(), end.clone());
    together(vec![
        Box::new(move || ends.drop_guard(observer)),
        Box::new(move || sets.observe_handler_limit(2, move |_, _| own.up()).forget()),
        Box::new(move || {
            registers.register(0, |_| {});
        }),
    ]);
    drop(lowest);
    assert_eq!((topics.panic_count(), told.get()), (0, 0));
    topics.register(0, |_| {});
    assert_eq!(told.get(), 1);
    end.was_let_go();
}

/// Lets others go first when it is dropped.
struct Slow(#[expect(dead_code, reason = "it is kept, and dropped")] Arc<()>);

impl Drop for Slow {
    fn drop(&mut self) {
        thread::yield_now();
    }
}

/// Whoever has joined a handler is the last that had to do with it: nobody is inside, and its
/// closure is gone. One that waits is woken.
pub(crate) fn join_beside_notifiers(notifiers: usize) {
    let (registry, inside) = (SyncRegistry::<u32>::new(), Count::default());
    let (calls, delivered) = (inside.clone(), Count::default());
    let (within, alive) = (Arc::new(Mutex::new(0_u32)), Arc::new(()));
    let (own, owned) = (Arc::clone(&within), Slow(Arc::clone(&alive)));
    let joinable = registry.options().joinable().register(move |_| {
        let _ = &owned;
        *own.lock().unwrap() += 1;
        thread::yield_now();
        *own.lock().unwrap() -= 1;
        calls.up();
    });
    let mut work: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for _ in 0..notifiers {
        let (registry, delivered) = (registry.clone(), delivered.clone());
        work.push(Box::new(move || {
            if registry.notify(&0).called() == 1 {
                delivered.up();
            }
        }));
    }
    work.push(Box::new(move || {
        assert_eq!(joinable.join(), Ok(()));
        assert_eq!(*within.lock().unwrap(), 0, "a call was inside");
        assert_eq!(Arc::strong_count(&alive), 1, "the closure was alive");
    }));
    together(work);
    assert_eq!(inside.get(), delivered.get(), "what was called was counted");
}

/// Two handlers that join each other from inside: one is told that it cannot be, or none of them
/// met the other inside.
pub(crate) fn join_each_other() {
    let registries = [SyncRegistry::<u32>::new(), SyncRegistry::new()];
    let slots = [(); 2].map(|()| Arc::new(Mutex::new(None)));
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    for (at, registry) in registries.iter().enumerate() {
        let (other, outcomes) = (Arc::clone(&slots[1 - at]), Arc::clone(&outcomes));
        let joinable = registry.options().joinable().register(move |_| {
            let joinable: Option<topic_registry::JoinGuard> = other.lock().unwrap().take();
            let outcome = joinable.map(topic_registry::JoinGuard::join);
            outcomes.lock().unwrap().push(outcome);
        });
        *slots[at].lock().unwrap() = Some(joinable);
    }
    let notify = |registry: SyncRegistry<u32>| -> Box<dyn FnOnce() + Send> {
        Box::new(move || {
            registry.notify(&0);
        })
    };
    together(registries.map(notify).into());
    let outcomes = outcomes.lock().unwrap();
    let failed = outcomes.iter().flatten().filter(|outcome| outcome.is_err());
    assert!(failed.clone().all(|outcome| *outcome == Err(JoinError::Deadlock)));
    assert!(failed.count() <= 1, "{outcomes:?}");
}
