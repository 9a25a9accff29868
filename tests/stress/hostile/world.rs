//! The topics of a run, the threads that act on them, and whether it all adds up in the end.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use topic_registry::TopicRegistry;

use super::acts::ACTS;
use super::dice::{below, once_in};
use super::key::Key;
use super::ledger::{Count, Ledger};
use super::owned::Owned;
use super::shelf::Left;

pub(super) type Topics = TopicRegistry<Key, usize>;

pub(super) const THREADS: usize = 4;

/// Topics that all threads use.
pub(super) const SHARED: usize = 6;

/// What may be hostile besides handlers, which panic at times in any case.
#[expect(clippy::struct_excessive_bools, reason = "any of them may be combined")]
pub(super) struct Hostile {
    pub(super) destructors: bool,
    pub(super) payloads: bool,
    pub(super) callbacks: bool,
    pub(super) keys: bool,
    pub(super) values: bool,
    pub(super) wakers: bool,
    /// Threads that drop what belongs to topics that end.
    pub(super) strangers: bool,
}

impl Hostile {
    pub(super) const NOTHING: Self = Self {
        destructors: false,
        payloads: false,
        callbacks: false,
        keys: false,
        values: false,
        wakers: false,
        strangers: false,
    };

    pub(super) const EVERYTHING: Self = Self {
        destructors: true,
        payloads: true,
        callbacks: true,
        keys: true,
        values: true,
        wakers: true,
        strangers: true,
    };
}

pub(super) struct World {
    pub(super) hostile: Hostile,
    pub(super) ledger: Arc<Ledger>,
    /// With calls that are timed, and without.
    topics: [Topics; 2],
    #[cfg(feature = "async")]
    pub(super) async_topics: topic_registry::AsyncTopicRegistry<Key, usize>,
    pub(super) shelf: Mutex<Vec<Left>>,
    /// Keys that one thread uses, once, begin here.
    own_keys: AtomicUsize,
    is_over: AtomicBool,
    doing: [Mutex<Vec<&'static str>>; THREADS],
}

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(0) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

impl World {
    pub(super) fn new(hostile: Hostile) -> Arc<Self> {
        let ledger = Arc::new(Ledger::new(hostile.payloads));
        Arc::new_cyclic(|world: &Weak<Self>| {
            let world = Weak::clone(world);
            let on_slow = move |_: &Key, _: &_, _| {
                if let Some(world) = world.upgrade() {
                    world.be_called_back();
                }
            };
            let timed = TopicRegistry::builder().on_slow(Duration::ZERO, on_slow).build();
            Self {
                hostile,
                ledger,
                topics: [timed, Topics::new()],
                #[cfg(feature = "async")]
                async_topics: topic_registry::AsyncTopicRegistry::new(),
                shelf: Mutex::default(),
                own_keys: AtomicUsize::new(SHARED),
                is_over: AtomicBool::new(false),
                doing: Default::default(),
            }
        })
    }

    /// Acts on this thread as long as `goes_on`.
    pub(super) fn work(self: &Arc<Self>, thread: usize, goes_on: impl Fn() -> bool) {
        THREAD.set(thread);
        while goes_on() {
            self.act();
        }
    }

