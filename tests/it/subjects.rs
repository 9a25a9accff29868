//! What the shared tests run over: each flavor, by each way to notify it.

use std::marker::{self, PhantomData};
use std::ops::ControlFlow;

use topic_registry::returns::Returns;
use topic_registry::{
    Delivery, Flavor, HandlerGuard, HandlerId, HookFlavor, HookRegistry, HookTopicRegistry, Owned,
    PanicInfo, Recorder, RegisterOptions, Registry, SyncFlavor, SyncRegistry, TopicRegistry,
    Topics, WaitFor,
};

/// A flavor, and its second parameter in these tests: the event type `u32`, or a hook that has it.
pub(crate) trait Tested: Flavor<<Self as Tested>::Named> {
    type Named: 'static;

    #[track_caller]
    fn intercept<R: Returns<Self, Self::Named>>(
        options: RegisterOptions<'_, Self, Self::Named, R>,
        f: impl Until,
    ) -> R::Registered;

    #[track_caller]
    fn wait_for<T: Send + 'static>(
        registry: &Registry<Self, Self::Named>,
        f: impl Returning<Option<T>>,
    ) -> WaitFor<T>;

    #[track_caller]
    fn record<T: Send + 'static>(
        registry: &Registry<Self, Self::Named>,
        f: impl Returning<T>,
    ) -> Recorder<T>;
}

impl Tested for SyncFlavor {
    type Named = u32;

    fn intercept<R: Returns<Self, u32>>(
        options: RegisterOptions<'_, Self, u32, R>,
        f: impl Until,
    ) -> R::Registered {
        options.register_interceptor(f)
    }

    fn wait_for<T: Send + 'static>(
        registry: &SyncRegistry<u32>,
        f: impl Returning<Option<T>>,
    ) -> WaitFor<T> {
        registry.wait_for(f)
    }

    fn record<T: Send + 'static>(
        registry: &SyncRegistry<u32>,
        f: impl Returning<T>,
    ) -> Recorder<T> {
        registry.record(f)
    }
}

impl Tested for HookFlavor {
    type Named = Owned<u32>;

    fn intercept<R: Returns<Self, Owned<u32>>>(
        options: RegisterOptions<'_, Self, Owned<u32>, R>,
        f: impl Until,
    ) -> R::Registered {
        options.register_interceptor(move |event| f(event))
    }

    fn wait_for<T: Send + 'static>(
        registry: &HookRegistry<Owned<u32>>,
        f: impl Returning<Option<T>>,
    ) -> WaitFor<T> {
        registry.wait_for(f)
    }

    fn record<T: Send + 'static>(
        registry: &HookRegistry<Owned<u32>>,
        f: impl Returning<T>,
    ) -> Recorder<T> {
        registry.record(f)
    }
}

/// For any flavor, what each has with a signature of its own.
pub(crate) trait Intercepts {
    type Registered;

    #[track_caller]
    fn register_interceptor(self, f: impl Until) -> Self::Registered;
}

impl<F: Tested, R: Returns<F, F::Named>> Intercepts for RegisterOptions<'_, F, F::Named, R> {
    type Registered = R::Registered;

    fn register_interceptor(self, f: impl Until) -> R::Registered {
        F::intercept(self, f)
    }
}

/// For any flavor, what each has with a signature of its own.
pub(crate) trait Listens {
    #[track_caller]
    fn wait_for<T: Send + 'static>(&self, f: impl Returning<Option<T>>) -> WaitFor<T>;

    #[track_caller]
    fn record<T: Send + 'static>(&self, f: impl Returning<T>) -> Recorder<T>;
}

impl<F: Tested> Listens for Registry<F, F::Named> {
    fn wait_for<T: Send + 'static>(&self, f: impl Returning<Option<T>>) -> WaitFor<T> {
        F::wait_for(self, f)
    }

    fn record<T: Send + 'static>(&self, f: impl Returning<T>) -> Recorder<T> {
        F::record(self, f)
    }
}

