//! Random sequences for several threads on a few keys, which they share. What each of them does to
//! its own handlers it knows for certain, whatever the others do: which of them its notifications
//! call, and in which order; what it can count and find; what it waits for; and when their closures
//! are dropped. And whatever others do, a weak registry gives out the one topic of its key, or
//! none.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use topic_registry::{
    Batch, HandlerGuard, HandlerId, Interest, JoinGuard, ObserverGuard, Paused, Recorder,
    SyncFlavor, TopicHandle, TopicRegistry, WaitError, WaitFor, WeakSyncRegistry,
};

use crate::plain::{Key, Pick, Way};
use crate::world::pick;

type Topics = TopicRegistry<Key, usize>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Always,
    Guarded,
    JoinGuard,
    /// Its destructor registers and removes another one of the same key.
    ReentersInItsDrop,
    /// It ends itself, by an event of its thread's.
    Until,
    /// It waits for an event of its thread's.
    WaitFor,
    /// It records the events of all threads.
    Recorder,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Register(Key, i8, How),
    Remove(Pick),
    Batch(Key, Vec<i8>, Vec<Pick>),
    Handle(Key),
    DropHandle(Pick),
    Downgrade(Key),
    Upgrade(Pick),
    Pause(Pick),
    Resume(Pick),
    /// Sees that everything can be asked for that is known for certain of this key.
    Look(Key),
    Notify(Key, Way),
    /// Sets an observer of interest, instead of its oldest one if it has some.
    Observe,
    EndObserver(Pick),
}

/// What threads do side by side, each of them its own steps; all of them have returned before the
/// next phase begins. If no step notifies, then a removed closure goes with its removal; else
/// at the end of the phase at the latest.
pub(crate) type Phase = Vec<Vec<Step>>;

/// How often a thread does its steps in a phase, so that they meet those of others.
const ROUNDS: usize = 32;
/// How many observers a thread has at most.
const OBSERVERS: usize = 3;

/// A handler, to the thread that registered it.
struct Own {
    key: Key,
    priority: i8,
    id: HandlerId,
    keep: Keep,
    dropped_by: Arc<OnceLock<ThreadId>>,
    pauses: Vec<Paused>,
    is_until: bool,
}

enum Keep {
    Id,
    Guard(HandlerGuard),
    JoinGuard(JoinGuard),
    WaitFor(WaitFor<usize>),
    Recorder(Recorder<usize>),
}

/// A weak registry, and a handler of the same thread's that keeps the topic.
struct Weak {
    key: Key,
    registry: WeakSyncRegistry<usize>,
    keeper: Option<HandlerId>,
    has_gone: bool,
}

/// What a closure owns.
struct Closure {
    topics: Topics,
    key: Key,
    reenters: bool,
    dropped_by: Arc<OnceLock<ThreadId>>,
}

impl Drop for Closure {
    fn drop(&mut self) {
        if self.reenters {
            drop(self.topics.register_guard(self.key, |_| {}));
        }
        let twice = self.dropped_by.set(thread::current().id()).is_err();
        assert!(!twice, "dropped twice");
    }
}

/// One thread of them, and all that it knows for certain.
struct Actor {
    /// Its number, and the event that its handlers note.
    number: usize,
    topics: Topics,
    calls: Arc<Mutex<Vec<HandlerId>>>,
    /// Those that are registered, in the order of registration.
    own: Vec<Own>,
    /// Those that were removed.
    removed: Vec<Own>,
    handles: Vec<TopicHandle<Key, usize>>,
    observers: Vec<Observer>,
    weak: Vec<Weak>,
}

/// An observer of interest: what it heard last of each key.
struct Observer {
    last: Arc<Mutex<BTreeMap<Key, Interest>>>,
    _guard: ObserverGuard,
}

