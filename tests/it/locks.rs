//! No user code runs or is dropped under a lock of ours (G3), and everything may be
//! called from everywhere (G4).
//!
//! Each test puts `use_everything` somewhere into user code: on the same thread, where a
//! lock that is held and not re-entrant would hang, and on another one that is waited
//! for, where any lock that is held would.

use std::cell::RefCell;
use std::ops::ControlFlow::{Break, Continue};
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use topic_registry::{HandlerId, Recorder, TopicRegistry, WaitFor};

use crate::support::{Listens, OnDrop, PROBE, Subject, for_each_subject, owning, within};

for_each_subject! {
    in_a_handler
    in_a_callback
    in_the_destructor_of_a_closure
    in_the_destructor_of_a_closure_at_the_end_of_a_dispatch
    in_the_destructor_of_a_replaced_callback
    in_the_destructor_of_a_payload
    in_the_destructor_of_a_thread_local
    in_the_destructor_of_a_closure_that_goes_with_the_registry
    in_a_handler_that_ends_itself_and_in_its_destructor
    in_the_destructor_of_a_closure_that_waits
    in_the_destructor_of_a_closure_that_records
    in_the_destructors_of_values_that_were_waited_for_and_recorded
    in_the_destructor_of_a_value_that_comes_too_late
    at_any_depth
}

/// So many dispatches over one list make its lane hot.
const HEATS: usize = if cfg!(miri) { 4 } else { 1_000 };

/// User code that uses everything, here and on another thread, the first time it runs.
fn probe<S: Subject>(subject: S) -> (impl Fn() + Clone + Send + Sync + 'static, impl FnOnce()) {
    let ran = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&ran);
    let run = move || {
        if !ran.swap(true, Ordering::Relaxed) {
            subject.use_everything();
            let subject = subject.clone();
            within("somebody else's use of what is in use", move || {
                subject.use_everything();
            });
        }
    };
    (run, move || assert!(done.load(Ordering::Relaxed), "it ran"))
}

fn in_a_handler<S: Subject>() {
    within("a handler", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        subject.register(0, {
            let run = run.clone();
            move |event| {
                if *event != PROBE {
                    run();
                }
            }
        });
        // By the way that a list takes which is often dispatched and not changed.
        for _ in 0..HEATS {
            subject.notify(&PROBE);
        }
        subject.notify(&0);
        ran();
        let (run, ran) = probe(subject.clone());
        subject.once(move |_| run());
        subject.notify(&0);
        ran();
        subject.clear();
    });
}

fn in_a_callback<S: Subject>() {
    within("a callback", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        subject.on_panic(move |_| run());
        subject.register(0, |_| panic!("told to the callback"));
        subject.notify(&0);
        ran();
        subject.clear();
    });
}

fn in_the_destructor_of_a_closure<S: Subject>() {
    let removals: [fn(&S, topic_registry::HandlerGuard); 3] = [
        |subject, guard| assert!(subject.unregister(guard.id())),
        |subject, _guard| subject.clear(),
        |_, guard| drop(guard),
    ];
    for remove in removals {
        within("the destructor of a closure", move || {
            let subject = S::fresh();
            let (run, ran) = probe(subject.clone());
            let guard = subject.guard(owning(OnDrop(run)));
            remove(&subject, guard);
            ran();
        });
    }
}

fn in_the_destructor_of_a_closure_at_the_end_of_a_dispatch<S: Subject>() {
    within("the end of a dispatch", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        let (same, victim) = (subject.clone(), Arc::new(Mutex::new(None)));
        let id = Arc::clone(&victim);
        subject.register(1, move |_| {
            let id = id.lock().unwrap().take();
            if let Some(id) = id {
                assert!(same.unregister(id));
            }
        });
        *victim.lock().unwrap() = Some(subject.register(0, owning(OnDrop(run))));
        subject.notify(&0);
        ran();
        subject.clear();
    });
}

fn in_the_destructor_of_a_replaced_callback<S: Subject>() {
    within("the destructor of a callback", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        let owned = OnDrop(run);
        subject.on_panic(move |_| {
            let _ = &owned;
        });
        subject.on_panic(|_| {});
        ran();
    });
}

fn in_the_destructor_of_a_payload<S: Subject>() {
    within("the destructor of a payload", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        subject.once(move |_| panic_any(OnDrop(run)));
        subject.notify(&0);
        ran();
    });
}

fn in_the_destructor_of_a_thread_local<S: Subject>() {
    thread_local! {
        static LATE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }
    let subject = S::fresh();
    let (run, ran) = probe(subject.clone());
    let other = thread::spawn(move || {
        // Before anything of the library's own is set up for this thread, so that it is
        // torn down after that.
        LATE.set(Some(Box::new(|| {})));
        subject.use_everything();
        let last = OnDrop(run);
        LATE.set(Some(Box::new(move || drop(last))));
    });
    within("a thread to be torn down", || other.join().unwrap());
    ran();
}

fn in_the_destructor_of_a_closure_that_goes_with_the_registry<S: Subject>() {
    within("a registry to be dropped", || {
        let (subject, other) = (S::fresh(), S::fresh());
        let (run, ran) = probe(other.clone());
        subject.register(0, owning(OnDrop(run)));
        drop(subject);
        ran();
    });
}

