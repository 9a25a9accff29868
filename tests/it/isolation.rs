//! Nothing of the user's unwinds out of the library (G1).

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[cfg(feature = "async")]
use topic_registry::AsyncTopicRegistry;
use topic_registry::{PanicOrigin, SyncRegistry, TopicRegistry};

#[cfg(feature = "async")]
use crate::support::now;

use crate::support::{
    Bomb, EndlessBomb, KEY, Listens, Log, Subject, TopicsOf, for_each_subject, gate, log_of_panics,
    owning, within,
};

for_each_subject! {
    siblings_of_a_handler_that_panics_run
    each_panic_of_a_long_list_is_counted
    a_payload_whose_drop_panics_is_contained
    a_payload_whose_drop_throws_its_like_is_contained
    closures_whose_drop_panics_are_contained_wherever_they_are_removed
    closures_that_wait_and_record_and_whose_drop_panics_are_contained
    two_bombs_in_one_list_do_not_abort
    a_bomb_goes_off_at_the_end_of_a_dispatch_on_another_thread
    a_guard_of_a_bomb_is_dropped_while_the_thread_unwinds
    a_callback_that_panics_is_contained
    each_panic_that_is_caught_is_counted_once
    what_is_held_while_a_key_is_made_does_not_abort
    a_replaced_callback_whose_drop_panics_is_contained
    a_callback_that_replaces_itself_and_whose_drop_panics_is_contained
    a_notify_from_a_destructor_while_the_thread_unwinds
    bombs_in_a_registry_that_is_dropped
}

fn siblings_of_a_handler_that_panics_run<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    for name in ["first", "second", "third"] {
        let log = log.clone();
        subject.register(0, move |_| {
            log.push(name);
            assert_ne!(name, "second", "it panics");
        });
    }
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (3, 1));
    assert_eq!(log.take(), ["first", "second", "third"]);
}

/// Of several chunks, in the first, the last, and in between.
fn each_panic_of_a_long_list_is_counted<S: Subject>() {
    let subject = S::fresh();
    for n in 0..200 {
        subject.register(0, move |_| assert_ne!(n % 50, 0, "it panics"));
    }
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (200, 4));
}

fn a_payload_whose_drop_panics_is_contained<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, |_| panic_any(Bomb("payload")));
    subject.register(0, |_| {});
    let delivery = subject.notify(&0);
    assert_eq!((delivery.called(), delivery.panicked()), (2, 1));
    assert_eq!(
        reports.take(),
        ["?", "payload"],
        "the call, then the destructor"
    );
    assert_eq!(subject.panic_count(), 2);
}

fn a_payload_whose_drop_throws_its_like_is_contained<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, |_| panic_any(EndlessBomb));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(reports.take().len(), 2);
}

fn closures_whose_drop_panics_are_contained_wherever_they_are_removed<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let id = subject.register(0, owning(Bomb("unregister")));
    assert!(subject.unregister(id));
    assert_eq!(reports.take(), ["unregister"]);

    drop(subject.guard(owning(Bomb("guard"))));
    assert_eq!(reports.take(), ["guard"]);

    subject.register(0, owning(Bomb("clear")));
    subject.clear();
    assert_eq!(reports.take(), ["clear"]);

    let bomb = Bomb("once");
    subject.once(move |_| drop(bomb));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(reports.take(), ["once"]);

    let bomb = Bomb("never ran");
    let id = subject.once(move |_| drop(bomb));
    assert!(subject.unregister(id));
    assert_eq!(reports.take(), ["never ran"]);
    assert_eq!(subject.panic_count(), 5);
}

/// Reported as a destructor of the handler's.
fn closures_that_wait_and_record_and_whose_drop_panics_are_contained<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    let reports = log.clone();
    subject.on_panic(move |info| {
        let message = info.message().unwrap().to_owned();
        reports.push((info.handler_id().unwrap(), info.origin(), message));
    });
    let registry = subject.registry();
    let told = |id, message: &str| [(id, PanicOrigin::Destructor, message.to_owned())];
    let waits = |bomb| {
        let bomb = Bomb(bomb);
        registry.wait_for(move |_| {
            let _ = &bomb;
            Some(())
        })
    };
    let waiting = waits("found");
    assert_eq!(subject.notify(&0).panicked(), 0);
    assert_eq!(log.take(), told(waiting.id(), "found"));
    assert_eq!(waiting.wait(), Ok(()));
    let waiting = waits("dropped");
    let id = waiting.id();
    drop(waiting);
    assert_eq!(log.take(), told(id, "dropped"));
    let waiting = waits("removed");
    subject.clear();
    assert_eq!(log.take(), told(waiting.id(), "removed"));

    let bomb = Bomb("recorder");
    let recorder = registry.record(move |_| _ = &bomb);
    let id = recorder.id();
    subject.notify(&0);
    drop(recorder);
    assert_eq!(log.take(), told(id, "recorder"));
    assert_eq!(subject.panic_count(), 4);
}