    /// Does something at random, from a thread or from inside of anything that the library calls or
    /// drops. Nothing may unwind out of it.
    pub(super) fn act(self: &Arc<Self>) {
        const MAX_DEPTH: u32 = 3;
        let depth = DEPTH.get();
        if depth == MAX_DEPTH || self.is_over.load(Relaxed) {
            return;
        }
        DEPTH.set(depth + 1);
        let (name, act) = ACTS[below(ACTS.len())];
        self.doing_here().push(name);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| act(self))) {
            self.ledger.unwound(name, payload);
        }
        self.doing_here().pop();
        self.ledger.acts.add(1);
        DEPTH.set(depth);
    }

    fn doing_here(&self) -> MutexGuard<'_, Vec<&'static str>> {
        let doing = &self.doing[THREAD.get()];
        doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread does, the outermost first.
    pub(super) fn doing(&self) -> Vec<Vec<&'static str>> {
        let copy =
            |doing: &Mutex<Vec<_>>| doing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.doing.iter().map(copy).collect()
    }

    /// Removes everything; what does not add up.
    pub(super) fn settle(self: Arc<Self>) -> BTreeMap<String, u64> {
        self.is_over.store(true, Relaxed);
        // What is dropped may leave something in turn.
        loop {
            let left = mem::take(&mut *self.shelf());
            if left.is_empty() {
                break;
            }
            for left in left {
                self.end(left);
            }
        }
        for topics in &self.topics {
            topics.clear_panic_callback();
            // It may own a handle of its own topic.
            for topic in topics.keys().iter().filter_map(|key| topics.get(key)) {
                topic.clear_panic_callback();
            }
            topics.clear();
        }
        // Before the counts are looked at: async handlers may own what belongs to sync topics.
        #[cfg(feature = "async")]
        self.async_topics.clear();
        let left = self.topics.iter().map(Topics::len).sum::<usize>();
        let counted = self.topics.iter().map(Topics::panic_count).sum::<u64>();
        #[cfg(feature = "async")]
        let (left, counted) = (
            left + self.async_topics.len(),
            counted + self.async_topics.panic_count(),
        );
        self.ledger.expect("topics that are left", 0, left);
        let ledger = Arc::clone(&self.ledger);
        let [thrown, came_out] = [&ledger.thrown, &ledger.came_out].map(Count::get);
        ledger.expect("panics, as topics count", thrown - came_out, counted);
        ledger.expect("owners of the run", 1, Arc::strong_count(&self));
        drop(self);
        let [called, delivered] = [&ledger.called, &ledger.delivered].map(Count::get);
        ledger.expect("calls, as delivered", called, delivered);
        let [created, dropped] = [&ledger.created, &ledger.dropped].map(Count::get);
        ledger.expect("drops", created, dropped);
        let (acts, uncounted) = (ledger.acts.get(), ledger.thrown_uncounted.get());
        println!("{acts} acts, {called} calls, {created} values, {thrown} panics");
        println!("{came_out} of them of the caller's own wakers; {uncounted} more uncounted");
        ledger.take_wrong()
    }

    /// Topics with or without timed calls.
    pub(super) fn topics(&self) -> &Topics {
        &self.topics[below(2)]
    }

    /// A key that this call alone uses.
    pub(super) fn own_number(&self) -> usize {
        self.own_keys.fetch_add(1, Relaxed)
    }

    /// What a callback does that owns nothing.
    fn be_called_back(self: &Arc<Self>) {
        if self.hostile.callbacks {
            match below(16) {
                0 => self.ledger.throw(true),
                1 => self.act(),
                _ => {}
            }
        }
    }

    /// Something that goes with its only owner.
    pub(super) fn something_to_hold(self: &Arc<Self>) -> Option<Box<dyn Any + Send + Sync>> {
        if DEPTH.get() > 1 {
            return None;
        }
        let topic = self.topics().handle(self.key(below(SHARED)));
        Some(match below(3) {
            0 => Box::new(topic),
            1 => {
                let owned = Owned::new(self);
                Box::new(topic.register_guard(move |_| owned.be_called()))
            }
            _ => {
                let (topics, owned) = (Topics::new(), Owned::new(self).uncounted());
                topics.register(self.strange_key(0), move |_| owned.be_called());
                Box::new(topics)
            }
        })
    }

    pub(super) fn key(self: &Arc<Self>, number: usize) -> Key {
        let is_hostile = self.hostile.keys && once_in(4);
        Key {
            number,
            owned: is_hostile.then(|| Owned::biting(self, true)),
        }
    }

    /// Makes a key of topics whose panics nobody looks at.
    pub(super) fn strange_key(self: &Arc<Self>, number: usize) -> Key {
        let key = self.key(number);
        Key {
            owned: key.owned.map(Owned::uncounted),
            ..key
        }
    }
}
