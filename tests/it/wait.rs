//! Waits for an event, of threads and of tasks.

use std::cell::Cell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

use topic_registry::{SyncRegistry, TopicRegistry, Topics, WaitError, WaitFor};

use crate::support::{
    Bomb, Listens, Log, OnDrop, Subject, Wakes, for_each_subject, gate, log_of_panics, poll, within,
};

for_each_subject! {
    the_first_event_that_fits_is_given_out_once
    it_waits_from_the_moment_when_it_is_made
    a_thread_waits
    a_thread_that_waits_hears_of_a_removal
    it_ends_when_it_is_removed_in_any_way
    it_ends_while_a_dispatch_holds_its_handler
    dropping_it_unregisters
    a_task_is_woken_by_what_it_waits_for
    a_task_is_woken_by_a_removal
    the_waker_of_the_last_poll_is_woken
    a_task_that_waits_no_longer_is_not_woken
    it_is_removed_when_the_value_is_given_out
    a_waker_that_panics_goes_no_further
    a_waker_whose_destructor_panics_loses_no_event
    a_waker_that_is_replaced_may_notify
    a_closure_that_panics_waits_on
    of_several_values_one_is_given_out
    the_event_that_fits_is_the_last_though_its_call_has_not_ended
    values_whose_destructor_panics_go_no_further
    it_waits_inside_of_the_closure_of_another
    a_closure_that_removes_its_own_wait_ends_it
}

const LONG: Duration = Duration::from_secs(60);

/// What `wait_timeout` has at this moment.
fn look<T>(waiting: &mut WaitFor<T>) -> Result<T, WaitError> {
    waiting.wait_timeout(Duration::ZERO)
}

fn even(event: &u32) -> Option<u32> {
    (event % 2 == 0).then_some(*event)
}

fn the_first_event_that_fits_is_given_out_once<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let calls = log.clone();
    let mut waiting = subject.registry().wait_for(move |event| {
        calls.push(*event);
        even(event)
    });
    assert_eq!(look(&mut waiting), Err(WaitError::TimedOut));
    for event in [1, 3, 4, 5, 6] {
        let called = subject.notify(&event).called();
        assert_eq!(called, usize::from(event <= 4), "event {event}");
    }
    assert_eq!(log.take(), [1, 3, 4], "it is not called any more");
    assert!(subject.registry().is_empty());
    assert_eq!(look(&mut waiting), Ok(4));
    assert_eq!(look(&mut waiting), Err(WaitError::Removed));
    assert_eq!(waiting.wait_timeout(LONG), Err(WaitError::Removed));
    assert_eq!(waiting.wait(), Err(WaitError::Removed));
}

/// Not from when it is first polled, or waited for.
fn it_waits_from_the_moment_when_it_is_made<S: Subject>() {
    let subject = S::fresh();
    let line = line!() + 1;
    let mut waiting = subject.registry().wait_for(even);
    let listed = &subject.registry().handlers()[0];
    let place = (listed.registered_at.file(), listed.registered_at.line());
    assert_eq!(
        (listed.id, listed.priority, place),
        (waiting.id(), 0, (file!(), line))
    );
    assert!(format!("{waiting:?}").contains("WaitFor"));
    assert_eq!(subject.notify(&2).called(), 1);
    assert_eq!(waiting.wait_timeout(LONG), Ok(2));
    let waiting = subject.registry().wait_for(even);
    subject.notify(&4);
    assert_eq!(within("a wait for what has come", || waiting.wait()), Ok(4));
    let mut waiting = subject.registry().wait_for(even);
    subject.notify(&6);
    let polled = poll(Pin::new(&mut waiting), &Arc::default());
    assert_eq!(polled, Poll::Ready(Ok(6)));
}