/// The registry of a subject.
pub(crate) type RegistryOf<S> =
    Registry<<S as Subject>::Flavor, <<S as Subject>::Flavor as Tested>::Named>;

/// The topics of a subject.
pub(crate) type TopicsOf<S> =
    Topics<<S as Subject>::Flavor, String, <<S as Subject>::Flavor as Tested>::Named>;

/// A registry and a way to notify it. The shared tests are written against this trait.
pub(crate) trait Subject: Clone + Send + marker::Sync + 'static {
    type Flavor: Tested;

    fn fresh() -> Self;

    /// Makes a subject that is one of these topics.
    fn of(topics: TopicsOf<Self>) -> Self;

    /// Returns the registry of the subject.
    fn registry(&self) -> RegistryOf<Self>;

    /// Returns the topics that the subject belongs to, if it is only used by its key.
    fn topics(&self) -> Option<&TopicsOf<Self>> {
        None
    }

    fn notify(&self, event: &u32) -> Delivery;

    #[track_caller]
    fn register(&self, priority: i32, f: impl Handler) -> HandlerId;

    #[track_caller]
    fn guard(&self, f: impl Handler) -> HandlerGuard;

    #[track_caller]
    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId;

    #[track_caller]
    fn until(&self, f: impl Until) -> HandlerId;

    fn unregister(&self, id: HandlerId) -> bool {
        match self.topics() {
            Some(topics) => topics.unregister(KEY, id),
            None => self.registry().unregister(id),
        }
    }

    fn clear(&self) {
        match self.topics() {
            Some(topics) => topics.clear(),
            None => self.registry().clear(),
        }
    }

    fn on_panic(&self, f: impl Fn(&PanicInfo<'_>) + Send + marker::Sync + 'static) {
        match self.topics() {
            Some(topics) => topics.on_panic(move |key, info| {
                assert_eq!(key, KEY);
                f(info);
            }),
            None => self.registry().on_panic(f),
        }
    }

    fn forget_callback(&self) {
        match self.topics() {
            Some(topics) => topics.clear_panic_callback(),
            None => self.registry().clear_panic_callback(),
        }
    }

    fn panic_count(&self) -> u64 {
        match self.topics() {
            Some(topics) => topics.panic_count(),
            None => self.registry().panic_count(),
        }
    }

    /// Calls every method, so that every lock is taken; for use inside user code.
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
        if let Some(topics) = self.topics() {
            // Enough keys to cover every shard.
            let keys = (0..256).map(|n| format!("neighbour {n}"));
            let handles: Vec<_> = keys.map(|key| topics.handle(key)).collect();
            assert!(handles.iter().all(|handle| !topics.remove(handle.key())));
            assert!(topics.keys().len() >= handles.len());
            drop(handles);
            topics.shrink_to_fit();
        }
        self.clear();
    }
}

/// The event of [`Subject::use_everything`]: handlers under test ignore it.
pub(crate) const PROBE: u32 = u32::MAX;

/// The key of every subject that is a topic.
pub(crate) const KEY: &str = "topic";

pub(crate) trait Handler: Fn(&u32) + Send + marker::Sync + 'static {}

impl<F: Fn(&u32) + Send + marker::Sync + 'static> Handler for F {}

pub(crate) trait Returning<T>: Fn(&u32) -> T + Send + marker::Sync + 'static {}

impl<T, F: Fn(&u32) -> T + Send + marker::Sync + 'static> Returning<T> for F {}

pub(crate) trait Until: Fn(&u32) -> ControlFlow<()> + Send + marker::Sync + 'static {}

impl<F: Fn(&u32) -> ControlFlow<()> + Send + marker::Sync + 'static> Until for F {}

/// A sync registry, notified in one of several ways.
pub(crate) struct Sync<W>(SyncRegistry<u32>, PhantomData<fn(W)>);

pub(crate) trait Way<R: Default>: 'static {
    fn fresh() -> R {
        R::default()
    }

    fn notify(registry: &R, event: &u32) -> Delivery;
}

