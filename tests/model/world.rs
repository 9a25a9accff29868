//! Random sequences of everything that one thread can do with topics, against a plain map of
//! sorted vectors: the same calls in the same order, the same counts, the same topics alive,
//! every closure dropped exactly once, when its handler goes, and who listens told in order.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};

use topic_registry::{
    HandlerGuard, HandlerId, Interest, JoinGuard, Pinned, SyncRegistry, TopicHandle, TopicRegistry,
};

/// A few, so that what happens meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Key {
    A,
    B,
    C,
}

/// What a handler does when it is called, or when its closure is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Does {
    Nothing,
    Panics,
    PanicsInItsDrop,
    /// It leaves nothing behind: when a closure is dropped beside a pin or a dispatch, is not
    /// for the model to say.
    RegistersAndRemovesInItsDrop(Key),
    Registers(Key, i8),
    Removes(Key),
    Clears,
    /// It owns one until it is called.
    DropsItsHandle(Key),
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum How {
    Always,
    Guarded,
    Once,
    JoinGuard,
    /// It stops the dispatch.
    Interceptor,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Way {
    Key,
    Handle,
    Pin,
}

/// Which one of those there are: a number of any size.
pub(crate) type Pick = u8;

#[derive(Clone, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Op {
    Register(Key, i8, Does, How),
    Unregister(Pick),
    DropGuard(Pick),
    Notify(Key, Way),
    Remove(Key),
    Clear,
    Handle(Key),
    Pin(Key),
    Bare(Key),
    DropOwner(Pick),
    Batch(Key, Vec<(i8, Does)>, Vec<Pick>, bool),
    Prune,
}

/// A handler's number: handlers get theirs in the order of registration, in both worlds.
type Name = u32;

#[derive(Clone, Debug)]
struct Entry {
    name: Name,
    priority: i8,
    does: Does,
    how: How,
    /// Of which topic it owns a handle.
    owns: Option<Key>,
}

/// What ought to be.
#[derive(Default)]
struct Model {
    topics: BTreeMap<Key, Vec<Entry>>,
    next: Name,
    calls: Vec<Name>,
    panics: u64,
}

impl Model {
    fn add(&mut self, key: Key, priority: i8, does: Does, how: How) -> Name {
        let name = self.next;
        self.next += 1;
        let entries = self.topics.entry(key).or_default();
        entries.push(Entry {
            name,
            priority,
            does,
            how,
            owns: does.owns(),
        });
        entries.sort_by_key(|entry| (Reverse(entry.priority), entry.name));
        name
    }

