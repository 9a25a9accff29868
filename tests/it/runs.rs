//! Handlers of one closure type that stand next to each other, which one call calls: each of them
//! is treated as if it stood alone.

use std::collections::HashMap;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::{Arc, Mutex};

use topic_registry::{HandlerId, SyncRegistry};

use crate::support::{Log, OnDrop, Subject, for_each_subject, gate, within};

for_each_subject! {
    each_panic_in_a_run_is_reported_with_its_own_id
    a_handler_that_an_earlier_one_of_its_run_removes_is_not_started
    a_handler_that_an_earlier_one_of_its_run_pauses_is_not_started
    a_handler_removes_itself_and_its_run_goes_on
    what_a_run_registers_waits_for_the_next_dispatch
    a_run_that_is_cleared_ends
    a_run_notifies_itself
    handlers_for_a_single_call_that_are_a_run_are_called_once
    handlers_that_end_themselves_leave_the_rest_of_their_run
    closures_that_a_run_removes_are_dropped_when_it_ends
    runs_of_several_types_are_called_in_order
    types_that_differ_in_a_captured_generic_are_called_as_what_they_are
}

/// From a run that is one call to runs that go on in the next chunks.
const LENS: [usize; 5] = [2, 7, 64, 65, 200];

type Act = Box<dyn FnOnce() + Send>;

/// A subject whose handlers are of one closure type: each of them leaves its number, and may do
/// something else once.
struct Stage<S> {
    subject: S,
    ids: Vec<HandlerId>,
    log: Log<usize>,
    acts: Arc<Mutex<HashMap<usize, Act>>>,
}

impl<S: Subject> Stage<S> {
    fn new(len: usize) -> Self {
        let mut stage = Self {
            subject: S::fresh(),
            ids: Vec::new(),
            log: Log::new(),
            acts: Arc::default(),
        };
        stage.ids = (0..len).map(|number| stage.register(number)).collect();
        stage
    }

    fn register(&self, number: usize) -> HandlerId {
        register(&self.subject, &self.log, &self.acts, number)
    }

    /// Has a handler do this, in its next call.
    fn on(&self, number: usize, act: impl FnOnce() + Send + 'static) {
        self.acts.lock().unwrap().insert(number, Box::new(act));
    }

    /// Notifies, and checks who is called.
    #[track_caller]
    fn calls(&self, expected: impl IntoIterator<Item = usize>) {
        let delivery = self.subject.notify(&0);
        let expected: Vec<usize> = expected.into_iter().collect();
        assert_eq!(self.log.take(), expected);
        assert_eq!(delivery.called(), expected.len());
        assert_eq!(delivery.panicked(), 0);
    }
}

fn register<S: Subject>(
    subject: &S,
    log: &Log<usize>,
    acts: &Arc<Mutex<HashMap<usize, Act>>>,
    number: usize,
) -> HandlerId {
    let (log, acts) = (log.clone(), Arc::clone(acts));
    subject.register(0, move |_| {
        log.push(number);
        let act = acts.lock().unwrap().remove(&number);
        if let Some(act) = act {
            act();
        }
    })
}

fn each_panic_in_a_run_is_reported_with_its_own_id<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let reported = Log::new();
        let reports = reported.clone();
        stage.subject.on_panic(move |info| {
            let message = info.message().map(str::to_owned);
            reports.push((info.handler_id().unwrap(), message));
        });
        let mut panicking = vec![0, len / 2, len - 1];
        panicking.dedup();
        for &number in &panicking {
            stage.on(number, move || panic!("number {number}"));
        }
        let delivery = stage.subject.notify(&0);
        assert_eq!(
            (delivery.called(), delivery.panicked()),
            (len, panicking.len())
        );
        assert!(
            stage.log.take().into_iter().eq(0..len),
            "all were called, in order"
        );
        let told = |&number: &usize| (stage.ids[number], Some(format!("number {number}")));
        assert_eq!(
            reported.take(),
            panicking.iter().map(told).collect::<Vec<_>>()
        );
        assert_eq!(stage.subject.panic_count(), panicking.len() as u64);
        stage.calls(0..len);
    }
}

fn a_handler_that_an_earlier_one_of_its_run_removes_is_not_started<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let (subject, ids) = (stage.subject.clone(), [1, len - 1].map(|at| stage.ids[at]));
        stage.on(0, move || {
            for id in ids {
                subject.unregister(id);
            }
        });
        let rest = (0..len).filter(|at| ![1, len - 1].contains(at));
        stage.calls(rest.clone());
        stage.calls(rest);
    }
}

