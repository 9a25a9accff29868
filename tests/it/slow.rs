//! Handlers whose calls take too long.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use topic_registry::{HandlerId, HandlerInfo, TopicRegistry, Topics};

use crate::support::{
    Bomb, Intercepts, KEY, Listens, Log, OnDrop, PROBE, RegistryOf, Subject, TopicsOf,
    for_each_subject, log_of_panics, owning, within,
};

for_each_subject! {
    each_call_that_takes_the_limit_is_reported_with_all_that_is_known
    it_is_reported_after_the_call_and_before_the_next
    calls_within_the_limit_are_not_reported
    a_call_that_is_skipped_is_not_reported
    a_call_that_panics_is_reported_too
    every_kind_of_handler_is_timed
    nothing_but_the_users_code_is_timed
    a_callback_that_panics_is_counted
    a_callback_that_notifies_is_not_called_again
    a_panic_of_what_a_callback_notifies_is_reported
    a_callback_and_one_for_panics_end_each_other
    a_callback_uses_everything
    the_callback_goes_with_what_can_call_it
    a_callback_whose_destructor_panics_goes_no_further
}

const HOUR: Duration = Duration::from_secs(3600);

/// A subject all of whose calls that take that long are reported, and the topics.
fn timed<S: Subject>(
    limit: Duration,
    callback: impl Fn(&HandlerInfo) + Send + Sync + 'static,
) -> (S, TopicsOf<S>) {
    let reported = move |key: &String, info: &HandlerInfo, time| {
        assert_eq!(key, KEY);
        assert!(time >= limit && time < HOUR, "{time:?}");
        callback(info);
    };
    let topics = Topics::builder().on_slow(limit, reported).build();
    (S::of(topics.clone()), topics)
}

/// A subject all of whose calls are reported, and the ids of their handlers.
fn logged<S: Subject>() -> (S, Log<HandlerId>) {
    let log = Log::new();
    let calls = log.clone();
    let (subject, _) = timed(Duration::ZERO, move |info| calls.push(info.id));
    (subject, log)
}

fn each_call_that_takes_the_limit_is_reported_with_all_that_is_known<S: Subject>() {
    let log = Log::new();
    let calls = log.clone();
    let (subject, topics) = timed::<S>(Duration::ZERO, move |info| calls.push(info.clone()));
    let (here, low) = (Location::caller(), subject.register(-1, |_| {}));
    let high = subject.register(7, |_| {});
    assert_eq!(log.take(), [], "nothing was called");
    for event in 0..3 {
        assert_eq!(subject.notify(&event).called(), 2);
        let told: Vec<_> = log.take();
        let ids: Vec<_> = told.iter().map(|info| (info.id, info.priority)).collect();
        assert_eq!(ids, [(high, 7), (low, -1)]);
        let place = told[1].registered_at;
        assert_eq!((place.file(), place.line()), (here.file(), here.line()));
        assert!(!told[0].paused);
    }
    // Topics that are gone leave that to their handles.
    drop(topics);
    subject.notify(&0);
    assert_eq!(log.take().len(), 2);
}

fn it_is_reported_after_the_call_and_before_the_next<S: Subject>() {
    let log = Log::new();
    let calls = log.clone();
    let (subject, _) = timed::<S>(Duration::ZERO, move |info| calls.push(-info.priority));
    for priority in [3, 2, 1] {
        let calls = log.clone();
        subject.register(priority, move |_| calls.push(priority));
    }
    subject.notify(&0);
    assert_eq!(log.take(), [3, -3, 2, -2, 1, -1]);
}

fn calls_within_the_limit_are_not_reported<S: Subject>() {
    let (subject, topics) = timed::<S>(HOUR, |_| unreachable!("it takes no hour"));
    subject.register(0, |_| {});
    subject.once(|event| assert_ne!(*event, 0, "it panics"));
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (2, 1));
    assert_eq!(topics.panic_count(), 1);
}

fn a_call_that_is_skipped_is_not_reported<S: Subject>() {
    let (subject, log) = logged::<S>();
    let removed = subject.register(0, |_| {});
    let paused = subject.register(0, |_| {});
    let pause = subject.registry().pause(paused);
    let same = subject.clone();
    let first = subject.register(1, move |event| {
        if *event == 0 {
            assert!(same.unregister(removed));
        }
    });
    assert_eq!(subject.notify(&0).called(), 1);
    assert_eq!(log.take(), [first]);
    drop(pause);
    subject.notify(&1);
    assert_eq!(log.take(), [first, paused]);
    subject.clear();
}

fn a_call_that_panics_is_reported_too<S: Subject>() {
    let (subject, log) = logged::<S>();
    let id = subject.register(0, |_| panic!("a call"));
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 1));
    assert_eq!(log.take(), [id]);
}