fn two_bombs_in_one_list_do_not_abort<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    subject.register(0, owning((Bomb("a"), "whose closure holds one only")));
    subject.register(0, owning(Bomb("b")));
    subject.clear();
    assert_eq!(reports.take(), ["a", "b"]);
    assert_eq!(subject.panic_count(), 2);
}

fn a_bomb_goes_off_at_the_end_of_a_dispatch_on_another_thread<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let (enter, entered) = gate("the handler to be entered");
    let (leave, left) = gate("the removal");
    subject.register(0, move |_| {
        enter();
        left();
    });
    let bomb = subject.register(0, owning(Bomb("last owner")));
    let dispatch = std::thread::spawn({
        let subject = subject.clone();
        move || subject.notify(&0)
    });
    entered();
    assert!(subject.unregister(bomb));
    assert_eq!(reports.take().len(), 0, "the dispatch still owns it");
    leave();
    let delivery = dispatch.join().expect("the bomb is contained");
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert_eq!(reports.take(), ["last owner"]);
}

fn a_guard_of_a_bomb_is_dropped_while_the_thread_unwinds<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let guards = [
        subject.guard(owning(Bomb("one"))),
        subject.guard(owning(Bomb("two"))),
    ];
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _guards = guards;
        panic!("the user's own");
    }));
    assert!(unwound.is_err());
    assert_eq!(reports.take(), ["one", "two"]);
    assert!(subject.registry().is_empty());
}

fn a_callback_that_panics_is_contained<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    subject.on_panic(|_| panic!("callback"));
    subject.register(0, |_| panic!("handler"));
    let sibling = log.clone();
    subject.register(0, move |_| sibling.push("ran"));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(log.take(), ["ran"]);
    assert_eq!(subject.panic_count(), 2, "the handler's and the callback's");
    subject.on_panic(|_| panic_any(EndlessBomb));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(
        subject.panic_count(),
        5,
        "also that of what the callback threw"
    );
}

/// Also those of what is thrown, wherever it is caught.
fn each_panic_that_is_caught_is_counted_once<S: Subject>() {
    let builder = TopicsOf::<S>::builder();
    let topics = builder.on_slow(Duration::ZERO, |_, _, _| panic_any(Bomb("slow"))).build();
    let subject = S::of(topics.clone());
    let mut expected = 0;
    let mut panics = |more: u64| {
        expected += more;
        assert_eq!(topics.panic_count(), expected);
    };
    let kept = topics.handle(KEY);

    topics.on_panic(|_, _| panic_any(Bomb("thrown by a callback")));
    subject.register(0, |_| panic_any(Bomb("thrown by a handler")));
    subject.notify(&0);
    // By the call and its payload, each of which the callback hears of; and by `on_slow`.
    panics(2 + 2 * 2 + 2);
    subject.clear();
    topics.clear_panic_callback();

    let observers = [
        topics.observe_interest(|_, _| panic_any(Bomb("interest"))),
        topics.observe_handler_limit(1, |_, _| panic_any(Bomb("limit"))),
    ];
    subject.register(0, |_| {});
    panics(2);
    subject.register(0, |_| {});
    panics(2);
    drop(observers);
    subject.clear();

    // On a topic that is gone before its value is.
    drop(kept);
    let waiting = subject.registry().wait_for(|_| Some(Bomb("a value")));
    subject.notify(&0);
    panics(2);
    drop(waiting);
    panics(1);
}

/// A key whose conversion panics.
struct NoKey;

impl From<NoKey> for String {
    fn from(NoKey: NoKey) -> Self {
        panic!("no key");
    }
}