impl Observer {
    fn new(topics: &Topics) -> Self {
        let last = Arc::new(Mutex::new(BTreeMap::new()));
        let told = Arc::clone(&last);
        let guard = topics.observe_interest(move |key, interest| {
            let before = told.lock().unwrap().insert(*key, interest);
            assert_ne!(
                before.unwrap_or(Interest::Lost),
                interest,
                "edges alternate"
            );
        });
        Self {
            last,
            _guard: guard,
        }
    }

    /// Sees that it knows which keys have handlers.
    fn check(&self, has_handlers: impl Fn(Key) -> bool) {
        let last = self.last.lock().unwrap();
        for key in [Key::A, Key::B, Key::C] {
            let is_gained = last.get(&key) == Some(&Interest::Gained);
            assert_eq!(is_gained, has_handlers(key), "{key:?}");
        }
    }
}

impl Actor {
    fn new(number: usize, topics: &Topics) -> Self {
        Self {
            number,
            topics: topics.clone(),
            calls: Arc::default(),
            own: Vec::new(),
            removed: Vec::new(),
            handles: Vec::new(),
            weak: Vec::new(),
            observers: Vec::new(),
        }
    }

    /// Its handlers of a key, in the order in which they run, and whether they are paused.
    fn own_of(&self, key: Key) -> Vec<(HandlerId, bool)> {
        let mut own: Vec<_> = self.own.iter().filter(|own| own.key == key).collect();
        own.sort_by_key(|own| Reverse(own.priority));
        own.iter().map(|own| (own.id, !own.pauses.is_empty())).collect()
    }

    fn step(&mut self, step: &Step, is_quiet: bool) {
        match step {
            Step::Register(key, priority, how) => self.register(*key, *priority, *how),
            Step::Remove(at) => {
                if let Some(at) = index(&self.own, *at) {
                    let own = self.own.remove(at);
                    self.remove(own, is_quiet);
                }
            }
            Step::Batch(key, adds, removes) => self.batch(*key, adds, removes, is_quiet),
            Step::Handle(key) => self.handles.push(self.topics.handle(*key)),
            Step::DropHandle(at) => {
                if let Some(at) = index(&self.handles, *at) {
                    drop(self.handles.swap_remove(at));
                }
            }
            Step::Downgrade(key) => self.downgrade(*key),
            Step::Upgrade(at) => self.upgrade(*at),
            Step::Pause(at) => {
                if let Some(at) = index(&self.own, *at) {
                    let own = &mut self.own[at];
                    let topic = self.topics.get(&own.key).expect("it has a handler");
                    own.pauses.push(topic.pause(own.id).expect("it is registered"));
                }
            }
            Step::Resume(at) => {
                if let Some(at) = index(&self.own, *at) {
                    drop(self.own[at].pauses.pop());
                }
            }
            Step::Look(key) => self.look(*key),
            Step::Notify(key, way) => self.notify(*key, *way),
            Step::Observe => {
                if self.observers.len() == OBSERVERS {
                    self.observers.remove(0);
                }
                self.observers.push(Observer::new(&self.topics));
            }
            Step::EndObserver(at) => {
                if !self.observers.is_empty() {
                    let at = usize::from(*at) % self.observers.len();
                    drop(self.observers.swap_remove(at));
                }
            }
        }
    }

    /// A closure that notes the calls for this thread's events by the id that it is given.
    fn closure(&self, key: Key, how: How) -> (Noting, Arc<OnceLock<ThreadId>>, Slot) {
        let (dropped_by, slot) = (Arc::new(OnceLock::new()), Slot::default());
        let owned = Closure {
            topics: self.topics.clone(),
            key,
            reenters: matches!(how, How::ReentersInItsDrop),
            dropped_by: Arc::clone(&dropped_by),
        };
        let (number, calls, id) = (self.number, Arc::clone(&self.calls), Arc::clone(&slot));
        let noting = move |event: &usize| {
            let _ = &owned;
            if *event == number {
                let id = *id.get().expect("it notifies when it has registered");
                calls.lock().unwrap().push(id);
            }
        };
        (Box::new(noting), dropped_by, slot)
    }