fn a_handler_that_an_earlier_one_of_its_run_pauses_is_not_started<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let (registry, id) = (stage.subject.registry(), stage.ids[len - 1]);
        let pauses = Arc::new(Mutex::new(None));
        let own = Arc::clone(&pauses);
        stage.on(0, move || *own.lock().unwrap() = registry.pause(id));
        stage.calls(0..len - 1);
        stage.calls(0..len - 1);
        drop(pauses.lock().unwrap().take());
        stage.calls(0..len);
    }
}

fn a_handler_removes_itself_and_its_run_goes_on<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let (subject, id) = (stage.subject.clone(), stage.ids[1]);
        stage.on(1, move || assert!(subject.unregister(id)));
        stage.calls(0..len);
        stage.calls((0..len).filter(|at| *at != 1));
    }
}

fn what_a_run_registers_waits_for_the_next_dispatch<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let (subject, log, acts) = (
            stage.subject.clone(),
            stage.log.clone(),
            Arc::clone(&stage.acts),
        );
        stage.on(0, move || _ = register(&subject, &log, &acts, len));
        stage.calls(0..len);
        stage.calls(0..=len);
    }
}

fn a_run_that_is_cleared_ends<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let subject = stage.subject.clone();
        stage.on(len / 2, move || subject.clear());
        stage.calls(0..=len / 2);
        stage.calls([]);
    }
}

fn a_run_notifies_itself<S: Subject>() {
    for len in LENS {
        let stage = Stage::<S>::new(len);
        let subject = stage.subject.clone();
        stage.on(1, move || assert_eq!(subject.notify(&0).called(), len));
        assert_eq!(stage.subject.notify(&0).called(), len);
        let nested = (0..2).chain(0..len).chain(2..len);
        assert!(stage.log.take().into_iter().eq(nested));
    }
}

fn handlers_for_a_single_call_that_are_a_run_are_called_once<S: Subject>() {
    for len in LENS {
        let (subject, log) = (S::fresh(), Log::new());
        for number in 0..len {
            let (log, again) = (log.clone(), subject.clone());
            subject.once(move |_| {
                log.push(number);
                if number == 1 {
                    // Nobody is left but those behind it.
                    assert_eq!(again.notify(&0).called(), len - 2);
                }
            });
        }
        assert_eq!(subject.notify(&0).called(), 2);
        assert!(log.take().into_iter().eq(0..len));
        assert!(subject.registry().is_empty());
    }
}

fn handlers_that_end_themselves_leave_the_rest_of_their_run<S: Subject>() {
    for len in LENS {
        let (subject, log) = (S::fresh(), Log::new());
        for number in 0..len {
            let log = log.clone();
            subject.until(move |_| {
                log.push(number);
                if number % 2 == 0 {
                    Break(())
                } else {
                    Continue(())
                }
            });
        }
        assert_eq!(subject.notify(&0).called(), len);
        assert!(log.take().into_iter().eq(0..len));
        assert_eq!(subject.notify(&0).called(), len / 2);
        assert!(log.take().into_iter().eq((0..len).filter(|at| at % 2 == 1)));
    }
}

/// Not before, whatever other closures of the run do.
fn closures_that_a_run_removes_are_dropped_when_it_ends<S: Subject>() {
    for len in LENS {
        let (subject, log) = (S::fresh(), Log::new());
        let (enter, entered) = gate("the first handler");
        let (leave, left) = gate("the removals");
        let gates = Arc::new((enter, left));
        for number in 0..len {
            let (log, gates) = (log.clone(), Arc::clone(&gates));
            let dropped = OnDrop({
                let log = log.clone();
                move || log.push(("dropped", number))
            });
            subject.register(0, move |_| {
                let _ = &dropped;
                log.push(("called", number));
                if number == 0 {
                    (gates.0)();
                    (gates.1)();
                }
            });
        }
        let same = subject.clone();
        let dispatch = std::thread::spawn(move || same.notify(&0).called());
        entered();
        subject.clear();
        assert_eq!(log.take(), [("called", 0)]);
        leave();
        assert_eq!(within("the dispatch", move || dispatch.join().unwrap()), 1);
        let mut dropped = log.take();
        dropped.sort_unstable();
        assert!(dropped.into_iter().eq((0..len).map(|number| ("dropped", number))));
    }
}