fn a_thread_waits<S: Subject>() {
    for timeout in [None, Some(LONG), Some(Duration::MAX)] {
        let subject = S::fresh();
        let mut waiting = subject.registry().wait_for(even);
        let (enter, entered) = gate("the wait to begin");
        let waits = thread::spawn(move || {
            enter();
            match timeout {
                None => waiting.wait(),
                Some(timeout) => waiting.wait_timeout(timeout),
            }
        });
        entered();
        (0..100).for_each(|_| _ = subject.notify(&1));
        assert!(!waits.is_finished());
        assert_eq!(subject.notify(&2).called(), 1);
        assert_eq!(within("a wait", || waits.join().unwrap()), Ok(2));
        assert!(subject.registry().is_empty());
    }
}

fn a_thread_that_waits_hears_of_a_removal<S: Subject>() {
    let subject = S::fresh();
    let waiting = subject.registry().wait_for(even);
    let (enter, entered) = gate("the wait to begin");
    let waits = thread::spawn(move || {
        enter();
        waiting.wait()
    });
    entered();
    subject.clear();
    assert_eq!(
        within("a wait", || waits.join().unwrap()),
        Err(WaitError::Removed)
    );
}

/// A subject like others, and one whose calls are timed: that is one more layer between the list
/// and the handler.
fn plain_and_timed<S: Subject>() -> [S; 2] {
    let timed = Topics::builder().on_slow(Duration::from_secs(3600), |_, _, _| {});
    [S::fresh(), S::of(timed.build())]
}

fn it_ends_when_it_is_removed_in_any_way<S: Subject>() {
    let removals: [fn(&S, &WaitFor<u32>); 3] = [
        |subject, waiting| assert!(subject.unregister(waiting.id())),
        |subject, _| subject.clear(),
        |subject, waiting| {
            subject.registry().update(|batch| assert!(batch.unregister(waiting.id())));
        },
    ];
    for remove in removals {
        for subject in plain_and_timed::<S>() {
            let mut waiting = subject.registry().wait_for(even);
            remove(&subject, &waiting);
            assert_eq!(look(&mut waiting), Err(WaitError::Removed));
        }
    }
    for subject in plain_and_timed::<S>() {
        let mut waiting = subject.registry().wait_for(even);
        drop(subject);
        assert_eq!(
            look(&mut waiting),
            Err(WaitError::Removed),
            "gone with the registry"
        );
    }
}

fn it_ends_while_a_dispatch_holds_its_handler<S: Subject>() {
    for subject in plain_and_timed::<S>() {
        let (log, slot) = (Log::new(), Arc::new(Mutex::new(None::<WaitFor<u32>>)));
        let (same, own, outcomes) = (subject.clone(), Arc::clone(&slot), log.clone());
        subject.register(1, move |_| {
            let mut waiting = own.lock().unwrap().take().expect("it is called once");
            assert!(same.unregister(waiting.id()));
            outcomes.push(look(&mut waiting));
        });
        *slot.lock().unwrap() = Some(subject.registry().wait_for(even));
        let delivery = subject.notify(&2);
        assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
        assert_eq!(log.take(), [Err(WaitError::Removed)]);
        subject.clear();
    }
}

#[test]
fn it_ends_while_an_idle_pin_holds_its_handler() {
    for registry in plain_and_timed::<crate::support::Sync<crate::support::Topic>>() {
        let registry = registry.registry();
        let mut waiting = registry.wait_for(even);
        let mut pinned = registry.pin();
        pinned.refresh();
        registry.clear();
        assert_eq!(look(&mut waiting), Err(WaitError::Removed));
        let waiting = registry.wait_for(even);
        pinned.refresh();
        drop(waiting);
        assert_eq!(pinned.notify(&2).called(), 0);
    }
}

fn dropping_it_unregisters<S: Subject>() {
    let (subject, alive) = (S::fresh(), Arc::new(()));
    let owned = Arc::clone(&alive);
    let waiting = subject.registry().wait_for(move |event| {
        let _ = &owned;
        even(event)
    });
    assert_eq!(subject.registry().handler_count(), 1);
    drop(waiting);
    assert_eq!(
        (
            subject.registry().handler_count(),
            Arc::strong_count(&alive)
        ),
        (0, 1)
    );
    assert_eq!(subject.notify(&2).called(), 0);
}