fn in_a_handler_that_ends_itself_and_in_its_destructor<S: Subject>() {
    within("a handler that ends itself", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        let (late, was_late) = probe(subject.clone());
        let owned = OnDrop(late);
        subject.until(move |event| {
            let _ = &owned;
            if *event == PROBE {
                return Continue(());
            }
            run();
            Break(())
        });
        assert_eq!(subject.notify(&0).called(), 1);
        ran();
        was_late();
    });
}

type End<S, H> = Box<dyn Fn(&S, H) + Send>;

/// The ways in which a handler goes that is registered as long as `H` lives.
fn ends<S: Subject, H>(id: fn(&H) -> HandlerId) -> [End<S, H>; 4]
where
    H: 'static,
{
    [
        Box::new(|subject, registered| {
            subject.notify(&0);
            drop(registered);
        }),
        Box::new(move |subject, registered| assert!(subject.unregister(id(&registered)))),
        Box::new(|subject, _registered| subject.clear()),
        Box::new(|_, registered| drop(registered)),
    ]
}

fn in_the_destructor_of_a_closure_that_waits<S: Subject>() {
    for end in ends::<S, WaitFor<()>>(WaitFor::id) {
        within("the destructor of a closure that waits", move || {
            let subject = S::fresh();
            let (run, ran) = probe(subject.clone());
            let owned = OnDrop(run);
            let waiting = subject.registry().wait_for(move |event| {
                let _ = &owned;
                (*event != PROBE).then_some(())
            });
            end(&subject, waiting);
            ran();
        });
    }
}

fn in_the_destructor_of_a_closure_that_records<S: Subject>() {
    for end in ends::<S, Recorder<()>>(Recorder::id) {
        within("the destructor of a closure that records", move || {
            let subject = S::fresh();
            let (run, ran) = probe(subject.clone());
            let owned = OnDrop(run);
            let recorder = subject.registry().record(move |_| _ = &owned);
            end(&subject, recorder);
            ran();
        });
    }
}

fn in_the_destructors_of_values_that_were_waited_for_and_recorded<S: Subject>() {
    within("the destructor of a value", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        let value = move |event: &u32| (*event != PROBE).then(|| OnDrop(run.clone()));
        let waiting = subject.registry().wait_for(value);
        assert_eq!(subject.notify(&0).called(), 1);
        drop(waiting);
        ran();
        let (run, ran) = probe(subject.clone());
        let recorder = subject.registry().record(move |_| OnDrop(run.clone()));
        assert_eq!(subject.notify(&0).called(), 1);
        drop(recorder);
        ran();
    });
}

/// It looks at what it was made for.
fn in_the_destructor_of_a_value_that_comes_too_late<S: Subject>() {
    type Slot<T> = Arc<Mutex<Option<Arc<Recorder<T>>>>>;
    within("the destructor of a value that comes too late", || {
        let (subject, looked) = (S::fresh(), Arc::new(AtomicBool::new(false)));
        let slot = Slot::<OnDrop<Box<dyn FnMut() + Send>>>::default();
        let (own, same, looks) = (Arc::clone(&slot), subject.clone(), Arc::clone(&looked));
        let recorder = subject.registry().record(move |_| {
            let recorder = own.lock().unwrap().clone().expect("it is set");
            assert!(same.unregister(recorder.id()));
            let looks = Arc::clone(&looks);
            OnDrop(Box::new(move || looks.store(recorder.is_empty(), Ordering::Relaxed)) as Box<_>)
        });
        *slot.lock().unwrap() = Some(Arc::new(recorder));
        assert_eq!(subject.notify(&0).panicked(), 0);
        assert!(looked.load(Ordering::Relaxed));
        *slot.lock().unwrap() = None;
    });
}

fn at_any_depth<S: Subject>() {
    within("a deeply nested dispatch", || {
        let subject = S::fresh();
        let (run, ran) = probe(subject.clone());
        let same = subject.clone();
        subject.register(0, move |event| match event {
            0 => run(),
            &PROBE => {}
            depth => assert_eq!(same.notify(&(depth - 1)).panicked(), 0),
        });
        assert_eq!(subject.notify(&40).panicked(), 0);
        ran();
        subject.clear();
    });
}

/// Closures that own guards, of their own key and of all others, whichever goes first.
#[test]
fn closures_that_own_guards_of_their_neighbours_end_with_them() {
    let ways: [fn(&Topics); 4] = [
        remove_each,
        TopicRegistry::clear,
        |topics| four_times(|| remove_each(topics)),
        |topics| four_times(|| topics.clear()),
    ];
    for way in ways {
        for _ in 0..20 {
            within("guards owned by closures", move || {
                let topics = tangle();
                way(&topics);
                assert_eq!(topics.len(), 0);
            });
        }
    }
    within("guards owned by closures that go with the topics", || {
        drop(tangle());
    });
}

type Topics = TopicRegistry<u32, u32>;

const KEYS: u32 = 64;

fn tangle() -> Topics {
    let topics = Topics::new();
    for key in 0..KEYS {
        let same = topics.register_guard(key, |_| {});
        let next = topics.register_guard((key + 1) % KEYS, |_| {});
        let both = topics.register_guard((key + 7) % KEYS, owning((same, next)));
        topics.register(key, owning(both));
    }
    topics
}

fn remove_each(topics: &Topics) {
    for key in 0..KEYS {
        topics.remove(&key);
    }
}

fn four_times(f: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(&f);
        }
    });
}