/// Two panics at once abort, so the destructors of what a caller hands over are guarded.
fn what_is_held_while_a_key_is_made_does_not_abort<S: Subject>() {
    let topics = TopicsOf::<S>::new();
    let bomb = || Bomb("handed over");
    for panics in [
        catch_unwind(AssertUnwindSafe(|| {
            let bomb = bomb();
            topics.update(NoKey, move |_| _ = &bomb);
        })),
        catch_unwind(AssertUnwindSafe(|| {
            let bomb = bomb();
            topics.observe_handler_limit(0, move |_, _| _ = &bomb).forget();
        })),
    ] {
        assert!(panics.is_err());
    }
    assert!(topics.is_empty());
}

/// An event whose `Borrow` panics, and its destructor too.
struct Torn(Bomb);

impl Borrow<u32> for Torn {
    fn borrow(&self) -> &u32 {
        panic!("no event in {}", self.0.0);
    }
}

#[test]
fn an_event_that_cannot_be_borrowed_does_not_abort() {
    let topics = TopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    handle.register(|_| {});
    let mut pinned = handle.pin();
    let make = || Torn(Bomb("an event"));
    for panics in [
        catch_unwind(AssertUnwindSafe(|| handle.notify_with(make))),
        catch_unwind(AssertUnwindSafe(|| topics.notify_with("a", make))),
        catch_unwind(AssertUnwindSafe(|| pinned.notify_with(make))),
    ] {
        let message = *panics.unwrap_err().downcast::<String>().expect("a text");
        assert_eq!(message, "no event in an event");
    }
    assert_eq!(handle.notify(&0).called(), 1);
}

#[cfg(feature = "async")]
#[test]
fn an_event_of_an_async_dispatch_that_cannot_be_borrowed_does_not_abort() {
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    handle.register(|_| async {});
    let make = || Torn(Bomb("an event"));
    for panics in [
        catch_unwind(AssertUnwindSafe(|| now(handle.notify_with(make)))),
        catch_unwind(AssertUnwindSafe(
            || now(handle.notify_sequential_with(make)),
        )),
        catch_unwind(AssertUnwindSafe(|| now(topics.notify_with("a", make)))),
        catch_unwind(AssertUnwindSafe(|| {
            now(topics.notify_sequential_with("a", make))
        })),
    ] {
        assert!(panics.is_err());
    }
    assert_eq!(now(handle.notify(&0)).called(), 1);
}

/// What a key is looked up by, whose `Hash` panics.
#[derive(PartialEq, Eq)]
struct NoHash;