fn every_kind_of_handler_is_timed<S: Subject>() {
    use std::ops::ControlFlow::{Break, Continue};

    let (subject, log) = logged::<S>();
    let registry = subject.registry();
    let guard = subject.guard(|_| {});
    let veto = registry.options().register_interceptor(|event| match event {
        0 => Continue(()),
        _ => Break(()),
    });
    let joinable = registry.options().joinable().register_interceptor(|_| Continue(()));
    let joined = registry.handlers()[2].id;
    let in_batch = registry.update(|batch| batch.options().register_interceptor(|_| Continue(())));
    let (recorder, waiting) = (registry.record(|_| ()), registry.wait_for(|_| Some(())));
    let (once, until) = (subject.once(|_| {}), subject.until(|_| Break(())));
    assert_eq!(subject.notify(&0).called(), 8);
    let mut told = log.take();
    told.sort();
    let mut expected = vec![
        guard.id(),
        veto,
        joined,
        in_batch,
        recorder.id(),
        waiting.id(),
    ];
    expected.extend([once, until]);
    expected.sort();
    assert_eq!(told, expected);
    assert_eq!((recorder.len(), waiting.wait()), (1, Ok(())));
    assert!(!registry.contains(once) && !registry.contains(until));
    // What an interceptor decides comes through.
    assert!(subject.notify(&1).stopped());
    assert!(log.take().contains(&veto));
    drop((joinable, guard, recorder));
    subject.clear();
}

/// What observers and callbacks take is not the time of the handler beside which they run.
fn nothing_but_the_users_code_is_timed<S: Subject>() {
    use std::ops::ControlFlow::Break;

    let (times, others) = (Log::new(), Log::new());
    let time_of_calls = times.clone();
    let topics: TopicsOf<S> = Topics::builder()
        .on_slow(Duration::ZERO, move |_, _, time| time_of_calls.push(time))
        .build();
    let subject = S::of(topics.clone());
    // By key, a topic exists only as long as it has a handler, and else the registry below.
    let registry = subject.registry();
    let sleeps = move |others: &Log<Duration>| {
        let start = Instant::now();
        thread::sleep(Duration::from_millis(20));
        others.push(start.elapsed());
    };
    let of_observer = others.clone();
    let _observer = topics.observe_interest(move |_, _| sleeps(&of_observer));
    let of_callback = others.clone();
    topics.on_panic(move |_, _| sleeps(&of_callback));
    let waits = |registry: &RegistryOf<S>| registry.wait_for(|_| Some(()));

    let mut waiting = None;
    let kinds: [&mut dyn FnMut(); 4] = [
        &mut || _ = subject.once(|_| {}),
        &mut || _ = subject.until(|_| Break(())),
        &mut || waiting = Some(waits(&registry)),
        &mut || _ = subject.register(0, |_| panic!("a call")),
    ];
    for register in kinds {
        register();
        others.take();
        let start = Instant::now();
        assert_eq!(subject.notify(&0).called(), 1);
        // Parts of the whole that do not overlap.
        let whole = start.elapsed();
        let [call, other] = [times.take(), others.take()].map(|times| {
            assert_eq!(times.len(), 1);
            times[0]
        });
        assert!(call + other <= whole, "{call:?} and {other:?} of {whole:?}");
    }
    subject.clear();
}

fn a_callback_that_panics_is_counted<S: Subject>() {
    let (subject, topics) = timed::<S>(Duration::ZERO, |_| panic!("on_slow"));
    let (log, calls) = (Log::new(), Log::new());
    let told = log.clone();
    topics.on_panic(move |_, info| told.push(info.message().map(str::to_owned)));
    for n in 0..2 {
        let calls = calls.clone();
        subject.register(0, move |_| calls.push(n));
    }
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (2, 0));
    assert_eq!((calls.take(), topics.panic_count()), (vec![0, 1], 2));
    assert_eq!(log.take(), [], "callbacks' panics are not reported");
    subject.register(0, |_| panic!("a call"));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(
        (log.take(), topics.panic_count()),
        (vec![Some("a call".to_owned())], 6)
    );
}

fn a_callback_that_notifies_is_not_called_again<S: Subject>() {
    let (slot, log) = (Arc::new(std::sync::OnceLock::<S>::new()), Log::new());
    let (weak, calls) = (Arc::downgrade(&slot), log.clone());
    let (subject, _) = timed::<S>(Duration::ZERO, move |info| {
        let slot = weak.upgrade().expect("it is there");
        let subject = slot.get().expect("it is set");
        calls.push((info.id, subject.notify(&1).called()));
    });
    assert!(slot.set(subject.clone()).is_ok());
    let id = subject.register(0, |_| {});
    for _ in 0..2 {
        subject.notify(&0);
        assert_eq!(log.take(), [(id, 1)]);
    }
    subject.clear();
}

