//! Handlers that end themselves, and pauses: once one or the other has returned, no dispatch starts
//! the handler; and its closure is dropped once.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use topic_registry::{HandlerId, Paused, RegisterOptions, SyncFlavor, SyncRegistry};

use super::sync::atomic::AtomicBool;
use super::{Count, Topics, together};

type Work = Box<dyn FnOnce() + Send>;

/// A dispatch, and what it has learned by one handler: that the next one has stopped for good.
type Dispatch = Cell<bool>;

/// A registry of two handlers, of which the second one may stop.
struct Stage {
    registry: SyncRegistry<Dispatch>,
    has_stopped: Arc<AtomicBool>,
    calls: Count,
    alive: Arc<()>,
}

impl Stage {
    /// The first handler learns whether the second one has stopped.
    fn new() -> Self {
        let stage = Self {
            registry: SyncRegistry::new(),
            has_stopped: Arc::new(AtomicBool::new(false)),
            calls: Count::default(),
            alive: Arc::default(),
        };
        let flag = Arc::clone(&stage.has_stopped);
        stage.registry.register(either(Ok(flag)));
        stage
    }

    /// The second handler, which must not be called by a dispatch that has learned that it stopped.
    /// As it is, it and the first one are a run.
    fn handler(&self) -> impl Fn(&Dispatch) + Send + Sync + use<> {
        either(Err((self.calls.clone(), Arc::clone(&self.alive))))
    }

    fn until_now(&self) -> impl Fn(&Dispatch) -> ControlFlow<()> + Send + Sync + use<> {
        let handler = self.handler();
        move |dispatch| {
            handler(dispatch);
            ControlFlow::Break(())
        }
    }

    fn options(&self) -> RegisterOptions<'_, SyncFlavor, Dispatch> {
        self.registry.options()
    }

    /// Work of a thread that says then that the second handler has stopped, if it has seen to that.
    fn stops(&self, stop: impl FnOnce(&SyncRegistry<Dispatch>) -> bool + Send + 'static) -> Work {
        let (registry, flag) = (self.registry.clone(), Arc::clone(&self.has_stopped));
        Box::new(move || {
            if stop(&registry) {
                flag.store(true, Ordering::Release);
            }
        })
    }

    fn notifies(&self) -> Work {
        let registry = self.registry.clone();
        Box::new(move || _ = second_is_called(&registry))
    }

    #[track_caller]
    fn has_ended(&self) {
        assert_eq!(self.registry.handler_count(), 1, "it is registered");
        assert_eq!(Arc::strong_count(&self.alive), 1, "its closure is alive");
    }
}

/// The first handler, or the second one: of one closure type.
fn either(
    of: Result<Arc<AtomicBool>, (Count, Arc<()>)>,
) -> impl Fn(&Dispatch) + Send + Sync + use<> {
    move |dispatch| match &of {
        Ok(has_stopped) => dispatch.set(has_stopped.load(Ordering::Acquire)),
        Err((calls, _alive)) => {
            assert!(!dispatch.get(), "it started after it had stopped");
            calls.up();
        }
    }
}

/// Notifies; whether the second handler was called.
fn second_is_called(registry: &SyncRegistry<Dispatch>) -> bool {
    let delivery = registry.notify(&Cell::new(false));
    assert_eq!(delivery.panicked(), 0, "it started after it had stopped");
    delivery.called() == 2
}

/// A handler that ends itself, beside so many who notify: each finds it ended after its own.
pub(crate) fn until_beside_notifiers(notifiers: usize) {
    let (stage, called) = (Stage::new(), Count::default());
    stage.options().register_until(stage.until_now());
    let thread = |_| {
        let called = called.clone();
        stage.stops(move |registry| {
            let is_called = second_is_called(registry);
            if is_called {
                called.up();
            }
            assert!(!second_is_called(registry), "it had ended");
            // Else it was somebody else's call that ended it, which may be about to return.
            is_called
        })
    };
    together((0..notifiers).map(thread).collect());
    assert_ne!(called.get(), 0, "nobody has called it");
    assert_eq!(
        stage.calls.get(),
        called.get(),
        "what was called was counted"
    );
    stage.has_ended();
}

/// A handler that ends itself is removed by somebody else, beside one who notifies.
pub(crate) fn until_beside_its_removal() {
    let (stage, removed) = (Stage::new(), Count::default());
    let (id, told) = (
        stage.options().register_until(stage.until_now()),
        removed.clone(),
    );
    together(vec![
        stage.stops(move |registry| {
            if registry.unregister(id) {
                told.up();
            }
            true
        }),
        stage.notifies(),
    ]);
    assert_ne!(stage.calls.get() + removed.get(), 0, "who has removed it?");
    assert!(stage.calls.get() <= 1);
    stage.has_ended();
}