    fn register(&mut self, key: Key, priority: i8, how: How) {
        let (noting, dropped_by, slot) = self.closure(key, how);
        let (topic, this) = (self.topics.handle(key), self.number);
        // Those have no options.
        let has_options = !matches!(how, How::WaitFor | How::Recorder);
        let priority = if has_options { priority } else { 0 };
        let options = topic.options().priority(priority.into());
        let (id, keep) = match how {
            How::Always | How::ReentersInItsDrop => (options.register(noting), Keep::Id),
            How::Until => {
                let until = move |event: &usize| {
                    noting(event);
                    if *event == this {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                };
                (options.register_until(until), Keep::Id)
            }
            How::Guarded => {
                let guard = options.guard().register(noting);
                (guard.id(), Keep::Guard(guard))
            }
            How::JoinGuard => {
                let joinable = options.joinable().register(noting);
                (joinable.id(), Keep::JoinGuard(joinable))
            }
            How::WaitFor => {
                let waiting = topic.wait_for(move |event| {
                    noting(event);
                    (*event == this).then_some(this)
                });
                (waiting.id(), Keep::WaitFor(waiting))
            }
            How::Recorder => {
                let recorder = topic.record(move |event| {
                    noting(event);
                    *event
                });
                (recorder.id(), Keep::Recorder(recorder))
            }
        };
        slot.set(id).expect("it has one id");
        self.own.push(Own {
            key,
            priority,
            id,
            keep,
            dropped_by,
            pauses: Vec::new(),
            is_until: matches!(how, How::Until),
        });
    }

    fn remove(&mut self, mut own: Own, is_quiet: bool) {
        match std::mem::replace(&mut own.keep, Keep::Id) {
            Keep::Id => assert!(
                self.topics.unregister(&own.key, own.id),
                "it was registered"
            ),
            Keep::Guard(guard) => drop(guard),
            Keep::JoinGuard(joinable) => {
                assert_eq!(joinable.join(), Ok(()));
                assert!(own.dropped_by.get().is_some(), "join waits for that");
            }
            Keep::WaitFor(mut waiting) => {
                let outcome = waiting.wait_timeout(Duration::ZERO);
                assert_eq!(outcome, Err(WaitError::TimedOut), "no own event came");
                assert!(self.topics.unregister(&own.key, own.id));
                let outcome = waiting.wait();
                assert_eq!(outcome, Err(WaitError::Removed));
            }
            Keep::Recorder(recorder) => drop(recorder),
        }
        self.note_removed(own, is_quiet);
    }

    fn note_removed(&mut self, own: Own, is_quiet: bool) {
        if is_quiet {
            let this = thread::current().id();
            assert_eq!(
                own.dropped_by.get(),
                Some(&this),
                "a closure outlived its removal"
            );
        }
        assert!(!self.topics.unregister(&own.key, own.id), "it was removed");
        self.removed.push(own);
    }

    fn batch(&mut self, key: Key, adds: &[i8], removes: &[Pick], is_quiet: bool) {
        let mut goes: Vec<_> = removes.iter().filter_map(|at| pick(&self.own, *at)).collect();
        goes.retain(|own| own.key == key && matches!(own.keep, Keep::Id));
        let goes: Vec<_> = goes.iter().map(|own| own.id).collect();
        let closures: Vec<_> = adds.iter().map(|_| self.closure(key, How::Always)).collect();
        let own = self.topics.update(key, |batch: &mut Batch<'_, SyncFlavor, usize>| {
            for (at, id) in goes.iter().enumerate() {
                assert_eq!(batch.unregister(*id), !goes[..at].contains(id));
            }
            let adds = adds.iter().zip(closures);
            let add = |(priority, (noting, dropped_by, slot)): (&i8, (Noting, _, Slot))| {
                let id = batch.options().priority((*priority).into()).register(noting);
                slot.set(id).expect("it has one id");
                Own {
                    key,
                    priority: *priority,
                    id,
                    keep: Keep::Id,
                    dropped_by,
                    pauses: Vec::new(),
                    is_until: false,
                }
            };
            adds.map(add).collect::<Vec<_>>()
        });
        let (gone, left) = std::mem::take(&mut self.own)
            .into_iter()
            .partition::<Vec<_>, _>(|own| goes.contains(&own.id));
        self.own = left;
        self.own.extend(own);
        for own in gone {
            self.note_removed(own, is_quiet);
        }
    }

