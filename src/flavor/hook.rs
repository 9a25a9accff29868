//! Hooks: handlers that are closures, called inline, and may change the event, which may borrow.

use std::borrow::BorrowMut;
use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use equivalent::Equivalent;

use super::inline::{self, InlineFlavor, InlineHandler, dispatch, dispatch_created};
use crate::handler::Header;
use crate::handler::counted::counted;
use crate::handler::delivery::{Delivery, Outcome};
use crate::handler::flavor::{EventRef, Flavor, HandlerArc, Passes};
use crate::handler::guard::HandlerGuard;
use crate::handler::wrapped::Wrapped;
use crate::registry::Registry;
use crate::registry::batch::Batch;
use crate::registry::options::{RegisterOptions, Returns};
use crate::registry::weak::WeakRegistry;
use crate::report::id::HandlerId;
use crate::report::panic::Held;
use crate::snapshot::cell::HasCell;
use crate::topics::table::Key;
use crate::topics::weak::WeakTopics;
use crate::topics::{Handle, Topics};
use crate::wait::WaitFor;
use crate::wait::record::Recorder;

/// Names an event that handlers may change, and that may borrow.
///
/// The type that implements it is only a name. The event itself is [`Event`](Self::Event), for any
/// lifetime. For an event that borrows nothing, [`Owned`] is that name.
///
/// ```
/// use topic_registry::{Hook, HookRegistry};
///
/// struct Save<'e> {
///     path: &'e str,
///     text: &'e mut String,
/// }
///
/// enum BeforeSave {}
///
/// impl Hook for BeforeSave {
///     type Event<'e> = Save<'e>;
/// }
///
/// let hooks = HookRegistry::<BeforeSave>::new();
/// hooks.register(|save| save.text.push('\n'));
///
/// let mut text = "fn main() {}".to_owned();
/// hooks.notify(&mut Save { path: "main.rs", text: &mut text });
/// assert_eq!(text, "fn main() {}\n");
/// ```
///
/// A handler has the event for one call. It can keep neither the event nor what the event borrows:
///
/// ```compile_fail,E0521
/// use std::sync::Mutex;
/// # use topic_registry::{Hook, HookRegistry};
/// # struct Save<'e> { path: &'e str }
/// # enum BeforeSave {}
/// # impl Hook for BeforeSave { type Event<'e> = Save<'e>; }
///
/// static PATHS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
///
/// let hooks = HookRegistry::<BeforeSave>::new();
/// hooks.register(|save| PATHS.lock().unwrap().push(save.path));
/// ```
///
/// Keep a copy instead:
///
/// ```
/// use std::sync::Mutex;
/// # use topic_registry::{Hook, HookRegistry};
/// # struct Save<'e> { path: &'e str }
/// # enum BeforeSave {}
/// # impl Hook for BeforeSave { type Event<'e> = Save<'e>; }
///
/// static PATHS: Mutex<Vec<String>> = Mutex::new(Vec::new());
///
/// let hooks = HookRegistry::<BeforeSave>::new();
/// hooks.register(|save| PATHS.lock().unwrap().push(save.path.to_owned()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name a hook",
    label = "not the name of a hook",
    note = "for an event that borrows: `enum Name {{}}`, and \
            `impl Hook for Name {{ type Event<'e> = ..; }}`",
    note = "for an event that borrows nothing: `Owned<{Self}>` is the name"
)]
pub trait Hook: 'static {
    /// The event, as it is passed to one handler after the other: `&mut Self::Event<'_>`.
    type Event<'e>: ?Sized;
}

/// Names the hook whose event is a `T`, which borrows nothing.
///
/// ```
/// use topic_registry::{HookRegistry, Owned};
///
/// let lines = HookRegistry::<Owned<str>>::new();
/// lines.register(|line| line.make_ascii_uppercase());
///
/// let mut line = "hello".to_owned();
/// lines.notify(&mut line);
/// assert_eq!(line, "HELLO");
/// ```
pub struct Owned<T: ?Sized>(PhantomData<fn(&mut T)>, Infallible);

impl<T: ?Sized + 'static> Hook for Owned<T> {
    type Event<'e> = T;
}

impl<T: ?Sized> fmt::Debug for Owned<T> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {}
    }
}