fn a_task_is_woken_by_what_it_waits_for<S: Subject>() {
    let (subject, task) = (S::fresh(), Arc::<Wakes>::default());
    let mut waiting = subject.registry().wait_for(even);
    let mut polled = || poll(Pin::new(&mut waiting), &task);
    assert_eq!(polled(), Poll::Pending);
    subject.notify(&1);
    assert_eq!((task.take(), polled()), (0, Poll::Pending));
    subject.notify(&2);
    subject.notify(&4);
    assert_eq!((task.take(), polled()), (1, Poll::Ready(Ok(2))));
    assert_eq!(
        (polled(), task.take()),
        (Poll::Ready(Err(WaitError::Removed)), 0),
        "after its end"
    );
}

fn a_task_is_woken_by_a_removal<S: Subject>() {
    for subject in plain_and_timed::<S>() {
        let task = Arc::<Wakes>::default();
        let mut waiting = subject.registry().wait_for(even);
        let mut polled = || poll(Pin::new(&mut waiting), &task);
        assert_eq!(polled(), Poll::Pending);
        subject.clear();
        assert_eq!(task.take(), 1);
        assert_eq!(
            [polled(), polled()],
            [Poll::Ready(Err(WaitError::Removed)); 2]
        );

        let mut waiting = subject.registry().wait_for(even);
        assert_eq!(poll(Pin::new(&mut waiting), &task), Poll::Pending);
        drop(subject);
        assert_eq!(task.take(), 1);
        assert_eq!(
            poll(Pin::new(&mut waiting), &task),
            Poll::Ready(Err(WaitError::Removed))
        );
    }
}

fn the_waker_of_the_last_poll_is_woken<S: Subject>() {
    let (subject, tasks) = (S::fresh(), [(); 2].map(|()| Arc::<Wakes>::default()));
    let mut waiting = subject.registry().wait_for(even);
    for task in &tasks {
        assert_eq!(poll(Pin::new(&mut waiting), task), Poll::Pending);
    }
    subject.notify(&2);
    assert_eq!([tasks[0].take(), tasks[1].take()], [0, 1]);
    assert!(
        tasks.iter().all(|task| Arc::strong_count(task) == 1),
        "no waker is kept"
    );
}

/// A task that polls a wait and drops it in each of its polls would never come to rest.
fn a_task_that_waits_no_longer_is_not_woken<S: Subject>() {
    let (subject, task) = (S::fresh(), Arc::<Wakes>::default());
    let mut waiting = subject.registry().wait_for(even);
    assert_eq!(poll(Pin::new(&mut waiting), &task), Poll::Pending);
    drop(waiting);
    assert_eq!((task.take(), Arc::strong_count(&task)), (0, 1));
    assert_eq!((subject.notify(&2).called(), task.take()), (0, 0));
}

/// Also if the event that fits is still being handled, here by whom it wakes.
fn it_is_removed_when_the_value_is_given_out<S: Subject>() {
    struct Looks<S: Subject>(S, Mutex<Option<WaitFor<u32>>>, Log<(Option<u32>, usize)>);
    impl<S: Subject + Sync> Wake for Looks<S> {
        fn wake(self: Arc<Self>) {
            let mut waiting = self.1.lock().unwrap();
            let waiting = waiting.as_mut().expect("it was polled");
            let Poll::Ready(value) = poll(Pin::new(waiting), &Arc::default()) else {
                panic!("it is woken by the value");
            };
            self.2.push((value.ok(), self.0.registry().handler_count()));
        }
    }
    let (subject, log) = (S::fresh(), Log::new());
    let looks = Arc::new(Looks(subject.clone(), Mutex::new(None), log.clone()));
    let mut waiting = subject.registry().wait_for(even);
    let waker = Waker::from(Arc::clone(&looks));
    let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Pending);
    *looks.1.lock().unwrap() = Some(waiting);
    assert_eq!(subject.notify(&2).called(), 1);
    assert_eq!(log.take(), [(Some(2), 0)]);
    *looks.1.lock().unwrap() = None;
}