    fn look(&self, key: Key) {
        let own = self.own_of(key);
        let topic = self.topics.get(&key);
        let listed = topic.as_ref().map_or(Vec::new(), |topic| topic.handlers());
        let listed = listed.iter().map(|info| (info.id, info.paused));
        let is_own = |(id, _): &(HandlerId, bool)| own.iter().any(|(own, _)| own == id);
        let listed: Vec<_> = listed.filter(is_own).collect();
        assert_eq!(listed, own, "its own are listed in their order");
        let count = topic.as_ref().map_or(0, |topic| topic.handler_count());
        assert!(
            count >= own.len(),
            "{count} are counted, {} are its own",
            own.len()
        );
        let contains = |id| topic.as_ref().is_some_and(|topic| topic.contains(id));
        assert!(own.iter().all(|(id, _)| contains(*id)));
        assert!(!self.removed.iter().any(|own| contains(own.id)));
        let topics = self.topics.topics();
        let listed = topics.iter().find(|topic| topic.key == key);
        let count = listed.map_or(0, |topic| topic.handlers);
        assert!(
            count >= own.len(),
            "{count} are listed, {} are its own",
            own.len()
        );
    }

    fn notify(&mut self, key: Key, way: Way) {
        let delivery = match way {
            Way::Key => self.topics.notify(&key, &self.number),
            Way::Handle => self.topics.handle(key).notify(&self.number),
            Way::Pin => self.topics.handle(key).pin().notify(&self.number),
        };
        let own = self.own_of(key).into_iter();
        let own: Vec<_> = own.filter(|(_, paused)| !paused).map(|(id, _)| id).collect();
        let called = std::mem::take(&mut *self.calls.lock().unwrap());
        assert_eq!(
            called, own,
            "its own are called in their order, and no others"
        );
        assert!(delivery.called() >= own.len() && delivery.panicked() == 0);
        for id in called {
            self.was_called(id);
        }
    }

    /// A handler has had an event of this thread's.
    fn was_called(&mut self, id: HandlerId) {
        let at = self.own.iter().position(|own| own.id == id).expect("it is its own");
        let number = self.number;
        let ends = match &mut self.own[at].keep {
            Keep::WaitFor(waiting) => {
                let outcomes = [(); 2].map(|()| waiting.wait_timeout(Duration::ZERO));
                assert_eq!(outcomes, [Ok(number), Err(WaitError::Removed)]);
                true
            }
            Keep::Recorder(recorder) => {
                let events = recorder.take();
                let own = events.iter().filter(|event| **event == number);
                assert_eq!(own.count(), 1, "{events:?}");
                false
            }
            _ => self.own[at].is_until,
        };
        if ends {
            let mut own = self.own.remove(at);
            own.keep = Keep::Id;
            self.note_removed(own, false);
        }
    }

    fn downgrade(&mut self, key: Key) {
        self.weak.push(Weak {
            key,
            registry: self.topics.handle(key).downgrade(),
            keeper: self.own_of(key).first().map(|(id, _)| *id),
            has_gone: false,
        });
    }