/// One topic without a key: handlers that are closures, called inline by `notify` with a `&mut` to
/// the event, one after the other.
///
/// Which changes a dispatch sees: [Consistency](Registry#consistency). What keeps it alive:
/// [Leaks](Registry#leaks). Clones are handles to the same registry.
///
/// A handler is a `Fn(&mut H::Event<'_>) + Send + Sync + 'static`. `H` names the event: see
/// [`Hook`], and [Hooks](crate::guide#hooks) in the guide.
///
/// ```
/// use std::ops::ControlFlow::{Break, Continue};
/// use topic_registry::{Hook, HookRegistry};
///
/// struct Save<'e> {
///     text: &'e mut String,
///     refused: Option<&'static str>,
/// }
///
/// enum BeforeSave {}
///
/// impl Hook for BeforeSave {
///     type Event<'e> = Save<'e>;
/// }
///
/// let hooks = HookRegistry::<BeforeSave>::new();
/// hooks.register(|save| save.text.push('\n'));
/// hooks.options().priority(10).register_interceptor(|save| {
///     if save.text.is_empty() {
///         save.refused = Some("there is no text");
///         return Break(());
///     }
///     Continue(())
/// });
///
/// let mut text = String::new();
/// let mut save = Save { text: &mut text, refused: None };
/// assert!(hooks.notify(&mut save).stopped());
/// assert_eq!(save.refused, Some("there is no text"));
/// ```
///
/// All else is the same for every flavor: [`new`](Registry::new), [`options`](Registry::options),
/// [`unregister`](Registry::unregister), [`update`](Registry::update), [`pause`](Registry::pause),
/// [`on_panic`](Registry::on_panic), [`handlers`](Registry::handlers), and the rest of
/// [`Registry`].
pub type HookRegistry<H> = Registry<HookFlavor, H>;

/// Topics found by key, each of which is a [`HookRegistry`].
///
/// When a topic exists: [Consistency](Topics#consistency). What a look-up takes, and what a key may
/// do: [Cost](Topics#cost). Who is called where: [Callbacks](Topics#callbacks). What ends when:
/// [Lifetime](Topics#lifetime). Clones are handles to the same topics.
///
/// ```
/// use topic_registry::{HookTopicRegistry, Owned};
///
/// let filters = HookTopicRegistry::<String, Owned<Vec<u8>>>::new();
/// filters.register("image", |bytes| bytes.truncate(1_024));
///
/// let mut bytes = vec![0; 5_000];
/// assert_eq!(filters.notify("image", &mut bytes).called(), 1);
/// assert_eq!(bytes.len(), 1_024);
/// ```
///
/// All else is the same for every flavor: [`new`](Topics::new), [`handle`](Topics::handle),
/// [`options`](Topics::options), [`get`](Topics::get), [`unregister`](Topics::unregister),
/// [`remove`](Topics::remove), [`on_panic`](Topics::on_panic),
/// [`observe_interest`](Topics::observe_interest), [`builder`](Topics::builder), and the rest of
/// [`Topics`].
pub type HookTopicRegistry<K, H> = Topics<HookFlavor, K, H>;

/// A cached reference to a topic of a [`HookTopicRegistry`].
///
/// It derefs to [`HookRegistry`], and has all that this has. The topic exists as long as
/// the handle.
///
/// ```
/// use topic_registry::{HookTopicHandle, HookTopicRegistry, Owned};
///
/// let filters = HookTopicRegistry::<String, Owned<str>>::new();
/// let names: HookTopicHandle<String, Owned<str>> = filters.handle("name");
/// names.register(|name| name.make_ascii_lowercase());
///
/// let mut name = "Ada".to_owned();
/// assert_eq!(names.notify(&mut name).called(), 1);
/// assert_eq!(name, "ada");
/// ```
pub type HookTopicHandle<K, H> = Handle<HookFlavor, K, H>;

/// A weak reference to a [`HookRegistry`], for what the registry owns: see [`WeakRegistry`].
pub type WeakHookRegistry<H> = WeakRegistry<HookFlavor, H>;

/// A weak reference to a [`HookTopicRegistry`], for what the topics own: see [`WeakTopics`].
pub type WeakHookTopicRegistry<K, H> = WeakTopics<HookFlavor, K, H>;

