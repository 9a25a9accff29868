//! Handlers that only come: no dispatch calls fewer of them than an earlier one of its thread,
//! by whichever way each of the two was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::{Pinned, SyncRegistry, TopicHandle, TopicRegistry};

use crate::{LONG, SHORT, within};

type Topics = TopicRegistry<u64, u64>;

/// How many come to each topic.
const HANDLERS: usize = 3;

/// Every way to notify one topic.
struct Ways {
    topics: Topics,
    handle: TopicHandle<u64, u64>,
    pinned: Pinned<u64>,
    // Its innermost dispatch notifies the topic.
    nested: SyncRegistry<()>,
    called_by_nested: Arc<AtomicUsize>,
}

/// A way to notify, by name; how many handlers it called.
type Way = (&'static str, fn(&mut Ways) -> usize);

const WAYS: [Way; 4] = [
    ("pin", |ways| ways.pinned.notify(&0).called()),
    ("handle", |ways| ways.handle.notify(&0).called()),
    ("nested", |ways| {
        ways.nested.notify(&());
        ways.called_by_nested.load(Ordering::Relaxed)
    }),
    ("key", |ways| {
        ways.topics.notify(ways.handle.key(), &0).called()
    }),
];

impl Ways {
    fn to(topics: &Topics, key: u64) -> Self {
        let (handle, called) = (topics.handle(key), Arc::new(AtomicUsize::new(0)));
        let (same, innermost) = (handle.clone(), SyncRegistry::new());
        let told = Arc::clone(&called);
        innermost.register(move |()| told.store(same.notify(&0).called(), Ordering::Relaxed));
        let nested = (1..12).fold(innermost, |inner, _| {
            let outer = SyncRegistry::new();
            outer.register(move |()| _ = inner.notify(&()));
            outer
        });
        Self {
            topics: topics.clone(),
            pinned: handle.pin(),
            handle,
            nested,
            called_by_nested: called,
        }
    }

    /// Notifies by each way in turn, beginning with the one at `first`, until all handlers have
    /// come; which ways called fewer than had been called before.
    fn follow(&mut self, first: usize) -> Vec<String> {
        let (mut most, mut wrong) = (("", 0), Vec::new());
        for (tries, (way, notify)) in WAYS.iter().cycle().skip(first).enumerate() {
            let called = notify(self);
            if called < most.1 {
                wrong.push(format!("{} by {}, then {called} by {way}", most.1, most.0));
            } else {
                most = (way, called);
            }
            if called == HANDLERS {
                return wrong;
            }
            if tries % 64 == 63 {
                thread::yield_now();
            }
        }
        unreachable!("ways without end")
    }
}

/// Has one thread register and another one notify, over one topic after the other.
fn no_dispatch_sees_less_than_an_earlier_one(time: Duration) {
    let (rounds, wrong) = within("notifications beside registrations", move || {
        let (topics, start) = (Topics::new(), Instant::now());
        // The topic at which each of the two is.
        let (ready, registered) = (AtomicU64::new(0), AtomicU64::new(0));
        let (mut round, mut wrong) = (0, Vec::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1.. {
                    match wait_for(&ready, round) {
                        u64::MAX => return,
                        _ => (0..HANDLERS).for_each(|_| _ = topics.register(round, |_| {})),
                    }
                    registered.store(round, Ordering::Release);
                }
            });
            while start.elapsed() < time {
                round += 1;
                let mut ways = Ways::to(&topics, round);
                ready.store(round, Ordering::Release);
                wrong.extend(ways.follow(usize::try_from(round).expect("small") % WAYS.len()));
                wait_for(&registered, round);
                topics.remove(&round);
            }
            ready.store(u64::MAX, Ordering::Release);
        });
        (round, wrong)
    });
    println!("{rounds} rounds, {} dispatches that saw less", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} dispatches in {rounds} rounds called fewer than an earlier one: {:?}, ...",
        wrong.len(),
        wrong.iter().take(3).collect::<Vec<_>>()
    );
}

/// Waits until that round has come, or the last one.
fn wait_for(round: &AtomicU64, at_least: u64) -> u64 {
    for tries in 0.. {
        let now = round.load(Ordering::Acquire);
        if now >= at_least {
            return now;
        }
        if tries % 64 == 63 {
            thread::yield_now();
        }
    }
    unreachable!("tries without end")
}

#[test]
fn no_dispatch_calls_fewer_than_an_earlier_one_of_its_thread() {
    no_dispatch_sees_less_than_an_earlier_one(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn no_dispatch_calls_fewer_than_an_earlier_one_of_its_thread_for_long() {
    no_dispatch_sees_less_than_an_earlier_one(LONG);
}