    fn upgrade(&mut self, at: Pick) {
        let Some(at) = index(&self.weak, at) else {
            return;
        };
        let weak = &mut self.weak[at];
        let Some(registry) = weak.registry.upgrade() else {
            let is_kept = self.own.iter().any(|own| Some(own.id) == weak.keeper);
            assert!(!is_kept, "it has a handler");
            weak.has_gone = true;
            return;
        };
        assert!(!weak.has_gone, "it came back");
        let guard = registry.register_guard(|_| {});
        let topic = self.topics.get(&weak.key).expect("it has an owner");
        assert!(topic.contains(guard.id()), "it is not the topic of its key");
    }

    /// What holds when nothing is under way any more.
    fn check(&self) {
        let is_dropped = |own: &Own| own.dropped_by.get().is_some();
        assert!(self.removed.iter().all(is_dropped), "a closure is left");
        assert!(!self.own.iter().any(is_dropped), "a closure is gone");
    }
}

fn index<T>(of: &[T], at: Pick) -> Option<usize> {
    (!of.is_empty()).then(|| usize::from(at) % of.len())
}

type Noting = Box<dyn Fn(&usize) + Send + Sync>;
type Slot = Arc<OnceLock<HandlerId>>;

/// Has each actor do its steps, on a thread of its own.
fn run_phase(actors: &mut [Actor], phase: &Phase) {
    let is_quiet = !phase.iter().flatten().any(|step| matches!(step, Step::Notify(..)));
    let start = Barrier::new(actors.len());
    let run = |actor: &mut Actor, steps: &[Step]| {
        start.wait();
        for step in steps.iter().cycle().take(ROUNDS * steps.len()) {
            actor.step(step, is_quiet);
        }
    };
    thread::scope(|scope| {
        let pairs = actors.iter_mut().zip(phase);
        let threads: Vec<_> =
            pairs.map(|(actor, steps)| scope.spawn(|| run(actor, steps))).collect();
        for outcome in threads.into_iter().map(thread::ScopedJoinHandle::join) {
            outcome.unwrap_or_else(|payload| panic::resume_unwind(payload));
        }
    });
}

/// Runs the phases one after the other; at the end nothing is left.
fn run_all(phases: &[Phase]) {
    let topics = Topics::new();
    let observer = Observer::new(&topics);
    let threads = phases.iter().map(Vec::len).max().unwrap_or(0);
    let mut actors: Vec<_> = (0..threads).map(|number| Actor::new(number, &topics)).collect();
    for phase in phases {
        run_phase(&mut actors[..phase.len()], phase);
        actors.iter().for_each(Actor::check);
        let handlers = |key| actors.iter().map(|actor| actor.own_of(key).len()).sum::<usize>();
        for key in [Key::A, Key::B, Key::C] {
            let count = topics.get(&key).map_or(0, |topic| topic.handler_count());
            assert_eq!(count, handlers(key), "{key:?}");
        }
        let observers = actors.iter().flat_map(|actor| &actor.observers);
        for observer in observers.chain([&observer]) {
            observer.check(|key| handlers(key) != 0);
        }
    }
    for actor in &mut actors {
        for own in std::mem::take(&mut actor.own) {
            actor.remove(own, true);
        }
        actor.handles.clear();
        actor.check();
    }
    for observer in actors.iter().flat_map(|actor| &actor.observers) {
        observer.check(|_| false);
    }
    assert!(topics.is_empty(), "a topic is left");
    assert_eq!(
        topics.panic_count(),
        0,
        "dropped twice, or edges that do not alternate"
    );
}

/// Runs them, within a time.
pub(crate) fn run(phases: &[Phase]) {
    let (sender, receiver) = mpsc::channel();
    let same = phases.to_vec();
    thread::spawn(move || {
        // The receiver is gone if the time was up.
        let _ = sender.send(panic::catch_unwind(AssertUnwindSafe(|| run_all(&same))));
    });
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(())) => {}
        Ok(Err(payload)) => panic::resume_unwind(payload),
        Err(RecvTimeoutError::Timeout) => panic!("hung: {phases:?}"),
        Err(RecvTimeoutError::Disconnected) => unreachable!("it catches what it throws"),
    }
}