fn a_waker_that_panics_goes_no_further<S: Subject>() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a bad waker");
        }
    }
    let polled = |waiting: &mut WaitFor<u32>| {
        let bad = Waker::from(Arc::new(Bad));
        let pending = Pin::new(waiting).poll(&mut Context::from_waker(&bad));
        assert_eq!(pending, Poll::Pending);
    };
    let subject = S::fresh();
    let mut waiting = subject.registry().wait_for(even);
    polled(&mut waiting);
    let delivery = subject.notify(&2);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert!(subject.registry().is_empty(), "it is removed all the same");
    assert_eq!(look(&mut waiting), Ok(2));
    let mut waiting = subject.registry().wait_for(even);
    polled(&mut waiting);
    subject.clear();
    assert_eq!(look(&mut waiting), Err(WaitError::Removed));
    let mut waiting = subject.registry().wait_for(even);
    polled(&mut waiting);
    drop(waiting);
    assert_eq!(subject.panic_count(), 2, "each is counted once");
}

/// It may be the last owner of another task, so it may run that task's destructors.
fn a_waker_whose_destructor_panics_loses_no_event<S: Subject>() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("a bad waker");
        }
    }
    let subject = S::fresh();
    let log = log_of_panics(&subject);
    let mut waiting = subject.registry().wait_for(even);
    let task = Arc::default();
    for polls in 1..3 {
        // All that is left of it is the clone in the wait.
        let bad = Waker::from(Arc::new(Bad));
        let pending = Pin::new(&mut waiting).poll(&mut Context::from_waker(&bad));
        assert_eq!(pending, Poll::Pending);
        drop(bad);
        assert_eq!(poll(Pin::new(&mut waiting), &task), Poll::Pending);
        assert_eq!(log.take(), ["a bad waker"]);
        assert_eq!(subject.panic_count(), polls);
    }
    let bad = Waker::from(Arc::new(Bad));
    let pending = Pin::new(&mut waiting).poll(&mut Context::from_waker(&bad));
    assert_eq!(pending, Poll::Pending);
    drop(bad);
    let delivery = subject.notify(&2);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert_eq!(subject.panic_count(), 3, "the waker goes when it has woken");
    assert_eq!(poll(Pin::new(&mut waiting), &task), Poll::Ready(Ok(2)));
}

/// It is dropped with no lock held.
fn a_waker_that_is_replaced_may_notify<S: Subject>() {
    struct Notifies<S: Subject>(S);
    impl<S: Subject + Sync> Wake for Notifies<S> {
        fn wake(self: Arc<Self>) {
            unreachable!("it is replaced before");
        }
    }
    impl<S: Subject> Drop for Notifies<S> {
        fn drop(&mut self) {
            assert_eq!(self.0.notify(&2).called(), 1);
        }
    }
    within("a waker to be replaced", || {
        let (subject, task) = (S::fresh(), Arc::<Wakes>::default());
        let mut waiting = subject.registry().wait_for(even);
        let first = Waker::from(Arc::new(Notifies(subject)));
        let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&first));
        drop(first);
        assert_eq!(polled, Poll::Pending);
        assert_eq!(poll(Pin::new(&mut waiting), &task), Poll::Pending);
        assert_eq!(task.take(), 1, "by what the first waker did");
        assert_eq!(poll(Pin::new(&mut waiting), &task), Poll::Ready(Ok(2)));
    });
}