fn a_panic_of_what_a_callback_notifies_is_reported<S: Subject>() {
    let other = S::fresh();
    let log = log_of_panics(&other);
    other.register(0, |_| panic!("of the other"));
    let notified = other.clone();
    let (subject, _) = timed::<S>(Duration::ZERO, move |_| {
        assert_eq!(notified.notify(&0).panicked(), 1);
    });
    subject.register(0, |_| {});
    assert_eq!(subject.notify(&0).called(), 1);
    assert_eq!(
        (other.panic_count(), log.take()),
        (1, vec!["of the other".to_owned()])
    );
}

/// Callbacks that notify each other's registries come to an end.
fn a_callback_and_one_for_panics_end_each_other<S: Subject>() {
    let (reports, panics) = (Log::new(), Log::new());
    let slot = Arc::new(std::sync::OnceLock::<S>::new());
    let (weak, calls) = (Arc::downgrade(&slot), reports.clone());
    let notify = move |weak: &std::sync::Weak<std::sync::OnceLock<S>>| {
        let slot = weak.upgrade().expect("it is there");
        slot.get().expect("it is set").notify(&0);
    };
    let (subject, _) = timed::<S>(Duration::ZERO, move |_| {
        calls.push(());
        notify(&weak);
    });
    let (weak, calls) = (Arc::downgrade(&slot), panics.clone());
    subject.on_panic(move |_| {
        calls.push(());
        notify(&weak);
    });
    assert!(slot.set(subject.clone()).is_ok());
    subject.register(0, |_| panic!());
    subject.notify(&0);
    assert_eq!(subject.panic_count(), 5);
    assert_eq!((reports.take().len(), panics.take().len()), (2, 2));
    subject.clear();
}

/// No lock is held, as another thread that is waited for shows; nor is one of a joinable handler's.
fn a_callback_uses_everything<S: Subject>() {
    within("everything inside of a callback", || {
        let slot = Arc::new(std::sync::OnceLock::<S>::new());
        let (weak, ran) = (Arc::downgrade(&slot), Arc::new(AtomicBool::new(false)));
        let is_first = Arc::clone(&ran);
        let (subject, topics) = timed::<S>(Duration::ZERO, move |_| {
            if !is_first.swap(true, Ordering::Relaxed) {
                let slot = weak.upgrade().expect("it is there");
                let subject = slot.get().expect("it is set").clone();
                subject.use_everything();
                within("another thread's use of what is in use", move || {
                    subject.use_everything();
                });
            }
        });
        assert!(slot.set(subject.clone()).is_ok());
        let registry = subject.registry();
        let joinable = registry
            .options()
            .joinable()
            .register_interceptor(|_| std::ops::ControlFlow::Continue(()));
        assert_eq!(subject.notify(&PROBE).called(), 1);
        assert!(ran.load(Ordering::Relaxed));
        assert_eq!(topics.panic_count(), 0);
        drop(joinable);
    });
}

/// The last of the topics, their handles, and handlers.
fn the_callback_goes_with_what_can_call_it<S: Subject>() {
    let alive = Arc::new(());
    let owned = Arc::clone(&alive);
    let (subject, topics) = timed::<S>(Duration::ZERO, move |_| _ = &owned);
    subject.register(0, |_| {});
    subject.notify(&0);
    drop(topics);
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(subject);
    assert_eq!(Arc::strong_count(&alive), 1);
}

fn a_callback_whose_destructor_panics_goes_no_further<S: Subject>() {
    let bomb = Bomb("on_slow");
    let (subject, topics) = timed::<S>(Duration::ZERO, move |_| _ = &bomb);
    subject.register(0, |_| {});
    subject.notify(&0);
    drop((subject, topics));
    // One that is replaced, and one of which nothing is built.
    let bombs = [Bomb("replaced"), Bomb("not built")];
    let [replaced, unused] = bombs;
    let builder = TopicRegistry::<u32, u32>::builder();
    drop(
        builder
            .on_slow(HOUR, move |_, _, _| _ = &replaced)
            .on_slow(HOUR, move |_, _, _| _ = &unused),
    );
}

/// With no lock held, on whichever thread that is.
#[test]
fn the_destructor_of_a_callback_uses_other_topics() {
    within("the destructor of a callback", || {
        let (other, log) = (crate::support::ByKey::fresh(), Log::new());
        let told = log.clone();
        let owned = OnDrop(move || {
            other.use_everything();
            told.push("dropped");
        });
        let topics: TopicRegistry<u32, u32> =
            TopicRegistry::builder().on_slow(HOUR, move |_, _, _| _ = &owned).build();
        topics.register(1_u32, owning(()));
        drop(topics);
        assert_eq!(log.take(), ["dropped"]);
    });
}