impl Hash for NoHash {
    fn hash<H: Hasher>(&self, _: &mut H) {
        panic!("no hash");
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Hashed;

impl Borrow<NoHash> for Hashed {
    fn borrow(&self) -> &NoHash {
        &NoHash
    }
}

#[test]
fn what_is_held_while_a_key_is_looked_up_does_not_abort() {
    let topics = TopicRegistry::<Hashed, u32>::new();
    topics.register(Hashed, |_| {});
    let bomb = Bomb("an event to be made");
    let panics = catch_unwind(AssertUnwindSafe(|| {
        topics.notify_with(&NoHash, move || {
            let _ = &bomb;
            1
        })
    }));
    assert_eq!(panics.unwrap_err().downcast_ref(), Some(&"no hash"));
    assert_eq!(topics.notify(&Hashed, &0).called(), 1);
}

#[cfg(feature = "async")]
#[test]
fn what_an_async_dispatch_holds_while_a_key_is_looked_up_does_not_abort() {
    let topics = AsyncTopicRegistry::<Hashed, u32>::new();
    let bomb = || {
        let bomb = Bomb("an event to be made");
        move || {
            let _ = &bomb;
            1
        }
    };
    for panics in [
        catch_unwind(AssertUnwindSafe(
            || now(topics.notify_with(&NoHash, bomb())),
        )),
        catch_unwind(AssertUnwindSafe(|| {
            now(topics.notify_sequential_with(&NoHash, bomb()))
        })),
    ] {
        assert_eq!(panics.unwrap_err().downcast_ref(), Some(&"no hash"));
    }
}

#[test]
fn a_closure_held_while_a_key_is_made_does_not_abort() {
    let topics = TopicRegistry::<String, u32>::new();
    let bomb = || owning(Bomb("a closure"));
    for panics in [
        catch_unwind(AssertUnwindSafe(|| _ = topics.register(NoKey, bomb()))),
        catch_unwind(AssertUnwindSafe(|| {
            _ = topics.register_with_priority(NoKey, 1, bomb());
        })),
        catch_unwind(AssertUnwindSafe(|| {
            drop(topics.register_guard(NoKey, bomb()));
        })),
        catch_unwind(AssertUnwindSafe(|| _ = topics.register_once(NoKey, bomb()))),
    ] {
        let message = *panics.unwrap_err().downcast::<&str>().expect("a literal");
        assert_eq!(message, "no key");
    }
    assert!(topics.is_empty());
}

#[cfg(feature = "async")]
#[test]
fn an_async_closure_held_while_a_key_is_made_does_not_abort() {
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let bomb = || {
        let owned = owning(Bomb("a closure"));
        move |event: &u32| {
            owned(event);
            std::future::ready(())
        }
    };
    for panics in [
        catch_unwind(AssertUnwindSafe(|| _ = topics.register(NoKey, bomb()))),
        catch_unwind(AssertUnwindSafe(|| {
            _ = topics.register_with_priority(NoKey, 1, bomb());
        })),
        catch_unwind(AssertUnwindSafe(|| {
            drop(topics.register_guard(NoKey, bomb()));
        })),
        catch_unwind(AssertUnwindSafe(|| _ = topics.register_once(NoKey, bomb()))),
    ] {
        assert!(panics.is_err());
    }
    assert!(topics.is_empty());
}

/// A key that panics when it is cloned for the third time, and whose clones panic when dropped.
struct Frail {
    id: u32,
    clones: Arc<AtomicUsize>,
    is_clone: bool,
}

impl Clone for Frail {
    fn clone(&self) -> Self {
        let clones = Arc::clone(&self.clones);
        assert!(
            clones.fetch_add(1, Ordering::Relaxed) < 2,
            "the third clone"
        );
        Self {
            id: self.id,
            clones,
            is_clone: true,
        }
    }
}

impl Drop for Frail {
    fn drop(&mut self) {
        assert!(!self.is_clone, "a clone is dropped");
    }
}

impl PartialEq for Frail {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Frail {}

impl Hash for Frail {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

#[test]
fn keys_whose_clones_panic_twice_do_not_abort() {
    let (topics, clones) = (TopicRegistry::<Frail, u32>::new(), Arc::default());
    let handles = [0, 1, 2, 3].map(|id| {
        let clones = Arc::clone(&clones);
        topics.handle(Frail {
            id,
            clones,
            is_clone: false,
        })
    });
    for panics in [
        catch_unwind(AssertUnwindSafe(|| mem::forget(topics.keys()))),
        catch_unwind(AssertUnwindSafe(|| mem::forget(topics.topics()))),
    ] {
        let message = *panics.unwrap_err().downcast::<&str>().expect("a literal");
        assert_eq!(message, "the third clone");
        clones.store(0, Ordering::Relaxed);
    }
    drop(handles);
    assert!(topics.is_empty());
}

#[test]
fn a_key_whose_destructor_panics_is_counted() {
    #[derive(PartialEq, Eq, Hash)]
    struct Bad(bool);
    impl Clone for Bad {
        fn clone(&self) -> Self {
            unreachable!("nobody asks for it");
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            assert!(!self.0, "a key is dropped");
        }
    }
    let topics = TopicRegistry::<Bad, u32>::new();
    let handle = topics.handle(Bad(true));
    drop(topics.handle(Bad(true)));
    assert_eq!(topics.panic_count(), 1, "of the second key");
    drop(handle);
    assert_eq!((topics.panic_count(), topics.len()), (2, 0));
}

fn a_replaced_callback_whose_drop_panics_is_contained<S: Subject>() {
    let subject = S::fresh();
    let bomb = Bomb("replaced");
    subject.on_panic(move |_| {
        let _ = &bomb;
    });
    log_of_panics(&subject);
    assert_eq!(subject.panic_count(), 1);
    let bomb = Bomb("forgotten");
    subject.on_panic(move |_| {
        let _ = &bomb;
    });
    subject.forget_callback();
    assert_eq!(subject.panic_count(), 2);
}

fn a_callback_that_replaces_itself_and_whose_drop_panics_is_contained<S: Subject>() {
    let subject = S::fresh();
    let (same, bomb) = (subject.clone(), Bomb("last owner is the report that runs"));
    subject.on_panic(move |_| {
        let _ = &bomb;
        same.forget_callback();
    });
    subject.register(0, |_| panic!("handler"));
    assert_eq!(subject.notify(&0).panicked(), 1);
    assert_eq!(subject.panic_count(), 2);
}

fn a_notify_from_a_destructor_while_the_thread_unwinds<S: Subject>() {
    let (subject, log) = (S::fresh(), Log::new());
    subject.register(0, |_| panic!("handler"));
    let calls = log.clone();
    subject.register(0, move |event| calls.push(*event));
    let notifies = subject.clone();
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _last_words = crate::support::OnDrop(move || {
            notifies.notify(&7);
        });
        panic!("the user's own");
    }));
    assert!(unwound.is_err());
    assert_eq!((log.take(), subject.panic_count()), (vec![7], 1));
}

fn bombs_in_a_registry_that_is_dropped<S: Subject>() {
    let subject = S::fresh();
    let reports = log_of_panics(&subject);
    let bomb = Bomb("callback");
    subject.register(0, owning(Bomb("a")));
    subject.register(0, owning(Bomb("b")));
    subject.registry().on_panic({
        let reports = reports.clone();
        move |info| {
            let _ = &bomb;
            reports.push(info.message().unwrap().to_owned());
        }
    });
    reports.take();
    within("a registry full of bombs to be dropped", move || {
        drop(subject);
    });
    let mut told = reports.take();
    told.dedup();
    assert_eq!(told, ["a", "b"]);
}

#[test]
fn the_destructor_of_a_replaced_callback_is_told_to_its_successor() {
    let (registry, log) = (SyncRegistry::<u32>::new(), Log::new());
    let bomb = Bomb("old callback");
    registry.on_panic(move |_| {
        let _ = &bomb;
    });
    let reports = log.clone();
    let line = line!() + 1;
    registry.on_panic(move |info| {
        reports.push((
            info.message().unwrap().to_owned(),
            (info.handler_id(), info.origin()),
            info.registered_at().line(),
        ));
    });
    let what = (None, PanicOrigin::Callback);
    assert_eq!(log.take(), [("old callback".to_owned(), what, line)]);
}

/// Hashes and compares as its number; its destructor panics if it is told to.
#[derive(Clone)]
struct HostileKey(u32, Option<std::sync::Arc<std::sync::atomic::AtomicBool>>);

impl Drop for HostileKey {
    fn drop(&mut self) {
        use std::sync::atomic::Ordering;
        if self.1.as_ref().is_some_and(|armed| armed.load(Ordering::Relaxed))
            && !std::thread::panicking()
        {
            panic!("key");
        }
    }
}

impl PartialEq for HostileKey {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for HostileKey {}

thread_local! {
    static HASH_PANICS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl std::hash::Hash for HostileKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        assert!(!HASH_PANICS.get(), "hash");
        self.0.hash(state);
    }
}

#[test]
fn a_key_whose_drop_panics_is_contained() {
    let armed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let topics = TopicRegistry::<HostileKey, u32>::new();
    let guard = topics.register_guard(HostileKey(1, Some(armed.clone())), |_| {});
    let handle = topics.handle(HostileKey(2, Some(armed.clone())));
    armed.store(true, std::sync::atomic::Ordering::Relaxed);
    drop(topics.handle(HostileKey(1, Some(armed.clone()))));
    drop(guard);
    assert_eq!(topics.len(), 1);
    drop(topics);
    drop(handle);
}

#[test]
fn callbacks_whose_drop_panics_are_contained_when_they_go_with_the_topics() {
    type Set = fn(&TopicRegistry<u32, u32>, Bomb);
    let sets: [Set; 3] = [
        |topics, bomb| topics.on_panic(move |_, _| _ = &bomb),
        |topics, bomb| topics.observe_interest(move |_, _| _ = &bomb).forget(),
        |topics, bomb| topics.observe_handler_limit(1, move |_, _| _ = &bomb).forget(),
    ];
    for set in sets {
        let topics = TopicRegistry::new();
        set(&topics, Bomb("goes with the topics"));
        let handle = topics.handle(1_u32);
        drop(topics);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(handle))).is_ok());
    }
}

#[test]
fn a_key_whose_hash_panics_does_not_keep_its_topic() {
    let topics = TopicRegistry::<HostileKey, u32>::new();
    let guard = topics.register_guard(HostileKey(1, None), |_| {});
    HASH_PANICS.set(true);
    drop(guard);
    HASH_PANICS.set(false);
    assert!(topics.is_empty());
    assert_eq!(topics.panic_count(), 0);
}
