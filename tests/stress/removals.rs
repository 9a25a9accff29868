//! A closure goes with its handler: when a removal has returned and nothing dispatches or is
//! pinned, it has been dropped, and by the thread that removed it, whatever other threads do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use topic_registry::{HandlerId, SyncRegistry, TopicRegistry};

use crate::{LONG, SHORT, within};

type Registry = SyncRegistry<u64>;
type Topics = TopicRegistry<String, u64>;

/// What a closure owns: it notes which thread drops it.
struct Dropped(Arc<OnceLock<ThreadId>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(thread::current().id()).expect("dropped once");
    }
}

/// Whether the closure of a handler that `come_and_go` registers and removes was dropped by this
/// thread when that has returned.
fn goes_at_once(come_and_go: impl FnOnce(Box<dyn Fn(&u64) + Send + Sync>)) -> bool {
    let by = Arc::new(OnceLock::new());
    let owned = Dropped(Arc::clone(&by));
    come_and_go(Box::new(move |_| _ = &owned));
    by.get() == Some(&thread::current().id())
}

/// One thing that a thread does, by name; `true` if every closure that it removed went at once.
type Step<S> = (&'static str, fn(&S, HandlerId) -> bool);

/// Makes each of `removals` in turn, beside a thread that does one of `others` all the
/// time, over a subject and one of its handlers. Nobody dispatches or pins.
fn closures_go_with_their_removal<S: Send + Sync + 'static>(
    time: Duration,
    fresh: fn() -> (S, HandlerId),
    removals: &'static [Step<S>],
    others: &'static [Step<S>],
) {
    let time = time / u32::try_from(others.len()).expect("they are a few");
    for (meanwhile, other) in others {
        let outcome = within(&format!("removals beside {meanwhile}"), move || {
            let ((subject, id), done) = (fresh(), AtomicBool::new(false));
            let start = Instant::now();
            thread::scope(|scope| {
                let others = scope.spawn(|| {
                    let mut late = Tally::of(meanwhile);
                    while !done.load(Ordering::Relaxed) {
                        late.count(other(&subject, id));
                    }
                    late
                });
                let mut late: Vec<_> = removals.iter().map(|(how, _)| Tally::of(how)).collect();
                while start.elapsed() < time {
                    for ((_, remove), late) in removals.iter().zip(&mut late) {
                        late.count(remove(&subject, id));
                    }
                }
                done.store(true, Ordering::Relaxed);
                late.push(others.join().expect("it does not panic"));
                late
            })
        });
        println!("beside {meanwhile}: {outcome:?}");
        assert!(
            outcome.iter().all(|what| what.times > 0 && what.late == 0),
            "closures outlived their removal beside {meanwhile}: {outcome:?}"
        );
    }
}

/// How often something was done, and left a closure behind.
#[derive(Debug)]
struct Tally {
    #[expect(dead_code, reason = "it is printed")]
    what: &'static str,
    times: u64,
    late: u64,
}

impl Tally {
    fn of(what: &'static str) -> Self {
        Self {
            what,
            times: 0,
            late: 0,
        }
    }

    fn count(&mut self, at_once: bool) {
        self.times += 1;
        self.late += u64::from(!at_once);
    }
}

const IN_A_REGISTRY: [Step<Registry>; 3] = [
    ("unregister", |registry, _| {
        goes_at_once(|handler| {
            let id = registry.register(handler);
            assert!(registry.unregister(id));
        })
    }),
    ("a guard", |registry, _| {
        goes_at_once(|handler| drop(registry.options().priority(1).guard().register(handler)))
    }),
    ("a batch", |registry, _| {
        goes_at_once(|handler| {
            let id = registry.update(|batch| batch.register(handler));
            assert!(registry.update(|batch| batch.unregister(id)));
        })
    }),
];

const QUERIES_OF_A_REGISTRY: [Step<Registry>; 2] = [
    ("contains", |registry, id| registry.contains(id)),
    ("handlers", |registry, _| !registry.handlers().is_empty()),
];

const IN_A_TOPIC: [Step<Topics>; 4] = [
    ("unregister", |topics, _| {
        goes_at_once(|handler| {
            let id = topics.register("key", handler);
            assert!(topics.unregister("key", id));
        })
    }),
    ("a guard", |topics, _| {
        goes_at_once(|handler| drop(topics.register_guard("key", handler)))
    }),
    ("a topic", |topics, _| {
        goes_at_once(|handler| {
            topics.register("own", handler);
            assert!(topics.remove("own"));
        })
    }),
    ("a join", |topics, _| {
        goes_at_once(|handler| {
            assert_eq!(
                topics.handle("key").options().joinable().register(handler).join(),
                Ok(())
            );
        })
    }),
];

const QUERIES_OF_TOPICS: [Step<Topics>; 4] = [
    ("topics", |topics, _| !topics.topics().is_empty()),
    ("get", |topics, _| {
        drop(topics.get("own"));
        topics.get("key").is_some()
    }),
    ("contains by key", |topics, id| {
        let is_there = |key| topics.get(key).is_some_and(|topic| topic.contains(id));
        !is_there("own") && is_there("key")
    }),
    ("handlers by key", |topics, _| {
        let count = |key| topics.get(key).map_or(0, |topic| topic.handlers().len());
        count("own") <= 1 && count("key") >= OTHERS
    }),
];

/// So many that it takes a while to list them.
const OTHERS: usize = 40;

fn registry() -> (Registry, HandlerId) {
    let registry = Registry::new();
    let ids = [(); OTHERS].map(|()| registry.register(|_| {}));
    (registry, ids[0])
}

fn topics() -> (Topics, HandlerId) {
    let topics = Topics::new();
    let ids = [(); OTHERS].map(|()| topics.register("key", |_| {}));
    (topics, ids[0])
}

fn beside_another_writer(time: Duration) {
    closures_go_with_their_removal(time, registry, &IN_A_REGISTRY, &IN_A_REGISTRY);
}

fn beside_another_writer_of_the_topic(time: Duration) {
    closures_go_with_their_removal(time, topics, &IN_A_TOPIC, &IN_A_TOPIC[..2]);
}

fn beside_queries(time: Duration) {
    closures_go_with_their_removal(time, registry, &IN_A_REGISTRY, &QUERIES_OF_A_REGISTRY);
}

fn beside_queries_of_topics(time: Duration) {
    closures_go_with_their_removal(time, topics, &IN_A_TOPIC, &QUERIES_OF_TOPICS);
}

#[test]
fn a_closure_goes_with_its_removal_beside_another_writer() {
    beside_another_writer(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn a_closure_goes_with_its_removal_beside_another_writer_for_long() {
    beside_another_writer(LONG);
}

#[test]
fn a_closure_goes_with_its_removal_beside_another_writer_of_the_topic() {
    beside_another_writer_of_the_topic(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn a_closure_goes_with_its_removal_beside_another_writer_of_the_topic_for_long() {
    beside_another_writer_of_the_topic(LONG);
}

#[test]
fn a_closure_goes_with_its_removal_beside_queries() {
    beside_queries(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn a_closure_goes_with_its_removal_beside_queries_for_long() {
    beside_queries(LONG);
}

#[test]
fn a_closure_goes_with_its_removal_beside_queries_of_topics() {
    beside_queries_of_topics(SHORT);
}

#[test]
#[ignore = "takes 10 seconds"]
fn a_closure_goes_with_its_removal_beside_queries_of_topics_for_long() {
    beside_queries_of_topics(LONG);
}