fn a_closure_that_panics_waits_on<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let mut waiting = subject.registry().wait_for(|event| {
        assert_ne!(*event, 1, "not one");
        even(event)
    });
    for _ in 0..2 {
        let delivery = subject.notify(&1);
        assert_eq!((delivery.called(), delivery.panicked()), (1, 1));
    }
    assert_eq!(
        (reports.take().len(), look(&mut waiting)),
        (2, Err(WaitError::TimedOut))
    );
    subject.notify(&2);
    assert_eq!(look(&mut waiting), Ok(2));
}

/// The inner event is first. What is made of the outer one is dropped.
fn of_several_values_one_is_given_out<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let (nested, drops) = (subject.clone(), log.clone());
    let mut waiting = subject.registry().wait_for(move |event| {
        if *event < 3 {
            nested.notify(&(event + 1));
        }
        let (event, log) = (*event, drops.clone());
        Some((event, OnDrop(move || log.push(event))))
    });
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert_eq!(log.take(), [2, 1, 0]);
    let Ok((event, _value)) = look(&mut waiting) else {
        panic!("one has won");
    };
    assert_eq!(event, 3);
}

/// Whom it wakes makes another one, before the handler is removed.
fn the_event_that_fits_is_the_last_though_its_call_has_not_ended<S: Subject>() {
    struct Notifies<S: Subject>(S, Log<usize>);
    impl<S: Subject + Sync> Wake for Notifies<S> {
        fn wake(self: Arc<Self>) {
            self.1.push(self.0.notify(&4).called());
        }
    }
    let (subject, log) = (S::fresh(), Log::new());
    let waker = Waker::from(Arc::new(Notifies(subject.clone(), log.clone())));
    let mut waiting = subject.registry().wait_for(even);
    let polled = Pin::new(&mut waiting).poll(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Pending);
    assert_eq!(subject.notify(&2).called(), 1);
    assert_eq!(log.take(), [1]);
    let found = [(); 2].map(|()| look(&mut waiting));
    assert_eq!(found, [Ok(2), Err(WaitError::Removed)]);
}

fn values_whose_destructor_panics_go_no_further<S: Subject>() {
    // With the wait that nobody has asked.
    let subject = S::fresh();
    let waiting = subject.registry().wait_for(|_| Some(Bomb("value")));
    subject.notify(&0);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(waiting))).is_ok());

    // With the dispatch that is the last to hold it.
    let slot = Arc::new(Mutex::new(None));
    let own = Arc::clone(&slot);
    *slot.lock().unwrap() = Some(subject.registry().wait_for(|_| Some(Bomb("value"))));
    subject.register(-1, move |_| drop(own.lock().unwrap().take()));
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (2, 0));
    subject.clear();
    assert_eq!(subject.panic_count(), 2, "each is counted once");

    // In the call that has come too late.
    let nested = subject.clone();
    let mut waiting = subject.registry().wait_for(move |event| match event {
        0 => {
            nested.notify(&1);
            Some(Err(Bomb("too late")))
        }
        _ => Some(Ok(*event)),
    });
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(
        (subject.panic_count(), subject.registry().handler_count()),
        (3, 0)
    );
    assert!(matches!(look(&mut waiting), Ok(Ok(1))));
}

fn it_waits_inside_of_the_closure_of_another<S: Subject>() {
    within("a wait inside of a closure", || {
        let subject = S::fresh();
        let same = subject.clone();
        let mut waiting = subject.registry().wait_for(move |event| match event {
            1 => {
                let inner = same.registry().wait_for(even);
                same.notify(&2);
                Some(inner.wait())
            }
            _ => None,
        });
        assert_eq!(subject.notify(&1).panicked(), 0);
        assert_eq!(look(&mut waiting), Ok(Ok(2)));
        assert!(subject.registry().is_empty());
    });
}

