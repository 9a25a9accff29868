//! Random sequences of everything that one thread can do with topics, against a plain map of
//! sorted vectors: the same calls in the same order, the same counts, the same topics alive,
//! and every closure dropped exactly once, when its handler goes.

use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use topic_registry::{
    HandlerGuard, HandlerId, Joinable, Pinned, SyncRegistry, TopicHandle, TopicRegistry,
};

const KEYS: u8 = 3;

/// What a handler does when it is called, or when its closure is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Nothing,
    Panics,
    PanicsInItsDrop,
    Registers(u8, i32),
    Removes(u8),
    Clears,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Always,
    Guarded,
    Once,
    Joinable,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Key,
    Handle,
    Pin,
}

#[derive(Clone, Debug)]
enum Op {
    Register(u8, i32, Does, How),
    Unregister(Index),
    DropGuard(Index),
    Notify(u8, Way),
    Remove(u8),
    Clear,
    Handle(u8),
    Pin(u8),
    Bare(u8),
    DropOwner(Index),
    Batch(u8, Vec<(i32, Does)>, Vec<Index>, bool),
    Prune,
}

fn op() -> impl Strategy<Value = Op> {
    let does = prop_oneof![
        4 => Just(Does::Nothing),
        1 => Just(Does::Panics),
        1 => Just(Does::PanicsInItsDrop),
        1 => (0..KEYS, -1..2).prop_map(|(key, priority)| Does::Registers(key, priority)),
        1 => (0..KEYS).prop_map(Does::Removes),
        1 => Just(Does::Clears),
    ];
    let how = prop_oneof![
        2 => Just(How::Always),
        2 => Just(How::Guarded),
        1 => Just(How::Once),
        1 => Just(How::Joinable),
    ];
    let way = prop_oneof![Just(Way::Key), Just(Way::Handle), Just(Way::Pin)];
    let changes = vec((-2..3, does.clone()), 0..4);
    prop_oneof![
        8 => (0..KEYS, -2..3, does, how).prop_map(|(k, p, d, h)| Op::Register(k, p, d, h)),
        3 => any::<Index>().prop_map(Op::Unregister),
        3 => any::<Index>().prop_map(Op::DropGuard),
        6 => (0..KEYS, way).prop_map(|(key, way)| Op::Notify(key, way)),
        1 => (0..KEYS).prop_map(Op::Remove),
        1 => Just(Op::Clear),
        2 => (0..KEYS).prop_map(Op::Handle),
        2 => (0..KEYS).prop_map(Op::Pin),
        1 => (0..KEYS).prop_map(Op::Bare),
        3 => any::<Index>().prop_map(Op::DropOwner),
        2 => (0..KEYS, changes, vec(any::<Index>(), 0..4), any::<bool>())
            .prop_map(|(key, adds, removes, clear)| Op::Batch(key, adds, removes, clear)),
        1 => Just(Op::Prune),
    ]
}

/// A handler's number: handlers get theirs in the order of registration, in both worlds.
type Name = u32;

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    priority: i32,
    does: Does,
    once: bool,
}

/// What ought to be.
#[derive(Default)]
struct Model {
    topics: BTreeMap<u8, Vec<Entry>>,
    next: Name,
    calls: Vec<Name>,
    panics: u64,
}

impl Model {
    fn add(&mut self, key: u8, priority: i32, does: Does, once: bool) -> Name {
        let name = self.next;
        self.next += 1;
        let entries = self.topics.entry(key).or_default();
        entries.push(Entry {
            name,
            priority,
            does,
            once,
        });
        entries.sort_by_key(|entry| (-entry.priority, entry.name));
        name
    }

    /// Removes those, whose closures go with them; whether there were any.
    fn remove(&mut self, goes: impl Fn(u8, &Entry) -> bool) -> bool {
        let mut gone = 0;
        for (key, entries) in &mut self.topics {
            entries.retain(|entry| {
                let goes = goes(*key, entry);
                gone += u64::from(goes);
                self.panics += u64::from(goes && entry.does == Does::PanicsInItsDrop);
                !goes
            });
        }
        gone != 0
    }

    fn is_live(&self, name: Name) -> bool {
        self.topics
            .values()
            .flatten()
            .any(|entry| entry.name == name)
    }

    fn notify(&mut self, key: u8) -> (usize, usize) {
        let (mut called, mut panicked) = (0, 0_u64);
        for entry in self.topics.get(&key).cloned().unwrap_or_default() {
            if !self.is_live(entry.name) {
                continue;
            }
            if entry.once {
                self.remove(|_, other| other.name == entry.name);
                // What its destructor throws is thrown inside of the call, and not beside it.
                let in_the_call = u64::from(entry.does == Does::PanicsInItsDrop);
                (self.panics, panicked) = (self.panics - in_the_call, panicked + in_the_call);
            }
            called += 1;
            self.calls.push(entry.name);
            match entry.does {
                Does::Nothing | Does::PanicsInItsDrop => {}
                Does::Panics => panicked += 1,
                Does::Registers(key, priority) => {
                    self.add(key, priority, Does::Nothing, false);
                }
                Does::Removes(key) => {
                    self.remove(|other, _| other == key);
                }
                Does::Clears => {
                    self.remove(|_, _| true);
                }
            }
        }
        self.panics += panicked;
        (
            called,
            usize::try_from(panicked).expect("not more than there are handlers"),
        )
    }
}