pub(crate) struct Plain;
pub(crate) struct Pinned;
pub(crate) struct Topic;

impl Way<SyncRegistry<u32>> for Plain {
    fn notify(registry: &SyncRegistry<u32>, event: &u32) -> Delivery {
        registry.notify(event)
    }
}

impl Way<SyncRegistry<u32>> for Pinned {
    fn notify(registry: &SyncRegistry<u32>, event: &u32) -> Delivery {
        registry.pin().notify(event)
    }
}

/// A topic whose topic registry was dropped, and which works without it.
impl Way<SyncRegistry<u32>> for Topic {
    fn fresh() -> SyncRegistry<u32> {
        SyncRegistry::clone(&TopicRegistry::<String, u32>::new().handle(KEY))
    }

    fn notify(registry: &SyncRegistry<u32>, event: &u32) -> Delivery {
        registry.notify(event)
    }
}

impl<W> Clone for Sync<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<W: Way<SyncRegistry<u32>>> Subject for Sync<W> {
    type Flavor = SyncFlavor;

    fn fresh() -> Self {
        Self(W::fresh(), PhantomData)
    }

    fn of(topics: TopicRegistry<String, u32>) -> Self {
        Self(SyncRegistry::clone(&topics.handle(KEY)), PhantomData)
    }

    fn registry(&self) -> SyncRegistry<u32> {
        self.0.clone()
    }

    fn notify(&self, event: &u32) -> Delivery {
        W::notify(&self.0, event)
    }

    fn register(&self, priority: i32, f: impl Handler) -> HandlerId {
        self.0.register_with_priority(priority, f)
    }

    fn guard(&self, f: impl Handler) -> HandlerGuard {
        self.0.register_guard(f)
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once(f)
    }

    fn until(&self, f: impl Until) -> HandlerId {
        self.0.options().register_until(f)
    }
}

/// A topic that is only used by its key.
#[derive(Clone)]
pub(crate) struct ByKey(TopicRegistry<String, u32>);

impl Subject for ByKey {
    type Flavor = SyncFlavor;

    fn fresh() -> Self {
        Self::of(TopicRegistry::new())
    }

    fn of(topics: TopicRegistry<String, u32>) -> Self {
        Self(topics)
    }

    fn registry(&self) -> SyncRegistry<u32> {
        SyncRegistry::clone(&self.0.handle(KEY))
    }

    fn topics(&self) -> Option<&TopicRegistry<String, u32>> {
        Some(&self.0)
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.0.notify(KEY, event)
    }

    fn register(&self, priority: i32, f: impl Handler) -> HandlerId {
        self.0.register_with_priority(KEY, priority, f)
    }

    fn guard(&self, f: impl Handler) -> HandlerGuard {
        self.0.register_guard(KEY, f)
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once(KEY, f)
    }

    fn until(&self, f: impl Until) -> HandlerId {
        self.0.handle(KEY).options().register_until(f)
    }
}

/// A registry of hooks.
#[derive(Clone)]
pub(crate) struct Hooks(HookRegistry<Owned<u32>>);

impl Subject for Hooks {
    type Flavor = HookFlavor;

    fn fresh() -> Self {
        Self(HookRegistry::new())
    }

    fn of(topics: HookTopicRegistry<String, Owned<u32>>) -> Self {
        Self(HookRegistry::clone(&topics.handle(KEY)))
    }

    fn registry(&self) -> HookRegistry<Owned<u32>> {
        self.0.clone()
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.0.notify(&mut event.clone())
    }

    fn register(&self, priority: i32, f: impl Handler) -> HandlerId {
        self.0.register_with_priority(priority, move |event| f(event))
    }

    fn guard(&self, f: impl Handler) -> HandlerGuard {
        self.0.register_guard(move |event| f(event))
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once(move |event| f(event))
    }

    fn until(&self, f: impl Until) -> HandlerId {
        self.0.options().register_until(move |event| f(event))
    }
}