/// The flavor whose handlers are closures that may change the event.
#[derive(Debug)]
pub enum HookFlavor {}

impl<'a, 'e, H: Hook> Passes<'a, 'e, H> for HookFlavor {
    type Event = &'a mut H::Event<'e>;
}

impl<H: Hook> InlineFlavor<H> for HookFlavor {
    #[inline(always)]
    fn again<'a, 'e: 'a>(event: &'a mut EventRef<'_, 'e, Self, H>) -> EventRef<'a, 'e, Self, H> {
        event
    }
}

impl<H: Hook> Flavor<H> for HookFlavor {
    const REGISTRY_PREFIX: &'static str = "Hook";
    const TOPIC_PREFIX: &'static str = "Hook";

    type Handler = dyn InlineHandler<Self, H>;

    fn inline<C>(header: Header, call: C) -> HandlerArc<Self, H>
    where
        C: Fn(EventRef<'_, '_, Self, H>, &Header) -> Outcome + Send + Sync + 'static,
    {
        inline::callable::<Self, H, C>(header, call)
    }

    fn wrap(wrapped: Wrapped<Self::Handler>) -> HandlerArc<Self, H> {
        counted(Arc::new(wrapped))
    }
}

impl<H: Hook> HookRegistry<H> {
    /// Registers a handler. Every [`notify`](Self::notify) that begins after this has returned
    /// calls it.
    ///
    /// Costs what [`SyncRegistry::register`](crate::SyncRegistry::register) costs.
    #[doc(alias("subscribe", "on", "connect", "listen"))]
    #[track_caller]
    pub fn register<F>(&self, handler: F) -> HandlerId
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        self.options().register(handler)
    }

    /// Calls every handler with the event, in order, on this thread. Each sees what those before it
    /// have changed.
    ///
    /// A handler that panics does not keep the others from running: they see the event as it left
    /// it, perhaps half changed. If that must not be, make the change at the end of the handler, or
    /// register it as an interceptor, whose panic stops the dispatch.
    ///
    /// Takes locks and allocates where
    /// [`SyncRegistry::notify`](crate::SyncRegistry::notify) does, and costs what that costs.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    #[inline(always)]
    pub fn notify(&self, event: &mut H::Event<'_>) -> Delivery {
        self.cell().read(|list| dispatch::<HookFlavor, H>(list, event))
    }

    /// Notifies, as [`notify`](Self::notify) does, with an event that is created only if there are
    /// handlers. It is dropped at the end; what they have changed in values that it borrows stays.
    ///
    /// ```
    /// use topic_registry::{HookRegistry, Owned};
    ///
    /// let traces = HookRegistry::<Owned<str>>::new();
    /// traces.notify_with(|| -> String { unreachable!("nobody listens") });
    /// traces.register(|line| println!("{line}"));
    /// traces.notify_with(|| format!("{:?}", [1, 2, 3]));
    /// ```
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    #[inline]
    pub fn notify_with<'e, T>(&self, event: impl FnOnce() -> T) -> Delivery
    where
        T: BorrowMut<H::Event<'e>>,
    {
        self.cell()
            .read(|list| dispatch_created::<HookFlavor, H, T>(list, event(), T::borrow_mut))
    }

    /// Registers a handler with a priority: handlers with a higher one run first, those with the
    /// same one in the order of their registration. The default priority is 0.
    ///
    /// ```
    /// use topic_registry::{HookRegistry, Owned};
    ///
    /// let titles = HookRegistry::<Owned<String>>::new();
    /// titles.register(|title| title.push('!'));
    /// titles.register_with_priority(10, |title| title.push_str(" was saved"));
    /// let mut title = String::from("app.toml");
    /// titles.notify(&mut title);
    /// assert_eq!(title, "app.toml was saved!");
    /// ```
    #[track_caller]
    pub fn register_with_priority<F>(&self, priority: i32, handler: F) -> HandlerId
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        self.options().priority(priority).register(handler)
    }

    /// Registers a handler, and returns a guard that removes it when it is dropped.
    ///
    /// ```
    /// use topic_registry::{HookRegistry, Owned};
    ///
    /// let counts = HookRegistry::<Owned<u32>>::new();
    /// let guard = counts.register_guard(|count| *count += 1);
    /// let mut count = 0;
    /// counts.notify(&mut count);
    /// drop(guard);
    /// counts.notify(&mut count);
    /// assert_eq!(count, 1);
    /// ```
    #[track_caller]
    pub fn register_guard<F>(&self, handler: F) -> HandlerGuard
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        self.options().guard().register(handler)
    }

    /// Registers a handler for a single call: by the dispatch that removes it, as with
    /// [`SyncRegistry::register_once`](crate::SyncRegistry::register_once).
    #[track_caller]
    pub fn register_once<F>(&self, handler: F) -> HandlerId
    where
        F: FnOnce(&mut H::Event<'_>) + Send + 'static,
    {
        self.options().register_once(handler)
    }

    /// Waits for the first event for which `f` returns `Some`, as with
    /// [`SyncRegistry::wait_for`](Registry::wait_for).
    ///
    /// `f` only looks at the event: several dispatches may call it before the first that matches
    /// has ended the wait, and what it returned for the others is dropped.
    ///
    /// ```
    /// use topic_registry::{HookRegistry, Owned};
    ///
    /// let lines = HookRegistry::<Owned<String>>::new();
    /// let done = lines.wait_for(|line| line.strip_prefix("done: ").map(str::to_owned));
    /// lines.notify(&mut "done: 3 files".to_owned());
    /// assert_eq!(done.wait().as_deref(), Ok("3 files"));
    /// ```
    #[track_caller]
    pub fn wait_for<T, P>(&self, f: P) -> WaitFor<T>
    where
        T: Send + 'static,
        P: Fn(&H::Event<'_>) -> Option<T> + Send + Sync + 'static,
    {
        WaitFor::new(self, move |event| f(event))
    }

    /// Records what `f` returns for each event, for tests, as with
    /// [`SyncRegistry::record`](Registry::record). It sees the event as the handlers before it have
    /// left it.
    ///
    /// ```
    /// use topic_registry::{HookRegistry, Owned};
    ///
    /// let lines = HookRegistry::<Owned<String>>::new();
    /// lines.register(|line| line.push('!'));
    /// let recorder = lines.record(String::clone);
    /// lines.notify(&mut "saved".to_owned());
    /// assert_eq!(recorder.take(), ["saved!"]);
    /// ```
    #[track_caller]
    pub fn record<T, P>(&self, f: P) -> Recorder<T>
    where
        T: Send + 'static,
        P: Fn(&H::Event<'_>) -> T + Send + Sync + 'static,
    {
        Recorder::new(self, move |event| f(event))
    }
}

impl<H, R> RegisterOptions<'_, HookFlavor, H, R>
where
    H: Hook,
    R: Returns<HookFlavor, H>,
{
    /// Registers a handler, as [`HookRegistry::register`] does.
    #[track_caller]
    pub fn register<F>(self, handler: F) -> R::Registered
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        self.add_plain(handler)
    }

    /// Registers a handler for a single call, as [`HookRegistry::register_once`] does.
    #[track_caller]
    pub fn register_once<F>(self, handler: F) -> R::Registered
    where
        F: FnOnce(&mut H::Event<'_>) + Send + 'static,
    {
        self.add_once(handler)
    }

    /// Registers a handler that can remove itself: after it has returned `Break`, it is removed,
    /// before the next handler of that dispatch runs.
    ///
    /// No dispatch starts it once it is removed. A dispatch on another thread may have started it
    /// before; that call still runs, and its result is ignored. A handler that panics stays
    /// registered.
    ///
    /// ```
    /// use std::ops::ControlFlow::{Break, Continue};
    /// use topic_registry::{HookRegistry, Owned};
    ///
    /// let drafts = HookRegistry::<Owned<Vec<u32>>>::new();
    /// drafts.options().register_until(|draft| {
    ///     draft.push(1);
    ///     if draft.len() == 2 { Break(()) } else { Continue(()) }
    /// });
    /// let mut draft = Vec::new();
    /// for _ in 0..5 {
    ///     drafts.notify(&mut draft);
    /// }
    /// assert_eq!(draft, [1, 1]);
    /// ```
    #[track_caller]
    pub fn register_until<F>(self, handler: F) -> R::Registered
    where
        F: Fn(&mut H::Event<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    {
        self.add_until(handler)
    }

    /// Registers a handler that can stop the dispatch that calls it: after it has returned `Break`,
    /// the dispatch calls no other handler, and [`Delivery::stopped`] returns true. It may leave
    /// the reason in the event: see [`HookRegistry`].
    ///
    /// An interceptor runs in order of priority like any other handler. One that panics also stops
    /// the dispatch: a veto that fails must not let through what it was there to stop.
    #[track_caller]
    pub fn register_interceptor<I>(self, interceptor: I) -> R::Registered
    where
        I: Fn(&mut H::Event<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    {
        self.add_interceptor(interceptor)
    }
}

impl<H: Hook> Batch<'_, HookFlavor, H> {
    /// Registers a handler, as [`HookRegistry::register`] does.
    #[track_caller]
    pub fn register<F>(&mut self, handler: F) -> HandlerId
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        self.options().register(handler)
    }
}

/// A handle notifies as its [`HookRegistry`] does, and derefs to it.
impl<K: Key, H: Hook> HookTopicHandle<K, H> {
    /// Calls every handler of the topic, in order, on this thread: [`HookRegistry::notify`].
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    #[inline(always)]
    pub fn notify(&self, event: &mut H::Event<'_>) -> Delivery {
        HookRegistry::notify(self, event)
    }

    /// Notifies with an event that is created only if there are handlers:
    /// [`HookRegistry::notify_with`].
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    #[inline]
    pub fn notify_with<'e, T>(&self, event: impl FnOnce() -> T) -> Delivery
    where
        T: BorrowMut<H::Event<'e>>,
    {
        HookRegistry::notify_with(self, event)
    }
}

impl<K: Key, H: Hook> HookTopicRegistry<K, H> {
    /// Registers a handler on the key's topic: [`HookRegistry::register`].
    #[doc(alias("subscribe", "on", "connect", "listen"))]
    #[track_caller]
    pub fn register<F>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register(handler)
    }

    /// Notifies the key's topic: [`HookRegistry::notify`]. If there is no topic, nothing happens,
    /// and none is created. Costs what [`TopicRegistry::notify`](crate::TopicRegistry::notify)
    /// costs.
    #[doc(alias("emit", "publish", "dispatch", "fire", "trigger"))]
    pub fn notify<Q>(&self, key: &Q, event: &mut H::Event<'_>) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.read(key, |list| dispatch::<HookFlavor, H>(list, event))
    }

    /// Notifies the key's topic, with an event that is created only if it has handlers:
    /// [`HookRegistry::notify_with`].
    ///
    /// # Panics
    ///
    /// If `event` panics; then no handler is called. Or if the destructor of the created event
    /// panics.
    pub fn notify_with<'e, Q, T>(&self, key: &Q, event: impl FnOnce() -> T) -> Delivery
    where
        Q: Hash + Equivalent<K> + ?Sized,
        T: BorrowMut<H::Event<'e>>,
    {
        // While the key is looked up, which runs its `Hash`, `Eq` and `Borrow`.
        let event = Held::new(event);
        self.read(key, |list| {
            dispatch_created::<HookFlavor, H, T>(list, event.into_inner()(), T::borrow_mut)
        })
    }

    /// Registers a handler on the key's topic, with a priority:
    /// [`HookRegistry::register_with_priority`].
    #[track_caller]
    pub fn register_with_priority<F>(
        &self,
        key: impl Into<K>,
        priority: i32,
        handler: F,
    ) -> HandlerId
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_with_priority(priority, handler)
    }

    /// Registers a handler on the key's topic, and returns a guard:
    /// [`HookRegistry::register_guard`].
    #[track_caller]
    pub fn register_guard<F>(&self, key: impl Into<K>, handler: F) -> HandlerGuard
    where
        F: Fn(&mut H::Event<'_>) + Send + Sync + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_guard(handler)
    }

    /// Registers a handler on the key's topic for a single call: [`HookRegistry::register_once`].
    #[track_caller]
    pub fn register_once<F>(&self, key: impl Into<K>, handler: F) -> HandlerId
    where
        F: FnOnce(&mut H::Event<'_>) + Send + 'static,
    {
        let (topic, handler) = self.handle_beside(key, handler);
        topic.register_once(handler)
    }
}
