//! Random sequences of everything that one thread can do with topics, against a plain map of sorted
//! vectors: the same calls in the same order, the same counts, the same topics alive, every closure
//! dropped exactly once, when its handler is removed, edges of interest reported in order, each
//! awaited event returned once, and weak registries upgraded to the topics that are alive, and to
//! no others.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use topic_registry::{
    HandlerGuard, HandlerId, Interest, JoinGuard, ObserverGuard, Paused, Pinned, Recorder,
    SyncRegistry, TopicHandle, TopicRegistry, WaitError, WaitFor, WeakSyncRegistry,
};

use crate::plain::{Does, How, Key, Model, Name, Op, Pick, Way};

/// What the closures of the real handlers share.
#[derive(Clone, Default)]
struct Shared {
    next: Arc<AtomicU32>,
    calls: Arc<Mutex<Vec<Name>>>,
    drops: Arc<Mutex<Vec<Name>>>,
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
            Does::NotifiesWhatItPauses(key) => {
                let Some(topic) = self.topics.get(&key) else {
                    return;
                };
                let handlers = topic.handlers();
                let pauses = handlers.iter().map(|info| topic.pause(info.id));
                let pauses: Option<Vec<_>> = pauses.collect();
                assert!(pauses.is_some(), "they are registered");
                assert_eq!(topic.notify(&0).called(), 0, "all of them are paused");
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
                self.topics.shrink_to_fit();
            }
            _ => {}
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
enum Keep {
    Guard(HandlerGuard),
    JoinGuard(JoinGuard),
    WaitFor(WaitFor<Name>),
    Recorder(Recorder<Name>),
}

impl Keep {
    /// Takes what has come, which is so much, and looks whether more may come.
    fn look(&mut self, name: Name, mail: usize, is_live: bool) {
        let nothing = if is_live {
            WaitError::TimedOut
        } else {
            WaitError::Removed
        };
        match self {
            Self::Guard(_) | Self::JoinGuard(_) => {}
            Self::WaitFor(waiting) => {
                let outcomes = [(); 2].map(|()| waiting.wait_timeout(Duration::ZERO));
                let first = if mail == 0 { Err(nothing) } else { Ok(name) };
                assert_eq!(outcomes, [first, Err(nothing)], "{name}");
            }
            Self::Recorder(recorder) => {
                assert_eq!(recorder.len(), mail);
                assert_eq!(recorder.wait_for_count(mail, Duration::ZERO), Ok(()));
                let more = recorder.wait_for_count(mail + 1, Duration::ZERO);
                assert_eq!(more, Err(nothing), "{name}");
                assert_eq!(recorder.take(), vec![name; mail]);
            }
        }
    }
}

/// A weak registry of a topic.
struct Weak {
    key: Key,
    registry: WeakSyncRegistry<u32>,
    has_gone: bool,
}

/// An observer of interest, and its calls for each key.
struct Observer {
    edges: Arc<Mutex<BTreeMap<Key, Vec<Interest>>>>,
    guard: ObserverGuard,
}

impl Observer {
    fn new(topics: &Topics) -> Self {
        let edges = Arc::new(Mutex::new(BTreeMap::<_, Vec<_>>::new()));
        let told = Arc::clone(&edges);
        let guard = topics.observe_interest(move |key, interest| {
            told.lock().unwrap().entry(*key).or_default().push(interest);
        });
        Self { edges, guard }
    }

    /// Checks that the edges of each key alternate, begin with a gain, and end with the current
    /// state.
    fn check(&self, model: &Model) {
        let edges = self.edges.lock().unwrap();
        for key in [Key::A, Key::B, Key::C] {
            let edges = edges.get(&key).map_or(&[][..], Vec::as_slice);
            let expected = [Interest::Gained, Interest::Lost].into_iter().cycle();
            assert!(edges.iter().copied().eq(expected.take(edges.len())));
            let is_empty = model.topics.get(&key).is_none_or(Vec::is_empty);
            assert_eq!(edges.len() % 2 == 0, is_empty, "{key:?}: {edges:?}");
        }
    }

