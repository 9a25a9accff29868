//! What the tests have in common: the subjects, bombs, and waits that end.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use topic_registry::{
    Delivery, Flavor, HandlerGuard, HandlerId, PanicInfo, Registry, SyncFlavor, SyncRegistry,
    TopicHandle, TopicRegistry,
};

/// A way to register and to notify. The shared tests are written against this.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    type Flavor: Flavor<u32>;

    fn fresh() -> Self;

    /// The registry behind it.
    fn registry(&self) -> Registry<Self::Flavor, u32>;

    fn notify(&self, event: &u32) -> Delivery;

    #[track_caller]
    fn register(&self, priority: i32, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerId;

    #[track_caller]
    fn guard(&self, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerGuard;

    #[track_caller]
    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId;

    fn unregister(&self, id: HandlerId) -> bool {
        self.registry().unregister(id)
    }

    fn clear(&self) {
        self.registry().clear();
    }

    fn on_panic(&self, f: impl Fn(&PanicInfo<'_>) + Send + Sync + 'static) {
        self.registry().on_panic(f);
    }

    fn forget_callback(&self) {
        self.registry().clear_panic_callback();
    }

    fn panic_count(&self) -> u64 {
        self.registry().panic_count()
    }

    /// Calls every method, so that every lock is taken; for use inside of user code.
    fn use_everything(&self) {
        let registry = self.registry();
        let low = self.register(i32::MIN, |_| {});
        let guard = self.guard(|_| {});
        let once = self.once(|_| {});
        assert!(registry.contains(low) && registry.handler_count() >= 3);
        assert!(self.unregister(once));
        drop(guard);
        self.forget_callback();
        self.notify(&PROBE);
        assert!(self.unregister(low));
        drop(registry);
    }
}

/// The event of [`Subject::use_everything`]: handlers under test do nothing for it.
pub(crate) const PROBE: u32 = u32::MAX;

/// Makes one test a subject of each shared behaviour.
macro_rules! for_each_subject {
    ($($behaviour:ident)*) => {
        $(mod $behaviour {
            #[test]
            fn registry() {
                super::$behaviour::<topic_registry::SyncRegistry<u32>>();
            }
            #[test]
            fn pin() {
                super::$behaviour::<crate::support::ByPin>();
            }
            #[test]
            fn handle() {
                super::$behaviour::<crate::support::ByHandle>();
            }
            #[test]
            fn key() {
                super::$behaviour::<crate::support::ByKey>();
            }
        })*
    };
}
pub(crate) use for_each_subject;

impl Subject for SyncRegistry<u32> {
    type Flavor = SyncFlavor;

    fn fresh() -> Self {
        Self::new()
    }

    fn registry(&self) -> SyncRegistry<u32> {
        self.clone()
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.notify(event)
    }

    fn register(&self, priority: i32, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerId {
        self.register_with_priority(priority, f)
    }

    fn guard(&self, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerGuard {
        self.register_guard(f)
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.register_once(f)
    }
}

/// Notifies through a pin.
#[derive(Clone)]
pub(crate) struct ByPin(SyncRegistry<u32>);

impl Subject for ByPin {
    type Flavor = SyncFlavor;

    fn fresh() -> Self {
        Self(SyncRegistry::new())
    }

    fn registry(&self) -> SyncRegistry<u32> {
        self.0.clone()
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.0.pin().notify(event)
    }

    fn register(&self, priority: i32, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerId {
        self.0.register_with_priority(priority, f)
    }

    fn guard(&self, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerGuard {
        self.0.register_guard(f)
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once(f)
    }
}

/// A topic, through its handle. The topics are gone: a handle does not need them.
#[derive(Clone)]
pub(crate) struct ByHandle(TopicHandle<String, u32>);

impl Subject for ByHandle {
    type Flavor = SyncFlavor;

    fn fresh() -> Self {
        Self(TopicRegistry::new().handle("topic"))
    }

    fn registry(&self) -> SyncRegistry<u32> {
        SyncRegistry::clone(&self.0)
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.0.notify(event)
    }

    fn register(&self, priority: i32, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerId {
        self.0.register_with_priority(priority, f)
    }

    fn guard(&self, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerGuard {
        self.0.register_guard(f)
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once(f)
    }
}

/// A topic, by its key alone; panics are those of all topics.
#[derive(Clone)]
pub(crate) struct ByKey(TopicRegistry<String, u32>);

impl Subject for ByKey {
    type Flavor = SyncFlavor;

    fn fresh() -> Self {
        Self(TopicRegistry::new())
    }

    fn registry(&self) -> SyncRegistry<u32> {
        SyncRegistry::clone(&self.0.handle("topic"))
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.0.notify("topic", event)
    }

    fn register(&self, priority: i32, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerId {
        self.0.register_with_priority("topic", priority, f)
    }

    fn guard(&self, f: impl Fn(&u32) + Send + Sync + 'static) -> HandlerGuard {
        self.0.register_guard("topic", f)
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once("topic", f)
    }

    fn unregister(&self, id: HandlerId) -> bool {
        self.0.unregister("topic", id)
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn on_panic(&self, f: impl Fn(&PanicInfo<'_>) + Send + Sync + 'static) {
        self.0.on_panic(move |key, info| {
            assert_eq!(key, "topic");
            f(info);
        });
    }

    fn forget_callback(&self) {
        self.0.clear_panic_callback();
    }

    fn panic_count(&self) -> u64 {
        self.0.panic_count()
    }

    fn use_everything(&self) {
        // So many keys that every shard is among them.
        let neighbours = (0..256).map(|n| format!("neighbour {n}"));
        let handles: Vec<_> = neighbours.map(|key| self.0.handle(key)).collect();
        for handle in &handles {
            self.register(0, |_| {});
            let guard = handle.register_guard(|_| {});
            assert_eq!(self.0.notify(handle.key(), &PROBE).called, 1);
            drop(guard);
            assert!(!self.0.remove(handle.key()));
        }
        drop(handles);
        self.forget_callback();
        self.0.prune();
        assert!(!self.0.keys().is_empty());
        self.notify(&PROBE);
        self.clear();
    }
}

/// Whose destructor panics with its text.
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// A payload whose destructor throws another one, without end.
pub(crate) struct EndlessBomb;

impl Drop for EndlessBomb {
    fn drop(&mut self) {
        panic::panic_any(EndlessBomb);
    }
}

/// Runs when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A handler that does nothing but own `what`.
pub(crate) fn owning<T: Send + Sync + 'static>(what: T) -> impl Fn(&u32) + Send + Sync + 'static {
    move |_| {
        let _ = &what;
    }
}

/// Something to write down from several places, and to read back.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The messages of all panics that a subject reports.
pub(crate) fn log_of_panics(subject: &impl Subject) -> Log<String> {
    let log = Log::new();
    let reports = log.clone();
    subject.on_panic(move |info| reports.push(info.message().unwrap_or("?").to_owned()));
    log
}

/// Runs `f` on a thread of its own; fails, naming `what`, if it does not end.
pub(crate) fn within<R: Send + 'static>(what: &str, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let runner = thread::spawn(move || {
        let result = panic::catch_unwind(AssertUnwindSafe(f));
        let _ = sender.send(result);
    });
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(result)) => {
            runner.join().expect("it has ended");
            result
        }
        Ok(Err(payload)) => panic::resume_unwind(payload),
        Err(RecvTimeoutError::Timeout) => panic!("hung: {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("lost: {what}"),
    }
}

/// A gate that one side waits at until the other opens it.
pub(crate) fn gate(what: &'static str) -> (impl Fn() + Send + Sync, impl Fn() + Send + Sync) {
    let (open, opened) = mpsc::channel();
    let opened = Mutex::new(opened);
    (
        move || open.send(()).expect("somebody waits"),
        move || {
            let opened = opened.lock().unwrap();
            let outcome = opened.recv_timeout(Duration::from_secs(60));
            outcome.unwrap_or_else(|_| panic!("hung: waiting for {what}"));
        },
    )
}