#[test]
fn timed_and_named_go_together_and_others_are_not_timed() {
    let log = Log::new();
    let calls = log.clone();
    let timed: TopicRegistry<u32, u32> = TopicRegistry::builder()
        .name("bus")
        .debug_keys()
        .on_slow(Duration::ZERO, move |key, _, _| calls.push(*key))
        .build();
    let other = TopicRegistry::<u32, u32>::builder().name("other").build();
    for topics in [&timed, &other] {
        topics.register(7_u32, |_| {});
        assert_eq!(topics.notify(&7, &0).called(), 1);
    }
    assert_eq!(log.take(), [7]);
    assert!(format!("{timed:?}").contains("bus"));
}

#[cfg(feature = "async")]
mod asynchronous {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::time::Duration;

    use topic_registry::{AsyncTopicRegistry, Delivery};

    use crate::support::{Log, Wakes, poll, yields};

    type Topics = AsyncTopicRegistry<u32, u32>;
    type Notify = fn(&Topics) -> Pin<Box<dyn Future<Output = Delivery> + '_>>;

    const NOTIFIES: [Notify; 2] = [
        |topics| Box::pin(topics.notify(&7, &0)),
        |topics| Box::pin(topics.notify_sequential(&7, &0)),
    ];

    /// What one dispatch logs in so many polls, of a handler that yields twice.
    fn polls(notify: Notify, topics: &Topics, log: &Log<&'static str>) -> Vec<Vec<&'static str>> {
        let calls = log.clone();
        topics.register(7_u32, move |_| {
            let log = calls.clone();
            async move {
                for name in ["one", "two", "three"] {
                    log.push(name);
                    if name == "three" {
                        assert!(log.take().is_empty(), "it panics");
                    }
                    yields().await;
                }
            }
        });
        let (mut dispatch, task) = (notify(topics), Arc::<Wakes>::default());
        let polled = (0..3).map(|n| {
            let outcome = poll(dispatch.as_mut(), &task);
            assert_eq!(outcome.is_ready(), n == 2);
            log.take()
        });
        polled.collect()
    }

    /// The last of them unwinds.
    #[test]
    fn each_poll_is_timed() {
        for notify in NOTIFIES {
            let log = Log::new();
            let calls = log.clone();
            let topics: Topics = Topics::builder()
                .on_slow(Duration::ZERO, move |_, _, _| calls.push("slow"))
                .build();
            let polls = polls(notify, &topics, &log);
            assert_eq!(
                polls,
                [vec!["one", "slow"], vec!["two", "slow"], vec!["slow"]]
            );
            assert_eq!(topics.panic_count(), 1);
        }
    }

    #[test]
    fn a_callback_that_panics_while_a_poll_unwinds_is_counted() {
        for notify in NOTIFIES {
            let log = Log::new();
            let topics: Topics =
                Topics::builder().on_slow(Duration::ZERO, |_, _, _| panic!("on_slow")).build();
            assert_eq!(
                polls(notify, &topics, &log),
                [vec!["one"], vec!["two"], vec![]]
            );
            assert_eq!(topics.panic_count(), 4);
        }
    }

    #[test]
    fn polls_within_the_limit_are_not_reported() {
        for notify in NOTIFIES {
            let log = Log::new();
            let calls = log.clone();
            let topics: Topics = Topics::builder()
                .on_slow(super::HOUR, move |_, _, _| calls.push("slow"))
                .build();
            assert_eq!(
                polls(notify, &topics, &log),
                [vec!["one"], vec!["two"], vec![]]
            );
        }
    }

    /// What its future owns is dropped as it is without a limit: once, with the dispatch.
    #[test]
    fn a_dispatch_that_is_dropped_drops_a_timed_future() {
        for notify in NOTIFIES {
            let (log, alive) = (Log::new(), Arc::new(()));
            let calls = log.clone();
            let topics: Topics = Topics::builder()
                .on_slow(Duration::ZERO, move |_, _, _| calls.push("slow"))
                .build();
            let owned = Arc::clone(&alive);
            topics.register(7_u32, move |_| {
                let owned = Arc::clone(&owned);
                async move {
                    yields().await;
                    drop(owned);
                }
            });
            let (mut dispatch, task) = (notify(&topics), Arc::<Wakes>::default());
            assert!(poll(dispatch.as_mut(), &task).is_pending());
            assert_eq!((log.take(), Arc::strong_count(&alive)), (vec!["slow"], 3));
            drop(dispatch);
            assert_eq!((log.take(), Arc::strong_count(&alive)), (vec![], 2));
        }
    }
}
