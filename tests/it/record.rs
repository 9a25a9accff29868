//! What tests are written with: recorders, and deliveries without panics.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use topic_registry::{Recorder, SyncRegistry, TopicRegistry, Topics, WaitError};

use crate::support::{Bomb, Listens, Log, Subject, for_each_subject, gate, log_of_panics, within};

for_each_subject! {
    it_records_in_order_until_it_is_dropped
    it_waits_for_so_many_events
    it_waits_for_events_of_another_thread
    a_wait_ends_when_the_recorder_is_removed
    a_closure_that_panics_records_nothing_and_stays
    what_it_recorded_goes_no_further_if_its_destructors_panic
    what_comes_after_its_removal_is_dropped
    a_delivery_without_panics_is_passed_on
}

const LONG: Duration = Duration::from_secs(60);

fn it_records_in_order_until_it_is_dropped<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    let (owned, line) = (Arc::clone(&alive), line!() + 1);
    let recorder = subject.registry().record(move |event| {
        let _ = &owned;
        event.to_string()
    });
    let listed = &subject.registry().handlers()[0];
    let place = (listed.registered_at.file(), listed.registered_at.line());
    assert_eq!(
        (listed.id, listed.priority, place),
        (recorder.id(), 0, (file!(), line))
    );
    assert!(recorder.is_empty());
    for event in [3, 1, 2] {
        assert_eq!(subject.notify(&event).called(), 1);
    }
    assert_eq!((recorder.len(), recorder.is_empty()), (3, false));
    let shown = format!("{recorder:?}");
    assert!(
        shown.contains("Recorder") && shown.contains("len: 3"),
        "{shown}"
    );
    assert_eq!(recorder.take(), ["3", "1", "2"]);
    assert_eq!((recorder.len(), recorder.take().len()), (0, 0));
    subject.notify(&4);
    assert_eq!(recorder.take(), ["4"]);
    drop(recorder);
    assert_eq!(
        (subject.notify(&5).called(), Arc::strong_count(&alive)),
        (0, 1)
    );
    assert!(subject.registry().is_empty());
}

fn it_waits_for_so_many_events<S: Subject>() {
    let subject = S::fresh();
    let recorder = subject.registry().record(|event| *event);
    let reached = |count| recorder.wait_for_count(count, Duration::ZERO);
    for event in 0..3 {
        let counts = [0, 1, 2, 3].map(|count| reached(count).is_ok());
        assert_eq!(counts, [0, 1, 2, 3].map(|count| count <= event));
        subject.notify(&u32::try_from(event).unwrap());
    }
    assert_eq!(recorder.wait_for_count(3, LONG), Ok(()));
    assert_eq!(reached(4), Err(WaitError::TimedOut));
    assert_eq!(recorder.take(), [0, 1, 2], "waiting takes nothing");
    assert_eq!(reached(1), Err(WaitError::TimedOut), "since the last take");
}

fn it_waits_for_events_of_another_thread<S: Subject>() {
    within("a recorder's wait", || {
        const EVENTS: u32 = 100;
        let subject = S::fresh();
        let recorder = subject.registry().record(|event| *event);
        let (enter, entered) = gate("the events");
        let notifies = thread::spawn(move || {
            entered();
            (0..EVENTS).for_each(|event| _ = subject.notify(&event));
            subject
        });
        enter();
        assert_eq!(
            recorder.wait_for_count(EVENTS as usize, Duration::MAX),
            Ok(())
        );
        assert_eq!(recorder.take(), (0..EVENTS).collect::<Vec<_>>());
        drop(notifies.join().unwrap());
    });
}

fn a_wait_ends_when_the_recorder_is_removed<S: Subject>() {
    let timed = Topics::builder().on_slow(Duration::from_secs(3600), |_, _, _| {});
    for subject in [S::fresh(), S::of(timed.build())] {
        let recorder = Arc::new(subject.registry().record(|event| *event));
        subject.notify(&7);
        let (enter, entered) = gate("the wait to begin");
        let same = Arc::clone(&recorder);
        let waits = thread::spawn(move || {
            enter();
            same.wait_for_count(2, Duration::MAX)
        });
        entered();
        assert!(subject.unregister(recorder.id()));
        let waited = within("a recorder's wait", || waits.join().unwrap());
        assert_eq!(waited, Err(WaitError::Removed));
        assert_eq!(
            recorder.wait_for_count(1, Duration::ZERO),
            Ok(()),
            "that one has come"
        );
        assert_eq!(recorder.take(), [7]);
        let recorder = subject.registry().record(|event| *event);
        drop(subject);
        assert_eq!(
            recorder.wait_for_count(1, Duration::MAX),
            Err(WaitError::Removed)
        );
    }
}

