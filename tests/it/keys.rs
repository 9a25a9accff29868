//! Keys whose own code panics, or looks other keys up: `Eq` and `Borrow` are the only code of the
//! user that runs inside of a look-up, or under a lock. Nothing of it is left behind.

use std::borrow::Borrow;
use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use topic_registry::{Equivalent, TopicRegistry};

use crate::support::within;

type Topics = TopicRegistry<Key, u64>;

/// What panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Hash,
    Eq,
    Borrow,
}

thread_local! {
    /// What panics on this thread, and at which of its calls from now on.
    static PANICS: Cell<Option<(Place, u32)>> = const { Cell::new(None) };
}

fn pass(place: Place) {
    match PANICS.get() {
        Some((which, 0)) if which == place => {
            PANICS.set(None);
            panic!("{place:?} of a key");
        }
        Some((which, calls)) if which == place => PANICS.set(Some((which, calls - 1))),
        _ => {}
    }
}

/// What keys are looked up by.
#[derive(Clone, Copy)]
struct Number(u64);

#[derive(Clone)]
struct Key(Number);

impl Borrow<Number> for Key {
    fn borrow(&self) -> &Number {
        pass(Place::Borrow);
        &self.0
    }
}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        pass(Place::Hash);
        self.0.hash(state);
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        pass(Place::Eq);
        self.0 == other.0
    }
}

impl Eq for Number {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

/// A number that is there.
const IS: Number = Number(7);

type Use = (&'static str, fn(&Topics));

const ANOTHER: &str = "a handle of another key";

const USES: [Use; 8] = [
    ("contains_key", |topics| assert!(topics.contains_key(&IS))),
    ("get", |topics| assert!(topics.get(&IS).is_some())),
    ("notify", |topics| {
        assert!(topics.notify(&IS, &0).called() > 0);
    }),
    ("unregister", |topics| {
        let id = topics.handle(Key(IS)).register(|_| {});
        assert!(topics.unregister(&IS, id));
    }),
    ("remove", |topics| assert!(topics.remove(&IS))),
    ("handle", |topics| drop(topics.handle(Key(IS)))),
    ("register_guard", |topics| {
        drop(topics.register_guard(Key(IS), |_| {}));
    }),
    (ANOTHER, |topics| {
        drop(topics.handle(Key(Number(8))));
    }),
];

/// Looks up so often that look-ups need no lock, if they ever do.
fn look_up_often(topics: &Topics) {
    // Under miri, a few are often enough.
    for _ in 0..if cfg!(miri) { 20 } else { 20_000 } {
        assert!(topics.contains_key(&IS));
    }
}

/// Needs the shard of the number exclusively: to remove a topic, and to create one.
fn write(topics: &Topics) {
    topics.remove(&IS);
    topics.register(Key(IS), |_| {});
    assert_eq!(topics.notify(&IS, &0).called(), 1);
}

#[test]
fn a_panic_of_a_key_leaves_no_lock_and_no_look_up_behind() {
    for place in [Place::Hash, Place::Eq, Place::Borrow] {
        for (name, uses) in USES {
            let what = format!("a writer, after {place:?} has panicked in {name}");
            let calls = within(&what, move || {
                let (topics, mut calls) = (Topics::new(), 0);
                loop {
                    write(&topics);
                    look_up_often(&topics);
                    PANICS.set(Some((place, calls)));
                    let _ = panic::catch_unwind(AssertUnwindSafe(|| uses(&topics)));
                    if PANICS.take().is_some() {
                        break;
                    }
                    thread::scope(|scope| {
                        scope.spawn(|| write(&topics));
                    });
                    write(&topics);
                    calls += 1;
                }
                calls
            });
            // A key that is one already is not borrowed, and keys whose hashes differ are not
            // compared.
            let never = place == Place::Borrow || (place == Place::Eq && name == ANOTHER);
            assert!(calls > 0 || never, "it never panics: {what}");
        }
    }
}

/// A key that counts how often this thread has hashed one, and compared two.
#[derive(Clone)]
struct Counted(u32);

thread_local! {
    static HASHED: Cell<usize> = const { Cell::new(0) };
    static COMPARED: Cell<usize> = const { Cell::new(0) };
}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        HASHED.set(HASHED.get() + 1);
        self.0.hash(state);
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        COMPARED.set(COMPARED.get() + 1);
        self.0 == other.0
    }
}