/// One of four closure types, which leaves its number in its own way.
fn register_one_of_four<S: Subject>(
    subject: &S,
    log: &Log<(usize, usize)>,
    (kind, priority, number): (usize, i32, usize),
) -> HandlerId {
    let log = log.clone();
    match kind {
        0 => subject.register(priority, move |_| log.push((0, number))),
        1 => subject.register(priority, move |_| log.push((1, number))),
        2 => {
            let numbers = [number; 3];
            subject.register(priority, move |_| log.push((2, numbers[1])))
        }
        _ => {
            let number = Box::new(number);
            subject.register(priority, move |_| log.push((3, *number)))
        }
    }
}

/// Runs of all lengths arise and go: they are split, joined, and cut by the ends of chunks.
fn runs_of_several_types_are_called_in_order<S: Subject>() {
    for longest in [1, 2, 7, 100] {
        let (subject, log) = (S::fresh(), Log::new());
        let mut model = Vec::new();
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(random >> 33).expect("31 bits") % below
        };
        for number in 0..300 {
            let kind = number / longest % 4;
            // Most are added at the end.
            let priority = i32::from(next(4) == 0);
            let id = register_one_of_four(&subject, &log, (kind, priority, number));
            model.push((std::cmp::Reverse(priority), number, kind, id));
        }
        model.sort_unstable();
        while !model.is_empty() {
            let called = subject.notify(&0).called();
            assert_eq!(called, model.len());
            let expected = model.iter().map(|(_, number, kind, _)| (*kind, *number));
            assert!(log.take().into_iter().eq(expected), "{called} of {longest}");
            for _ in 0..model.len().div_ceil(4) {
                let (.., id) = model.remove(next(model.len()));
                assert!(subject.unregister(id));
            }
        }
    }
}

trait Name: Send + Sync + 'static {
    const NAME: &'static str;
}

struct One;
struct Other;

impl Name for One {
    const NAME: &'static str = "one";
}

impl Name for Other {
    const NAME: &'static str = "other";
}

/// One closure expression, and a type for each `N`.
fn register_named<N: Name, S: Subject>(subject: &S, log: &Log<&'static str>) {
    let log = log.clone();
    subject.register(0, move |_| log.push(N::NAME));
}

fn types_that_differ_in_a_captured_generic_are_called_as_what_they_are<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let mut expected = Vec::new();
    for len in [1, 3, 2, 40, 1, 30] {
        for _ in 0..len {
            register_named::<One, _>(&subject, &log);
        }
        for _ in 0..len {
            register_named::<Other, _>(&subject, &log);
        }
        expected.extend([One::NAME, Other::NAME].into_iter().flat_map(|name| vec![name; len]));
    }
    assert_eq!(subject.notify(&0).called(), expected.len());
    assert_eq!(log.take(), expected);
}

/// Their wrappers are a run, whatever closures they wrap.
#[test]
fn joinable_handlers_that_are_a_run_call_their_own_closures() {
    for len in LENS {
        let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
        let mut guards = Vec::new();
        for number in 0..len {
            let log = log.clone();
            let options = registry.options().joinable();
            guards.push(match number % 2 {
                0 => options.register(move |_| log.push(("even", number))),
                _ => options.register(move |_| {
                    log.push(("odd", number));
                    assert_ne!(number, 1, "it panics");
                }),
            });
        }
        let delivery = registry.notify(&0);
        assert_eq!((delivery.called(), delivery.panicked()), (len, 1));
        let name = |number| (if number % 2 == 0 { "even" } else { "odd" }, number);
        assert!(log.take().into_iter().eq((0..len).map(name)));
        let guard = guards.remove(1);
        within("a join of one of a run", move || guard.join().unwrap());
        assert_eq!(registry.notify(&0).called(), len - 1);
        assert!(log.take().into_iter().eq((0..len).filter(|at| *at != 1).map(name)));
    }
}

/// The wrappers of interceptors are alike to those of other handlers.
#[cfg(feature = "async")]
#[test]
fn joinable_interceptors_among_joinable_handlers_are_started_first_and_once() {
    let (registry, log) = (topic_registry::AsyncRegistry::<u32>::new(), Log::new());
    let add = |number: u32| {
        let (options, log) = (registry.options().joinable(), log.clone());
        if number % 2 == 0 {
            return options.register(move |_| {
                log.push(number);
                std::future::ready(())
            });
        }
        options.register_interceptor(move |_| {
            log.push(number);
            Continue(())
        })
    };
    let guards: Vec<_> = (0..6).map(add).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(registry.notify(&0)).called(), 6);
    assert_eq!(log.take(), [1, 3, 5, 0, 2, 4]);
    drop(guards);
}