    /// Removes those, whose closures go with them; whether there were any.
    fn remove(&mut self, goes: impl Fn(Key, &Entry) -> bool) -> bool {
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

    /// The topics that there must be, if there are handles of these.
    fn alive(&self, mut keys: Vec<Key>) -> Vec<Key> {
        for (key, entries) in &self.topics {
            keys.extend((!entries.is_empty()).then_some(*key));
            keys.extend(entries.iter().filter_map(|entry| entry.owns));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn is_live(&self, name: Name) -> bool {
        self.topics.values().flatten().any(|entry| entry.name == name)
    }

    /// How many were called, how many panicked, and whether one stopped it.
    fn notify(&mut self, key: Key) -> (usize, usize, bool) {
        let (mut called, mut panicked, mut stopped) = (0, 0_u64, false);
        for entry in self.topics.get(&key).cloned().unwrap_or_default() {
            if !self.is_live(entry.name) {
                continue;
            }
            if entry.how == How::Once {
                self.remove(|_, other| other.name == entry.name);
                // What its destructor throws is thrown inside of the call, and not beside it.
                let in_the_call = u64::from(entry.does == Does::PanicsInItsDrop);
                (self.panics, panicked) = (self.panics - in_the_call, panicked + in_the_call);
            }
            called += 1;
            self.calls.push(entry.name);
            match entry.does {
                Does::Nothing | Does::PanicsInItsDrop | Does::RegistersAndRemovesInItsDrop(_) => {}
                Does::Panics => panicked += 1,
                Does::DropsItsHandle(_) => {
                    let entries = self.topics.values_mut().flatten();
                    let this = entries.filter(|other| other.name == entry.name);
                    this.for_each(|entry| entry.owns = None);
                }
                Does::Registers(key, priority) => {
                    self.add(key, priority, Does::Nothing, How::Always);
                }
                Does::Removes(key) => {
                    self.remove(|other, _| other == key);
                }
                Does::Clears => {
                    self.remove(|_, _| true);
                }
            }
            if entry.how == How::Interceptor {
                stopped = true;
                break;
            }
        }
        self.panics += panicked;
        (
            called,
            usize::try_from(panicked).expect("not more than there are handlers"),
            stopped,
        )
    }
}

/// What the closures of the real handlers share.
#[derive(Clone, Default)]
struct Shared {
    next: Arc<AtomicU32>,
    calls: Arc<Mutex<Vec<Name>>>,
    drops: Arc<Mutex<Vec<Name>>>,
    edges: Arc<Mutex<BTreeMap<Key, Vec<Interest>>>>,
}

type Topics = TopicRegistry<Key, u32>;

/// What the closure of a handler owns.
struct Handler {
    topics: Topics,
    shared: Shared,
    name: Name,
    does: Does,
    handle: Mutex<Option<TopicHandle<Key, u32>>>,
}

impl Handler {
    fn new(topics: &Topics, shared: &Shared, does: Does) -> Self {
        Self {
            topics: topics.clone(),
            shared: shared.clone(),
            name: shared.next.fetch_add(1, Ordering::Relaxed),
            does,
            handle: Mutex::new(does.owns().map(|key| topics.handle(key))),
        }
    }

    fn run(&self) {
        self.shared.calls.lock().unwrap().push(self.name);
        match self.does {
            Does::Nothing | Does::PanicsInItsDrop | Does::RegistersAndRemovesInItsDrop(_) => {}
            Does::Panics => panic!("as it was told"),
            Does::Registers(key, priority) => {
                let handler = Self::new(&self.topics, &self.shared, Does::Nothing);
                self.topics.register_with_priority(key, priority.into(), move |_| handler.run());
            }
            Does::Removes(key) => {
                self.topics.remove(&key);
            }
            Does::Clears => self.topics.clear(),
            Does::DropsItsHandle(_) => {
                let handle = self.handle.lock().unwrap().take();
                drop(handle);
            }
        }
    }
}

/// Notes that its closure was dropped.
impl Drop for Handler {
    fn drop(&mut self) {
        self.shared.drops.lock().unwrap().push(self.name);
        match self.does {
            Does::PanicsInItsDrop => panic!("it panics in its drop"),
            Does::RegistersAndRemovesInItsDrop(key) => {
                let guard = self.topics.register_guard(key, |_| unreachable!("removed before"));
                assert!(self.topics.unregister(&key, guard.id()));
                self.topics.prune();
            }
            _ => {}
        }
    }
}

impl Does {
    /// Of which topic a handler owns a handle that does this.
    fn owns(self) -> Option<Key> {
        match self {
            Self::DropsItsHandle(key) => Some(key),
            _ => None,
        }
    }
}

/// Who keeps a topic without a handler.
enum Owner {
    Handle(TopicHandle<Key, u32>),
    Pin(Pinned<u32>),
    Bare(#[expect(dead_code, reason = "it is kept, and dropped")] SyncRegistry<u32>),
}

/// Who removes its handler when it is dropped.
enum Guard {
    Guard(#[expect(dead_code, reason = "it is kept, and dropped")] HandlerGuard),
    JoinGuard(JoinGuard),
}

#[derive(Default)]
struct World {
    topics: Topics,
    shared: Shared,
    model: Model,
    ids: Vec<(Key, HandlerId, Name)>,
    guards: Vec<(Name, Guard)>,
    owners: Vec<(Key, Owner)>,
}

impl World {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Register(key, priority, does, how) => self.register(*key, *priority, *does, *how),
            Op::Unregister(at) => {
                let Some(&(key, id, name)) = pick(&self.ids, *at) else {
                    return;
                };
                let removed = self.topics.unregister(&key, id);
                assert_eq!(removed, self.model.remove(|_, entry| entry.name == name));
            }
            Op::DropGuard(at) => {
                if self.guards.is_empty() {
                    return;
                }
                let (name, guard) = self.guards.swap_remove(index(*at, self.guards.len()));
                if let Guard::JoinGuard(joinable) = guard {
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
            Op::Handle(key) => self.owners.push((*key, Owner::Handle(self.topics.handle(*key)))),
            Op::Pin(key) => self.owners.push((*key, Owner::Pin(self.topics.handle(*key).pin()))),
            Op::Bare(key) => {
                let bare = SyncRegistry::clone(&self.topics.handle(*key));
                self.owners.push((*key, Owner::Bare(bare)));
            }
            Op::DropOwner(at) => {
                if !self.owners.is_empty() {
                    self.owners.swap_remove(index(*at, self.owners.len()));
                }
            }
            Op::Batch(key, adds, removes, clear) => self.batch(*key, adds, removes, *clear),
            Op::Prune => assert_eq!(self.topics.prune(), 0),
        }
    }

    fn register(&mut self, key: Key, priority: i8, does: Does, how: How) {
        let handler = Handler::new(&self.topics, &self.shared, does);
        let name = handler.name;
        // There is no way to register for once at a priority.
        let priority = if how == How::Once { 0 } else { priority };
        assert_eq!(self.model.add(key, priority, does, how), name);
        let priority = i32::from(priority);
        let closure = move |_: &u32| handler.run();
        let id = match how {
            How::Always => self.topics.register_with_priority(key, priority, closure),
            How::Guarded => {
                let guard =
                    self.topics.handle(key).options().priority(priority).guard().register(closure);
                let id = guard.id();
                self.guards.push((name, Guard::Guard(guard)));
                id
            }
            How::Once => self.topics.register_once(key, closure),
            How::Interceptor => {
                self.topics.handle(key).options().priority(priority).register_interceptor(
                    move |event| {
                        closure(event);
                        ControlFlow::Break(())
                    },
                )
            }
            How::JoinGuard => {
                let topics = &self.topics;
                let joinable =
                    topics.handle(key).options().priority(priority).joinable().register(closure);
                let id = joinable.id();
                self.guards.push((name, Guard::JoinGuard(joinable)));
                id
            }
        };
        self.ids.push((key, id, name));
    }

    fn notify(&mut self, key: Key, way: Way) {
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
        let delivered = (delivery.called(), delivery.panicked(), delivery.stopped());
        assert_eq!(delivered, self.model.notify(key));
    }

    fn batch(&mut self, key: Key, adds: &[(i8, Does)], removes: &[Pick], clear: bool) {
        let Self {
            topics,
            shared,
            model,
            ids,
            ..
        } = self;
        let removes: Vec<_> = removes.iter().filter_map(|at| pick(ids, *at).copied()).collect();
        topics.update(key, |batch| {
            if clear {
                batch.clear();
                model.remove(|other, _| other == key);
            }
            for (priority, does) in adds {
                let handler = Handler::new(topics, shared, *does);
                let name = handler.name;
                let id =
                    batch.options().priority((*priority).into()).register(move |_| handler.run());
                assert_eq!(model.add(key, *priority, *does, How::Always), name);
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
        for pinned in self.owners.iter_mut().filter_map(|(_, owner)| as_pin(owner)) {
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
        let gone: Vec<Name> = (0..model.next).filter(|name| !model.is_live(*name)).collect();
        assert_eq!(dropped, gone);

        let alive = model.alive(self.owners.iter().map(|(key, _)| *key).collect());
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
        for (key, edges) in &*shared.edges.lock().unwrap() {
            let expected = [Interest::Gained, Interest::Lost].into_iter().cycle();
            assert!(edges.iter().copied().eq(expected.take(edges.len())));
            let is_empty = model.topics.get(key).is_none_or(Vec::is_empty);
            assert_eq!(edges.len() % 2 == 0, is_empty, "{key:?}: {edges:?}");
        }
    }
}

fn as_handle(owner: &mut Owner) -> Option<&mut TopicHandle<Key, u32>> {
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

fn index(at: Pick, len: usize) -> usize {
    usize::from(at) % len
}

pub(crate) fn pick<T>(of: &[T], at: Pick) -> Option<&T> {
    (!of.is_empty()).then(|| &of[index(at, of.len())])
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

/// Does all of it in both worlds, and sees that they agree after each.
pub(crate) fn run(ops: &[Op]) {
    keep_quiet();
    let mut world = World::default();
    let told = Arc::clone(&world.shared.edges);
    world.topics.on_interest(move |key, interest| {
        told.lock().unwrap().entry(*key).or_default().push(interest);
    });
    for op in ops {
        world.apply(op);
        world.check();
    }
    world.owners.clear();
    world.check();
    world.guards.clear();
    world.topics.clear();
    world.model.remove(|_, _| true);
    world.check();
    assert!(world.topics.is_empty());
}
