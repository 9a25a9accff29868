//! What the library holds of the user's while the caller's own code panics: keys and events that
//! panic (G1).

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[cfg(feature = "async")]
use topic_registry::AsyncTopicRegistry;
use topic_registry::{Delivery, TopicRegistry};

#[cfg(feature = "async")]
use crate::support::now;
use crate::support::{Bomb, Subject, TopicsOf, for_each_subject, owning};

for_each_subject! {
    what_is_held_while_a_key_is_made_does_not_abort
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

/// Creates an event in each way. Returns what comes of it.
fn create_events<T: Borrow<u32>>(make: fn() -> T) -> Vec<thread::Result<Delivery>> {
    let topics = TopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    handle.register(|_| {});
    let mut pinned = handle.pin();
    let outcomes = vec![
        catch_unwind(AssertUnwindSafe(|| handle.notify_with(make))),
        catch_unwind(AssertUnwindSafe(|| topics.notify_with("a", make))),
        catch_unwind(AssertUnwindSafe(|| pinned.notify_with(make))),
    ];
    assert_eq!(handle.notify(&0).called(), 1);
    assert_eq!(topics.panic_count(), 0, "it is the caller's own");
    outcomes
}

#[cfg(feature = "async")]
fn create_events_of_async_dispatches<T>(make: fn() -> T) -> Vec<thread::Result<Delivery>>
where
    T: Borrow<u32> + Send + Sync,
{
    let topics = AsyncTopicRegistry::<String, u32>::new();
    let handle = topics.handle("a");
    handle.register(|_| async {});
    let outcomes = vec![
        catch_unwind(AssertUnwindSafe(|| now(handle.notify_with(make)))),
        catch_unwind(AssertUnwindSafe(
            || now(handle.notify_sequential_with(make)),
        )),
        catch_unwind(AssertUnwindSafe(|| now(topics.notify_with("a", make)))),
        catch_unwind(AssertUnwindSafe(|| {
            now(topics.notify_sequential_with("a", make))
        })),
    ];
    assert_eq!(now(handle.notify(&0)).called(), 1);
    assert_eq!(topics.panic_count(), 0, "it is the caller's own");
    outcomes
}

fn all_panic_with<T: Borrow<u32> + Send + Sync>(message: &str, make: fn() -> T) {
    let outcomes = create_events(make).into_iter();
    #[cfg(feature = "async")]
    let outcomes = outcomes.chain(create_events_of_async_dispatches(make));
    for outcome in outcomes {
        let payload = outcome.expect_err("it panics");
        assert_eq!(*payload.downcast::<String>().expect("a text"), message);
    }
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
    all_panic_with("no event in an event", || Torn(Bomb("an event")));
}

/// An event whose destructor panics.
struct Fragile(#[expect(dead_code, reason = "it is dropped")] Bomb);

impl Borrow<u32> for Fragile {
    fn borrow(&self) -> &u32 {
        &0
    }
}

#[test]
fn a_panic_of_the_destructor_of_an_event_is_the_callers() {
    all_panic_with("broken", || Fragile(Bomb("broken")));
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

thread_local! {
    static HASH_PANICS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
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
fn a_key_whose_hash_panics_does_not_keep_its_topic() {
    let topics = TopicRegistry::<HostileKey, u32>::new();
    let guard = topics.register_guard(HostileKey(1, None), |_| {});
    HASH_PANICS.set(true);
    drop(guard);
    HASH_PANICS.set(false);
    assert!(topics.is_empty());
    assert_eq!(topics.panic_count(), 0);
}