/// What the closures of the real handlers share.
#[derive(Clone, Default)]
struct Shared {
    next: Arc<AtomicU32>,
    calls: Arc<Mutex<Vec<Name>>>,
    drops: Arc<Mutex<Vec<Name>>>,
}

/// Notes that its closure was dropped.
struct Owned(Shared, Name, Does);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.drops.lock().unwrap().push(self.1);
        assert_ne!(self.2, Does::PanicsInItsDrop, "it panics in its drop");
    }
}

type Topics = TopicRegistry<u8, u32>;

struct Handler {
    topics: Topics,
    owned: Owned,
}

impl Handler {
    fn new(topics: &Topics, shared: &Shared, does: Does) -> (Name, Self) {
        let name = shared.next.fetch_add(1, Ordering::Relaxed);
        let (topics, owned) = (topics.clone(), Owned(shared.clone(), name, does));
        (name, Self { topics, owned })
    }

    fn run(&self) {
        let Owned(shared, name, does) = &self.owned;
        shared.calls.lock().unwrap().push(*name);
        match *does {
            Does::Nothing | Does::PanicsInItsDrop => {}
            Does::Panics => panic!("as it was told"),
            Does::Registers(key, priority) => {
                let (_, handler) = Self::new(&self.topics, shared, Does::Nothing);
                self.topics
                    .register_with_priority(key, priority, move |_| handler.run());
            }
            Does::Removes(key) => {
                self.topics.remove(&key);
            }
            Does::Clears => self.topics.clear(),
        }
    }
}

/// Who keeps a topic without a handler.
enum Owner {
    Handle(TopicHandle<u8, u32>),
    Pin(Pinned<u32>),
    Bare(#[expect(dead_code, reason = "it is kept, and dropped")] SyncRegistry<u32>),
}

/// Who removes its handler when it is dropped.
enum Guard {
    Guard(#[expect(dead_code, reason = "it is kept, and dropped")] HandlerGuard),
    Joinable(Joinable),
}

#[derive(Default)]
struct World {
    topics: Topics,
    shared: Shared,
    model: Model,
    ids: Vec<(u8, HandlerId, Name)>,
    guards: Vec<(Name, Guard)>,
    owners: Vec<(u8, Owner)>,
}

impl World {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Register(key, priority, does, how) => self.register(*key, *priority, *does, *how),
            Op::Unregister(at) => {
                let Some(&(key, id, name)) = pick(&self.ids, at) else {
                    return;
                };
                let removed = self.topics.unregister(&key, id);
                assert_eq!(removed, self.model.remove(|_, entry| entry.name == name));
            }
            Op::DropGuard(at) => {
                if self.guards.is_empty() {
                    return;
                }
                let (name, guard) = self.guards.swap_remove(at.index(self.guards.len()));
                if let Guard::Joinable(joinable) = guard {
                    assert_eq!(joinable.join(), Ok(()));
                }
                self.model.remove(|_, entry| entry.name == name);
            }
            Op::Notify(key, way) => self.notify(*key, *way),
            Op::Remove(key) => {
                let removed = self.topics.remove(key);
                assert_eq!(removed, self.model.remove(|other, _| other == *key));
            }
            Op::Clear => {
                self.topics.clear();
                self.model.remove(|_, _| true);
            }
            Op::Handle(key) => self
                .owners
                .push((*key, Owner::Handle(self.topics.handle(*key)))),
            Op::Pin(key) => self
                .owners
                .push((*key, Owner::Pin(self.topics.handle(*key).pin()))),
            Op::Bare(key) => {
                let bare = SyncRegistry::clone(&self.topics.handle(*key));
                self.owners.push((*key, Owner::Bare(bare)));
            }
            Op::DropOwner(at) => {
                if !self.owners.is_empty() {
                    self.owners.swap_remove(at.index(self.owners.len()));
                }
            }
            Op::Batch(key, adds, removes, clear) => self.batch(*key, adds, removes, *clear),
            Op::Prune => assert_eq!(self.topics.prune(), 0),
        }
    }

