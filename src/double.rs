//! What stands in for `arc_swap` and `dashmap` where interleavings are explored, which can be
//! done with locks and atomics of `loom` and `shuttle` only.
//!
//! A double may do whatever the original may do, as far as this library relies on it, and
//! especially what is hard to meet: a load that finds its list replaced lets go of it, perhaps
//! as the last that owned it.

#![expect(clippy::ref_option, reason = "as the originals have it")]

use std::borrow::Borrow;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use crate::concurrency::atomic::{AtomicUsize, Ordering};
use crate::concurrency::{Mutex, RwLock, RwLockWriteGuard};

/// Swapped and loaded under a lock, which is one order of all steps, as `arc_swap` has it.
pub(crate) struct ArcSwapAny<P> {
    current: Mutex<P>,
    // For `Cache`, which looks at nothing else before it loads, and to look again.
    address: AtomicUsize,
}

pub(crate) struct Guard<P>(P);

pub(crate) struct Cache<A, P> {
    arc_swap: A,
    cached: P,
}

fn address<T>(value: &Option<Arc<T>>) -> usize {
    value.as_ref().map_or(0, |arc| Arc::as_ptr(arc).addr())
}

impl<T> ArcSwapAny<Option<Arc<T>>> {
    pub(crate) fn const_empty() -> Self {
        Self {
            current: Mutex::new(None),
            address: AtomicUsize::new(0),
        }
    }

    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        let mut found = self.share();
        if self.address.load(Ordering::SeqCst) != address(&found) {
            // It was replaced meanwhile, and this may be its last share.
            found = self.share();
        }
        Guard(found)
    }

    pub(crate) fn swap(&self, mut value: Option<Arc<T>>) -> Option<Arc<T>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.address.store(address(&value), Ordering::SeqCst);
        std::mem::swap(&mut *current, &mut value);
        value
    }

    fn share(&self) -> Option<Arc<T>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl<P> Deref for Guard<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

impl<T, A> Cache<A, Option<Arc<T>>>
where
    A: Deref<Target = ArcSwapAny<Option<Arc<T>>>>,
{
    pub(crate) fn new(arc_swap: A) -> Self {
        let cached = arc_swap.share();
        Self { arc_swap, cached }
    }

    pub(crate) fn load(&mut self) -> &Option<Arc<T>> {
        if self.arc_swap.address.load(Ordering::Relaxed) != address(&self.cached) {
            self.cached = self.arc_swap.share();
        }
        &self.cached
    }
}

/// A map of one shard. Whoever only reads locks it like a writer: that finds less to explore,
/// and more that would wait for itself.
pub(crate) struct DashMap<K, V, S> {
    shard: RwLock<Vec<(K, V)>>,
    hasher: PhantomData<S>,
}

/// An item of the map, and the lock on it.
pub(crate) struct Ref<'m, K, V> {
    shard: Rc<RwLockWriteGuard<'m, Vec<(K, V)>>>,
    at: usize,
}

pub(crate) struct Entry<'m, K, V> {
    shard: RwLockWriteGuard<'m, Vec<(K, V)>>,
    key: K,
}

impl<K, V, S> Default for DashMap<K, V, S> {
    fn default() -> Self {
        Self {
            shard: RwLock::new(Vec::new()),
            hasher: PhantomData,
        }
    }
}

impl<K: Eq, V, S> DashMap<K, V, S> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.iter().find(|item| item.key().borrow() == key)
    }

    pub(crate) fn get_mut<Q>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key)
    }

    pub(crate) fn determine_map<Q: ?Sized>(&self, _key: &Q) -> usize {
        0
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let shard = self.lock();
        Entry { shard, key }
    }

    pub(crate) fn remove_if<Q>(&self, key: &Q, goes: impl FnOnce(&K, &V) -> bool) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.lock();
        let at = shard.iter().position(|(other, _)| other.borrow() == key)?;
        let (key, value) = &shard[at];
        goes(key, value).then(|| shard.swap_remove(at))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Ref<'_, K, V>> {
        let shard = Rc::new(self.lock());
        (0..shard.len()).map(move |at| {
            let shard = Rc::clone(&shard);
            Ref { shard, at }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.lock().capacity()
    }

    pub(crate) fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Vec<(K, V)>> {
        self.shard.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Ref<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.shard[self.at].0
    }

    pub(crate) fn value(&self) -> &V {
        &self.shard[self.at].1
    }
}

impl<'m, K: Eq, V> Entry<'m, K, V> {
    pub(crate) fn or_insert_with(mut self, value: impl FnOnce() -> V) -> Ref<'m, K, V> {
        let at = self.shard.iter().position(|(key, _)| *key == self.key);
        let at = at.unwrap_or_else(|| {
            self.shard.push((self.key, value()));
            self.shard.len() - 1
        });
        let shard = Rc::new(self.shard);
        Ref { shard, at }
    }
}