impl Eq for Counted {}

/// Not when the table grows or shrinks, and not when a topic is removed or a look-up waited for.
#[test]
fn a_key_is_hashed_once_for_each_call_by_key() {
    const KEYS: u32 = if cfg!(miri) { 100 } else { 1000 };
    let topics = TopicRegistry::<Counted, u64>::new();
    let guards: Vec<_> = (0..KEYS).map(|key| topics.register_guard(Counted(key), |_| {})).collect();
    assert_eq!(HASHED.replace(0), KEYS as usize);
    topics.notify(&Counted(7), &0);
    let handle = topics.handle(Counted(7));
    assert_eq!(HASHED.replace(0), 2);
    assert!(COMPARED.replace(0) >= 2);
    let pinned = handle.pin();
    drop(guards);
    drop((pinned, handle));
    assert!(topics.is_empty());
    topics.shrink_to_fit();
    assert_eq!((HASHED.get(), COMPARED.get()), (0, 0));
}

/// A key whose comparison looks something up, and writes, in other topics.
struct Curious(u64, TopicRegistry<u64, u64>);

impl Clone for Curious {
    fn clone(&self) -> Self {
        Self(self.0, self.1.clone())
    }
}

impl Hash for Curious {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Curious {
    fn eq(&self, other: &Self) -> bool {
        assert!(self.1.contains_key(&0));
        assert_eq!(self.1.notify(&0, &0).called(), 1);
        drop(self.1.register_guard(1_u64, |_| {}));
        self.0 == other.0
    }
}

impl Eq for Curious {}

#[test]
fn a_key_may_use_other_topics_while_it_is_compared() {
    within("a look-up inside of a look-up", || {
        let (others, topics) = (TopicRegistry::new(), TopicRegistry::<Curious, u64>::new());
        others.register(0_u64, |_| {});
        let key = Curious(0, others.clone());
        topics.register(key.clone(), |_| {});
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        assert!(others.contains_key(&0));
                        assert_eq!(topics.notify(&key, &0).called(), 1);
                    }
                });
            }
            scope.spawn(|| {
                for number in 2..500 {
                    drop(others.handle(number));
                    drop(topics.handle(Curious(number, others.clone())));
                }
            });
        });
        assert_eq!((topics.len(), others.len()), (1, 1));
    });
}

/// A key with parts, and a twin of it that owns nothing. Their hashes are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Composite {
    User(String),
    Room(u32, String),
}

#[derive(Hash)]
enum Twin<'a> {
    User(&'a str),
    Room(u32, &'a str),
}

impl Equivalent<Composite> for Twin<'_> {
    fn equivalent(&self, key: &Composite) -> bool {
        match (self, key) {
            (Self::User(one), Composite::User(other)) => one == other,
            (Self::Room(floor, one), Composite::Room(other_floor, other)) => {
                floor == other_floor && one == other
            }
            _ => false,
        }
    }
}

#[test]
fn a_composite_key_is_found_by_a_borrowed_twin() {
    let topics = TopicRegistry::<Composite, u64>::new();
    let id = topics.register(Composite::User("ann".into()), |_| {});
    topics.register(Composite::Room(3, "ann".into()), |_| {});
    let handle = topics.get(&Twin::User("ann")).expect("it is found");
    assert!(handle.contains(id));
    assert!(topics.contains_key(&Twin::Room(3, "ann")) && !topics.contains_key(&Twin::User("bob")));
    assert_eq!(topics.notify(&Twin::Room(3, "ann"), &0).called(), 1);
    assert_eq!(topics.notify(&Twin::Room(4, "ann"), &0).called(), 0);
    assert_eq!(
        topics.notify(&Composite::User("ann".into()), &0).called(),
        1
    );
    assert!(topics.unregister(&Twin::User("ann"), id));
    assert!(topics.remove(&Twin::Room(3, "ann")));
    drop(handle);
    assert!(topics.is_empty());
}