/// A handler that ends itself is joined, from beside it.
pub(crate) fn until_beside_its_join() {
    let stage = Stage::new();
    let joinable = stage.options().joinable().register_until(stage.until_now());
    let alive = Arc::clone(&stage.alive);
    together(vec![
        stage.notifies(),
        stage.stops(move |_| {
            assert_eq!(joinable.join(), Ok(()));
            assert_eq!(Arc::strong_count(&alive), 2, "the closure was alive");
            true
        }),
    ]);
    stage.has_ended();
}

/// Dispatches do not start what is paused, as often as it may be.
pub(crate) fn pause_beside_a_dispatch(threads: usize) {
    let stage = Stage::new();
    let id = stage.options().register(stage.handler());
    let kept = Arc::new(Mutex::new(Vec::<Paused>::new()));
    let mut work: Vec<Work> = Vec::new();
    for _ in 0..threads {
        let kept = Arc::clone(&kept);
        work.push(stage.stops(move |registry| {
            let paused = registry.pause(id).expect("it is registered");
            assert!(!second_is_called(registry), "it was paused");
            kept.lock().unwrap().push(paused);
            true
        }));
    }
    work.push(stage.notifies());
    together(work);
    assert!(is_paused(&stage.registry, id));
    stage.has_stopped.store(false, Ordering::Release);
    while let Some(paused) = { kept.lock().unwrap().pop() } {
        assert!(!second_is_called(&stage.registry), "one pause is left");
        drop(paused);
    }
    assert!(second_is_called(&stage.registry), "none is left");
}

fn is_paused(registry: &SyncRegistry<Dispatch>, id: HandlerId) -> bool {
    let handlers = registry.handlers();
    let info = handlers.iter().find(|info| info.id == id);
    info.expect("it is registered").paused
}

/// A thread pauses and resumes, beside others that do, or that dispatch: while it pauses, the
/// handler is not called; when nobody does, it is.
pub(crate) fn pause_and_resume_beside(threads: usize, dispatches: usize) {
    let stage = Stage::new();
    let id = stage.options().register(stage.handler());
    let mut work: Vec<Work> = Vec::new();
    for _ in 0..threads {
        let registry = stage.registry.clone();
        work.push(Box::new(move || {
            let paused = registry.pause(id).expect("it is registered");
            assert!(!second_is_called(&registry), "it was paused");
            drop(paused);
            let called = second_is_called(&registry);
            assert!(called || threads > 1, "nobody pauses it");
        }));
    }
    work.extend((0..dispatches).map(|_| stage.notifies()));
    together(work);
    assert!(!is_paused(&stage.registry, id));
    assert!(second_is_called(&stage.registry), "nobody pauses it");
}

/// A handler is paused, and resumed, while it is removed: it ends, and no other one is resumed.
pub(crate) fn pause_beside_its_removal(dispatches: usize) {
    let stage = Stage::new();
    let (id, registry) = (
        stage.options().register(stage.handler()),
        stage.registry.clone(),
    );
    let mut work = vec![
        stage.stops(move |registry| registry.unregister(id)),
        Box::new(move || match registry.pause(id) {
            Some(paused) => {
                assert!(!second_is_called(&registry), "it was paused");
                drop(paused);
                second_is_called(&registry);
            }
            None => assert!(!second_is_called(&registry), "it was removed"),
        }),
    ];
    work.extend((0..dispatches).map(|_| stage.notifies()));
    together(work);
    assert!(stage.registry.handlers().iter().all(|info| !info.paused));
    stage.has_ended();
}

/// The last handler of a topic goes while its pause ends, and while it is paused by key.
pub(crate) fn resume_beside_the_end_of_a_topic() {
    let topics = Topics::new();
    let guard = topics.register_guard(0, |_| {});
    let handle = topics.handle(0);
    let (id, paused) = (guard.id(), handle.pause(guard.id()));
    assert!(paused.is_some());
    let weak = handle.downgrade();
    drop(handle);
    let same = topics.clone();
    together(vec![
        Box::new(move || drop(paused)),
        Box::new(move || drop(guard)),
        Box::new(move || {
            let paused = same.get(&0).and_then(|topic| topic.pause(id));
            drop(paused);
        }),
    ]);
    assert_eq!(topics.len(), 0, "a topic was left");
    assert!(weak.upgrade().is_none(), "it came back");
}

/// A call that two threads race for is reported as slow once: the loser called nothing.
pub(crate) fn a_single_call_that_is_timed(notifiers: usize) {
    let reports = Count::default();
    let own = reports.clone();
    let topics: Topics = Topics::builder().on_slow(Duration::ZERO, move |_, _, _| own.up()).build();
    let calls = Count::default();
    let called = calls.clone();
    let topic = topics.handle(0);
    topic.register_once(move |_| called.up());
    let work = (0..notifiers).map(|_| -> Work {
        let topic = topic.clone();
        Box::new(move || _ = topic.notify(&0))
    });
    together(work.collect());
    assert_eq!((calls.get(), reports.get()), (1, 1));
}