fn a_closure_that_removes_its_own_wait_ends_it<S: Subject>() {
    within("everything inside of a closure", || {
        let (subject, log) = (S::fresh(), Log::new());
        let (same, drops) = (subject.clone(), log.clone());
        let mut waiting = subject.registry().wait_for(move |event| {
            let drops = drops.clone();
            (*event == 0).then(|| {
                same.use_everything();
                OnDrop(move || drops.push("dropped"))
            })
        });
        assert_eq!(subject.notify(&0).panicked(), 0);
        assert!(matches!(look(&mut waiting), Err(WaitError::Removed)));
        assert_eq!(log.take(), ["dropped"]);
    });
}

/// The pins keep the handler, and with it the mailbox, when the wait is dropped.
#[test]
fn a_value_that_a_pin_holds_goes_no_further() {
    let registry = SyncRegistry::<u32>::new();
    let waiting = registry.wait_for(|_| Some(Bomb("value")));
    let mut pinned = registry.pin();
    assert_eq!(pinned.notify(&0).called(), 1);
    let mut other = registry.pin();
    other.refresh();
    drop(waiting);
    assert!(catch_unwind(AssertUnwindSafe(|| drop((pinned, other)))).is_ok());
    assert_eq!(registry.panic_count(), 1);
}

#[test]
fn a_topic_goes_with_what_waits_for_it() {
    let topics = TopicRegistry::<String, u32>::new();
    let waiting = topics.handle("a").wait_for(even);
    assert_eq!(topics.notify("a", &2).called(), 1);
    assert!(topics.is_empty());
    assert_eq!(waiting.wait(), Ok(2));
    drop(topics.handle("a").wait_for(even));
    assert!(topics.is_empty());
}

#[test]
fn it_goes_to_other_threads_if_the_value_does() {
    fn is_sent<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    // A `Cell` is `Send` and not `Sync`.
    is_sent::<WaitFor<Cell<u8>>>();
    is_sent::<topic_registry::Recorder<Cell<u8>>>();
    is_sent::<topic_registry::Paused>();
    is_sent::<topic_registry::WeakSyncRegistry<Cell<u8>>>();
    is_sent::<topic_registry::WeakTopicRegistry<u8, Cell<u8>>>();
}

#[test]
fn errors_are_for_people() {
    for error in [WaitError::Removed, WaitError::TimedOut] {
        let error: Box<dyn std::error::Error> = Box::new(error);
        assert!(error.to_string().contains("event"));
    }
}

/// Each clone is dropped with a panic: so is the one that a poll makes and does not need.
#[test]
fn a_waker_all_of_whose_clones_panic_when_dropped_loses_no_event() {
    static BAD: RawWakerVTable = RawWakerVTable::new(
        |data| RawWaker::new(data, &BAD),
        |_| {},
        |_| {},
        |_| panic!("a bad waker"),
    );
    // SAFETY: the data is not used.
    let bad = ManuallyDrop::new(unsafe { Waker::new(std::ptr::null(), &BAD) });
    let mut context = Context::from_waker(&bad);
    let registry = SyncRegistry::<u32>::new();
    let mut waiting = registry.wait_for(even);
    assert_eq!(Pin::new(&mut waiting).poll(&mut context), Poll::Pending);
    registry.notify(&2);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        Pin::new(&mut waiting).poll(&mut context)
    }));
    assert_eq!(polled.ok(), Some(Poll::Ready(Ok(2))));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(waiting))).is_ok());
}

/// The panic is the executor's, and unwinds to it.
#[test]
fn a_waker_that_panics_when_it_is_cloned_changes_nothing() {
    static BAD: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("a bad waker"), |_| {}, |_| {}, |_| {});
    // SAFETY: the data is not used.
    let bad = unsafe { Waker::new(std::ptr::null(), &BAD) };
    let mut context = Context::from_waker(&bad);
    let registry = SyncRegistry::<u32>::new();
    let mut waiting = registry.wait_for(even);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        Pin::new(&mut waiting).poll(&mut context)
    }));
    assert!(polled.is_err());
    assert_eq!(registry.notify(&2).called(), 1);
    assert_eq!(
        Pin::new(&mut waiting).poll(&mut context),
        Poll::Ready(Ok(2))
    );
}