/// A topic of hooks that is only used by its key.
#[derive(Clone)]
pub(crate) struct HooksByKey(HookTopicRegistry<String, Owned<u32>>);

impl Subject for HooksByKey {
    type Flavor = HookFlavor;

    fn fresh() -> Self {
        Self::of(HookTopicRegistry::new())
    }

    fn of(topics: HookTopicRegistry<String, Owned<u32>>) -> Self {
        Self(topics)
    }

    fn registry(&self) -> HookRegistry<Owned<u32>> {
        HookRegistry::clone(&self.0.handle(KEY))
    }

    fn topics(&self) -> Option<&HookTopicRegistry<String, Owned<u32>>> {
        Some(&self.0)
    }

    fn notify(&self, event: &u32) -> Delivery {
        self.0.notify(KEY, &mut event.clone())
    }

    fn register(&self, priority: i32, f: impl Handler) -> HandlerId {
        self.0.register_with_priority(KEY, priority, move |event| f(event))
    }

    fn guard(&self, f: impl Handler) -> HandlerGuard {
        self.0.register_guard(KEY, move |event| f(event))
    }

    fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
        self.0.register_once(KEY, move |event| f(event))
    }

    fn until(&self, f: impl Until) -> HandlerId {
        self.0.handle(KEY).options().register_until(move |event| f(event))
    }
}

#[cfg(feature = "async")]
pub(crate) use asynchronous::{Async, AsyncByKey, Concurrent, Sequential, now, yields};

#[cfg(feature = "async")]
mod asynchronous {
    use std::future::{Future, poll_fn};
    use std::marker::PhantomData;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use topic_registry::returns::Returns;
    use topic_registry::{
        AsyncFlavor, AsyncRegistry, AsyncTopicRegistry, Delivery, HandlerGuard, HandlerId,
        Recorder, RegisterOptions, WaitFor,
    };

    use super::{Handler, KEY, Returning, Subject, Tested, Until, Way};

    impl Tested for AsyncFlavor {
        type Named = u32;

        fn intercept<R: Returns<Self, u32>>(
            options: RegisterOptions<'_, Self, u32, R>,
            f: impl Until,
        ) -> R::Registered {
            options.register_interceptor(f)
        }

        fn wait_for<T: Send + 'static>(
            registry: &AsyncRegistry<u32>,
            f: impl Returning<Option<T>>,
        ) -> WaitFor<T> {
            registry.wait_for(f)
        }