    fn register(&mut self, key: u8, priority: i32, does: Does, how: How) {
        let (name, handler) = Handler::new(&self.topics, &self.shared, does);
        // There is no way to register for once at a priority.
        let once = matches!(how, How::Once);
        let priority = if once { 0 } else { priority };
        let closure = move |_: &u32| handler.run();
        let id = match how {
            How::Always => self.topics.register_with_priority(key, priority, closure),
            How::Guarded => {
                let guard = self
                    .topics
                    .register_guard_with_priority(key, priority, closure);
                let id = guard.id();
                self.guards.push((name, Guard::Guard(guard)));
                id
            }
            How::Once => self.topics.register_once(key, closure),
            How::Joinable => {
                let topics = &self.topics;
                let joinable = topics.register_joinable_with_priority(key, priority, closure);
                let id = joinable.id();
                self.guards.push((name, Guard::Joinable(joinable)));
                id
            }
        };
        self.ids.push((key, id, name));
        assert_eq!(self.model.add(key, priority, does, once), name);
    }

    fn notify(&mut self, key: u8, way: Way) {
        let mut owners = self.owners.iter_mut().filter(|(of, _)| *of == key);
        let delivery = match way {
            Way::Key => self.topics.notify(&key, &0),
            Way::Handle => match owners.find_map(|(_, owner)| as_handle(owner)) {
                Some(handle) => handle.notify(&0),
                None => self.topics.handle(key).notify(&0),
            },
            Way::Pin => match owners.find_map(|(_, owner)| as_pin(owner)) {
                Some(pinned) => pinned.notify(&0),
                None => self.topics.handle(key).pin().notify(&0),
            },
        };
        assert_eq!((delivery.called, delivery.panicked), self.model.notify(key));
    }

    fn batch(&mut self, key: u8, adds: &[(i32, Does)], removes: &[Index], clear: bool) {
        let Self {
            topics,
            shared,
            model,
            ids,
            ..
        } = self;
        let removes: Vec<_> = removes
            .iter()
            .filter_map(|at| pick(ids, at).copied())
            .collect();
        topics.update(key, |batch| {
            if clear {
                batch.clear();
                model.remove(|other, _| other == key);
            }
            for (priority, does) in adds {
                let (name, handler) = Handler::new(topics, shared, *does);
                let id = batch.register_with_priority(*priority, move |_| handler.run());
                assert_eq!(model.add(key, *priority, *does, false), name);
                ids.push((key, id, name));
            }
            for (_, id, name) in removes {
                let was_there = model.remove(|other, entry| other == key && entry.name == name);
                assert_eq!(batch.unregister(id), was_there);
            }
        });
    }

    fn check(&mut self) {
        // A pin that idles would keep what was removed.
        for pinned in self
            .owners
            .iter_mut()
            .filter_map(|(_, owner)| as_pin(owner))
        {
            pinned.refresh();
        }
        let Self {
            topics,
            shared,
            model,
            ..
        } = self;
        assert_eq!(shared.next.load(Ordering::Relaxed), model.next);
        assert_eq!(
            std::mem::take(&mut *shared.calls.lock().unwrap()),
            model.calls
        );
        model.calls.clear();
        assert_eq!(topics.panic_count(), model.panics);

        let mut dropped = shared.drops.lock().unwrap().clone();
        dropped.sort_unstable();
        let gone: Vec<Name> = (0..model.next)
            .filter(|name| !model.is_live(*name))
            .collect();
        assert_eq!(dropped, gone);

        let with_handlers = model
            .topics
            .iter()
            .filter(|(_, entries)| !entries.is_empty());
        let mut alive: Vec<u8> = with_handlers.map(|(key, _)| *key).collect();
        alive.extend(self.owners.iter().map(|(key, _)| *key));
        alive.sort_unstable();
        alive.dedup();
        let mut keys = topics.keys();
        keys.sort_unstable();
        assert_eq!(keys, alive);
        for key in keys {
            let count = model.topics.get(&key).map_or(0, Vec::len);
            assert_eq!(
                topics.get(&key).map(|topic| topic.handler_count()),
                Some(count)
            );
        }
    }
}

fn as_handle(owner: &mut Owner) -> Option<&mut TopicHandle<u8, u32>> {
    match owner {
        Owner::Handle(handle) => Some(handle),
        _ => None,
    }
}

fn as_pin(owner: &mut Owner) -> Option<&mut Pinned<u32>> {
    match owner {
        Owner::Pin(pinned) => Some(pinned),
        _ => None,
    }
}

fn pick<'t, T>(of: &'t [T], at: &Index) -> Option<&'t T> {
    (!of.is_empty()).then(|| at.get(of))
}

/// Keeps the panics that are part of the plan out of the output.
fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if !["as it was told", "it panics in its drop"]
                .iter()
                .any(|plan| text.contains(plan))
            {
                told(info);
            }
        }));
    });
}

proptest! {
    #[test]
    fn topics_do_what_a_plain_map_does(ops in vec(op(), 0..80)) {
        keep_quiet();
        let mut world = World::default();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.owners.clear();
        world.check();
        world.guards.clear();
        world.topics.clear();
        world.model.remove(|_, _| true);
        world.check();
        prop_assert!(world.topics.is_empty());
    }
}