    /// Ends it, and checks that nothing is left of it.
    fn end(self) {
        drop(self.guard);
        assert!(Arc::into_inner(self.edges).is_some(), "it outlived its end");
    }
}

#[derive(Default)]
struct World {
    topics: Topics,
    shared: Shared,
    model: Model,
    ids: Vec<(Key, HandlerId, Name)>,
    guards: Vec<(Name, Keep)>,
    owners: Vec<(Key, Owner)>,
    pauses: Vec<(Name, Paused)>,
    weak: Vec<Weak>,
    observers: Vec<Observer>,
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
            Op::DropGuard(at) => self.drop_guard(*at),
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
            Op::Downgrade(key) => self.downgrade(*key),
            Op::Upgrade(at) => {
                if let Some(Weak { key, registry, .. }) = pick(&self.weak, *at) {
                    let bare = registry.upgrade().map(|bare| (*key, Owner::Bare(bare)));
                    self.owners.extend(bare);
                }
            }
            Op::Pause(at) => self.pause(*at),
            Op::Resume(at) => self.resume(*at),
            Op::Look(at) => self.look(*at),
            Op::Batch(key, adds, removes, clear) => self.batch(*key, adds, removes, *clear),
            Op::Shrink => self.topics.shrink_to_fit(),
            Op::Observe => self.observers.push(Observer::new(&self.topics)),
            Op::EndObserver(at) => {
                if !self.observers.is_empty() {
                    self.observers.swap_remove(index(*at, self.observers.len())).end();
                }
            }
        }
    }

    fn drop_guard(&mut self, at: Pick) {
        if self.guards.is_empty() {
            return;
        }
        let (name, guard) = self.guards.swap_remove(index(at, self.guards.len()));
        match guard {
            Keep::JoinGuard(joinable) => assert_eq!(joinable.join(), Ok(())),
            other => drop(other),
        }
        self.model.remove(|_, entry| entry.name == name);
    }

    fn downgrade(&mut self, key: Key) {
        let registry = self.topics.handle(key).downgrade();
        // Unless somebody else keeps the topic, it has gone with that handle.
        let has_gone = !self.alive().contains(&key);
        self.weak.push(Weak {
            key,
            registry,
            has_gone,
        });
    }

    fn pause(&mut self, at: Pick) {
        let Some(&(key, id, name)) = pick(&self.ids, at) else {
            return;
        };
        let paused = self.topics.get(&key).and_then(|topic| topic.pause(id));
        let entry = self.model.get(name);
        assert_eq!(paused.is_some(), entry.is_some());
        if let Some((entry, paused)) = entry.zip(paused) {
            entry.pauses += 1;
            self.pauses.push((name, paused));
        }
    }

    fn resume(&mut self, at: Pick) {
        if self.pauses.is_empty() {
            return;
        }
        let (name, paused) = self.pauses.swap_remove(index(at, self.pauses.len()));
        drop(paused);
        if let Some(entry) = self.model.get(name) {
            entry.pauses -= 1;
        }
    }

    fn look(&mut self, at: Pick) {
        if self.guards.is_empty() {
            return;
        }
        let at = index(at, self.guards.len());
        let (name, guard) = &mut self.guards[at];
        let mail = self.model.mail.remove(name).unwrap_or(0);
        guard.look(*name, mail, self.model.is_live(*name));
    }

    fn register(&mut self, key: Key, priority: i8, does: Does, how: How) {
        let handler = Handler::new(&self.topics, &self.shared, does);
        let name = handler.name;
        // Those have no options.
        let has_options = !matches!(how, How::WaitFor | How::Recorder);
        let priority = if has_options { priority } else { 0 };
        assert_eq!(self.model.add(key, priority, does, how), name);
        let (topic, is_second) = (self.topics.handle(key), second_time());
        let options = topic.options().priority(priority.into());
        let call = move |_: &u32| handler.run();
        let guard = match how {
            How::Always => Err(options.register(call)),
            How::Once => Err(options.register_once(call)),
            How::Interceptor => Err(options.register_interceptor(move |event| {
                call(event);
                ControlFlow::Break(())
            })),
            How::Until => Err(options.register_until(until(call))),
            How::Guarded => Ok(Keep::Guard(options.guard().register(call))),
            How::GuardedOnce => Ok(Keep::Guard(options.guard().register_once(call))),
            How::JoinGuard => Ok(Keep::JoinGuard(options.joinable().register(call))),
            How::JoinableUntil => Ok(Keep::JoinGuard(
                options.joinable().register_until(until(call)),
            )),
            How::WaitFor => Ok(Keep::WaitFor(topic.wait_for(move |event| {
                call(event);
                is_second().then_some(name)
            }))),
            How::Recorder => Ok(Keep::Recorder(topic.record(move |event| {
                call(event);
                name
            }))),
        };
        let id = match &guard {
            Err(id) => *id,
            Ok(Keep::Guard(guard)) => guard.id(),
            Ok(Keep::JoinGuard(guard)) => guard.id(),
            Ok(Keep::WaitFor(guard)) => guard.id(),
            Ok(Keep::Recorder(guard)) => guard.id(),
        };
        self.ids.push((key, id, name));
        self.guards.extend(guard.ok().map(|guard| (name, guard)));
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

    /// The topics that there must be.
    fn alive(&self) -> Vec<Key> {
        self.model.alive(self.owners.iter().map(|(key, _)| *key).collect())
    }

    /// Who keeps a topic: how many owners, and which handlers.
    fn keepers(&self, key: Key) -> (usize, Vec<Name>) {
        let owners = self.owners.iter().filter(|(of, _)| *of == key);
        (owners.count(), self.model.names(key))
    }

    /// Applies it, and sees that both worlds agree, and that a weak registry refers to its topic as
    /// long as that lives, and then to none.
    fn step(&mut self, op: &Op) {
        let before = [Key::A, Key::B, Key::C].map(|key| (key, self.keepers(key)));
        let known = self.weak.len();
        self.apply(op);
        self.check();
        let was_kept = |key: Key| {
            let (_, (owners, names)) = before.iter().find(|(of, _)| *of == key).expect("of all");
            // It adds or takes one owner away at most.
            let is_owned = *owners != 0 && self.keepers(key).0 != 0;
            is_owned || names.iter().any(|name| self.model.is_live(*name))
        };
        let kept: Vec<_> = self.weak.iter().map(|weak| was_kept(weak.key)).collect();
        let alive = self.alive();
        for (at, weak) in self.weak.iter_mut().enumerate() {
            let Some(registry) = weak.registry.upgrade() else {
                assert!(at >= known || weak.has_gone || !kept[at], "it was kept");
                weak.has_gone = true;
                continue;
            };
            assert!(!weak.has_gone, "it came back");
            assert!(alive.contains(&weak.key), "nobody keeps it");
            let guard = registry.register_guard(|_| {});
            let topic = self.topics.get(&weak.key).expect("it is alive");
            assert!(topic.contains(guard.id()), "it is not the topic of its key");
        }
    }

    fn check(&mut self) {
        // A pin that idles would keep what was removed.
        for pinned in self.owners.iter_mut().filter_map(|(_, owner)| as_pin(owner)) {
            pinned.refresh();
        }
        let alive = self.alive();
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

        let mut keys = topics.keys();
        keys.sort_unstable();
        assert_eq!(keys, alive);
        for key in keys {
            let topic = topics.get(&key).expect("it is listed");
            let handlers = topic.handlers();
            let listed = handlers.iter().map(|info| (info.priority, info.paused));
            let entries = model.topics.get(&key).into_iter().flatten();
            let expected = entries.map(|entry| (entry.priority.into(), entry.pauses != 0));
            assert!(listed.eq(expected), "{key:?}: {handlers:?}");
            assert_eq!(topic.handler_count(), handlers.len());
        }
        self.observers.iter().for_each(|observer| observer.check(model));
    }
}

/// A handler that ends itself by the second call that returns.
fn until(call: impl Fn(&u32)) -> impl Fn(&u32) -> ControlFlow<()> {
    let is_second = second_time();
    move |event| {
        call(event);
        if is_second() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

fn second_time() -> impl Fn() -> bool {
    let times = AtomicU32::new(0);
    move || times.fetch_add(1, Ordering::Relaxed) == 1
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
    world.observers.push(Observer::new(&world.topics));
    for op in ops {
        world.step(op);
    }
    world.pauses.clear();
    world.model.topics.values_mut().flatten().for_each(|entry| entry.pauses = 0);
    world.owners.clear();
    world.check();
    world.guards.clear();
    world.topics.clear();
    world.model.remove(|_, _| true);
    world.check();
    world.observers.drain(..).for_each(Observer::end);
    assert!(world.topics.is_empty());
    let weak = world.topics.downgrade();
    assert!(weak.upgrade().is_some_and(|topics| topics.is_empty()));
    drop(world);
    assert!(weak.upgrade().is_none(), "something owns the topics");
}