        fn record<T: Send + 'static>(
            registry: &AsyncRegistry<u32>,
            f: impl Returning<T>,
        ) -> Recorder<T> {
            registry.record(f)
        }
    }

    /// Returns the output of a future that never waits.
    pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => unreachable!("nothing here waits"),
        }
    }

    /// Returns a future that is pending when it is first polled, and wakes its task.
    pub(crate) fn yields() -> impl Future<Output = ()> + Send {
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            if polls > 1 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    type Owned<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;

    /// Makes the handler an async one, which does its work when its future is polled.
    fn later<T>(
        f: impl Fn(&u32) -> T + Send + Sync + 'static,
    ) -> impl Fn(&u32) -> Owned<T> + Send + Sync {
        let f = Arc::new(f);
        move |event| {
            let (f, event) = (Arc::clone(&f), *event);
            Box::pin(async move { f(&event) })
        }
    }

    fn later_once(f: impl FnOnce(&u32) + Send + 'static) -> impl FnOnce(&u32) -> Owned + Send {
        move |event| {
            let event = *event;
            Box::pin(async move { f(&event) })
        }
    }

    /// An async registry, notified in one of several ways.
    pub(crate) struct Async<W>(AsyncRegistry<u32>, PhantomData<fn(W)>);

    pub(crate) struct Concurrent;
    pub(crate) struct Sequential;

    impl Way<AsyncRegistry<u32>> for Concurrent {
        fn notify(registry: &AsyncRegistry<u32>, event: &u32) -> Delivery {
            now(registry.notify(event))
        }
    }

    impl Way<AsyncRegistry<u32>> for Sequential {
        fn notify(registry: &AsyncRegistry<u32>, event: &u32) -> Delivery {
            now(registry.notify_sequential(event))
        }
    }

    impl<W> Clone for Async<W> {
        fn clone(&self) -> Self {
            Self(self.0.clone(), PhantomData)
        }
    }

    impl<W: Way<AsyncRegistry<u32>>> Subject for Async<W> {
        type Flavor = AsyncFlavor;

        fn fresh() -> Self {
            Self(W::fresh(), PhantomData)
        }

        fn of(topics: AsyncTopicRegistry<String, u32>) -> Self {
            Self(AsyncRegistry::clone(&topics.handle(KEY)), PhantomData)
        }

        fn registry(&self) -> AsyncRegistry<u32> {
            self.0.clone()
        }

        fn notify(&self, event: &u32) -> Delivery {
            W::notify(&self.0, event)
        }

        fn register(&self, priority: i32, f: impl Handler) -> HandlerId {
            self.0.register_with_priority(priority, later(f))
        }

        fn guard(&self, f: impl Handler) -> HandlerGuard {
            self.0.register_guard(later(f))
        }

        fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
            self.0.register_once(later_once(f))
        }

        fn until(&self, f: impl Until) -> HandlerId {
            self.0.options().register_until(later(f))
        }
    }

    /// A topic that is only used by its key.
    #[derive(Clone)]
    pub(crate) struct AsyncByKey(AsyncTopicRegistry<String, u32>);

    impl Subject for AsyncByKey {
        type Flavor = AsyncFlavor;

        fn fresh() -> Self {
            Self::of(AsyncTopicRegistry::new())
        }

        fn of(topics: AsyncTopicRegistry<String, u32>) -> Self {
            Self(topics)
        }

        fn registry(&self) -> AsyncRegistry<u32> {
            AsyncRegistry::clone(&self.0.handle(KEY))
        }

        fn topics(&self) -> Option<&AsyncTopicRegistry<String, u32>> {
            Some(&self.0)
        }

        fn notify(&self, event: &u32) -> Delivery {
            now(self.0.notify(KEY, event))
        }

        fn register(&self, priority: i32, f: impl Handler) -> HandlerId {
            self.0.register_with_priority(KEY, priority, later(f))
        }

        fn guard(&self, f: impl Handler) -> HandlerGuard {
            self.0.register_guard(KEY, later(f))
        }

        fn once(&self, f: impl FnOnce(&u32) + Send + 'static) -> HandlerId {
            self.0.register_once(KEY, later_once(f))
        }

        fn until(&self, f: impl Until) -> HandlerId {
            self.0.handle(KEY).options().register_until(later(f))
        }
    }
}

/// Makes one test a subject of each shared behaviour.
macro_rules! for_each_subject {
    ($($behaviour:ident)*) => {
        $(mod $behaviour {
            use super::$behaviour as behaviour;
            use crate::support::*;

            #[test]
            fn registry() {
                behaviour::<Sync<Plain>>();
            }
            #[test]
            fn pin() {
                behaviour::<Sync<Pinned>>();
            }
            #[test]
            fn topic() {
                behaviour::<Sync<Topic>>();
            }
            #[test]
            fn key() {
                behaviour::<ByKey>();
            }
            #[test]
            fn hook() {
                behaviour::<Hooks>();
            }
            #[test]
            fn hook_key() {
                behaviour::<HooksByKey>();
            }
            #[cfg(feature = "async")]
            #[test]
            fn concurrent() {
                behaviour::<Async<Concurrent>>();
            }
            #[cfg(feature = "async")]
            #[test]
            fn sequential() {
                behaviour::<Async<Sequential>>();
            }
            #[cfg(feature = "async")]
            #[test]
            fn async_key() {
                behaviour::<AsyncByKey>();
            }
        })*
    };
}
pub(crate) use for_each_subject;