fn a_closure_that_panics_records_nothing_and_stays<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let recorder = subject.registry().record(|event| {
        assert_ne!(*event, 1, "it is one");
        *event
    });
    let panicked = [0, 1, 2].map(|event| subject.notify(&event).panicked());
    assert_eq!((panicked, recorder.take()), ([0, 1, 0], vec![0, 2]));
    assert_eq!(reports.take().len(), 1);
}

/// Two at least: a second panic while the first unwinds would abort.
fn what_it_recorded_goes_no_further_if_its_destructors_panic<S: Subject>() {
    let subject = S::fresh();
    let log = log_of_panics(&subject);
    let recorder = subject.registry().record(|_| Bomb("recorded"));
    (0..3).for_each(|event| _ = subject.notify(&event));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(recorder))).is_ok());
    assert_eq!(log.take(), ["recorded"; 3]);

    // Dropped by a dispatch, which is the last to hold it.
    let slot = Arc::new(Mutex::new(None));
    let own = Arc::clone(&slot);
    *slot.lock().unwrap() = Some(subject.registry().record(|_| Bomb("recorded")));
    subject.register(-1, move |event| {
        if *event == 2 {
            drop(own.lock().unwrap().take());
        }
    });
    let panicked = [0, 1, 2].map(|event| subject.notify(&event).panicked());
    assert_eq!(
        (panicked, subject.panic_count()),
        ([0; 3], 6),
        "each is counted once"
    );
    assert_eq!(subject.registry().handler_count(), 1);
}

fn what_comes_after_its_removal_is_dropped<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    let slot = Arc::new(Mutex::new(None::<Recorder<Arc<()>>>));
    let (same, own, value) = (subject.clone(), Arc::clone(&slot), Arc::clone(&alive));
    *slot.lock().unwrap() = Some(subject.registry().record(move |_| {
        // Its call has entered.
        let id = own.lock().unwrap().as_ref().map(Recorder::id);
        assert!(same.unregister(id.expect("it is recording")));
        Arc::clone(&value)
    }));
    assert_eq!(subject.notify(&0).panicked(), 0);
    let recorder = slot.lock().unwrap().take().expect("it was set");
    assert_eq!(recorder.len(), 0);
    assert_eq!(Arc::strong_count(&alive), 1);
}

fn a_delivery_without_panics_is_passed_on<S: Subject>() {
    let subject = S::fresh();
    subject.register(0, |event| assert_ne!(*event, 1, "it is one"));
    subject.register(0, |_| {});
    assert_eq!(subject.notify(&0).assert_no_panics(), subject.notify(&0));
    assert_eq!(subject.notify(&0).assert_no_panics().called(), 2);
    let delivery = subject.notify(&1);
    assert!(catch_unwind(|| delivery.assert_no_panics()).is_err());
}

#[test]
fn a_delivery_with_panics_panics_at_the_caller_and_says_how_many() {
    let registry = SyncRegistry::<u32>::new();
    registry.register(|_| {});
    for _ in 0..2 {
        registry.register(|_| panic!("a handler"));
    }
    let delivery = registry.notify(&0);
    // The hook is the process's, so it only listens to this thread.
    let (log, this, before) = (Log::new(), thread::current().id(), std::panic::take_hook());
    let before = Arc::new(before);
    let (places, rest) = (log.clone(), Arc::clone(&before));
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().id() == this {
            places.push(info.location().map(|place| (place.file().to_owned(), place.line())));
        } else {
            rest(info);
        }
    }));
    let here = Location::caller();
    let payload = catch_unwind(|| delivery.assert_no_panics()).unwrap_err();
    std::panic::set_hook(Box::new(move |info| before(info)));
    let message = payload.downcast::<String>().expect("a text");
    assert!(message.contains("2 of 3 handlers panicked"), "{message}");
    assert_eq!(
        log.take(),
        [Some((here.file().to_owned(), here.line() + 1))]
    );
}

#[test]
fn recorders_of_one_topic_are_independent() {
    let topics = TopicRegistry::<String, str>::new();
    let handle = topics.handle("a");
    let (one, two) = (handle.record(str::len), handle.record(str::to_owned));
    drop(handle);
    topics.notify("a", "event").assert_no_panics();
    assert_eq!(one.take(), [5]);
    drop(one);
    topics.notify("a", "more").assert_no_panics();
    assert_eq!(two.take(), ["event", "more"]);
    drop(two);
    assert!(topics.is_empty());
}

/// The handler, which a pin keeps, has the same mailbox.
#[test]
fn what_was_recorded_is_dropped_with_the_recorder_also_beside_an_idle_pin() {
    let (registry, alive) = (SyncRegistry::<u32>::new(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let recorder = registry.record(move |_| Arc::clone(&owned));
    let mut pinned = registry.pin();
    assert_eq!(pinned.notify(&0).called(), 1);
    assert_eq!(Arc::strong_count(&alive), 3);
    drop(recorder);
    assert_eq!(Arc::strong_count(&alive), 2, "the closure's own");
    pinned.refresh();
    assert_eq!(Arc::strong_count(&alive), 1);
}
