//! Stand-ins for `arc_swap` and `dashmap` where interleavings are explored: that is only possible
//! with the locks and atomics of `loom` and `shuttle`.
//!
//! A stand-in can do everything that the original can do, as far as this library relies on it, and
//! especially what is rare: a load that finds its list replaced drops its reference, which may be
//! the last.

#![expect(clippy::ref_option, reason = "as the originals have it")]

use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use crate::primitive::atomic::{AtomicUsize, Ordering};
use crate::primitive::{Mutex, RwLock, RwLockWriteGuard};

/// A stand-in that swaps and loads under a lock, so all steps are in a single order, as with
/// `arc_swap`.
pub(crate) struct ArcSwapAny<P> {
    current: Mutex<P>,
    // For `Cache`, which checks nothing else before it loads, and for the second check of a load.
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
            // It was replaced meanwhile, and this may be the last reference to it.
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

/// A map of one shard.
pub(crate) struct DashMap<K, V, S> {
    shards: [Shard<K, V>; 1],
    hasher: PhantomData<S>,
}

pub(crate) struct Shard<K, V>(RwLock<Items<K, V>>);

/// A stand-in for the type in which `dashmap` wraps values.
pub(crate) struct SharedValue<V>(V);

/// The items of a shard.
pub(crate) struct Items<K, V>(Vec<(K, SharedValue<V>)>);

impl<K, V> Default for Items<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> IntoIterator for Items<K, V> {
    type Item = (K, SharedValue<V>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K, V, S> Default for DashMap<K, V, S> {
    fn default() -> Self {
        Self {
            shards: [Shard(RwLock::new(Items::default()))],
            hasher: PhantomData,
        }
    }
}

impl<K, V, S> DashMap<K, V, S> {
    pub(crate) fn shards(&self) -> &[Shard<K, V>] {
        &self.shards
    }

    pub(crate) fn hash_usize<Q>(&self, _key: &Q) -> usize {
        0
    }

    pub(crate) fn determine_shard(&self, _hash: usize) -> usize {
        0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Item<'_, K, V>> {
        let items = Rc::new(self.shards[0].write());
        (0..items.0.len()).map(move |at| {
            let items = Rc::clone(&items);
            Item { items, at }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.shards[0].read().0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.shards[0].read().0.capacity()
    }

    pub(crate) fn shrink_to_fit(&self) {
        self.shards[0].write().0.shrink_to_fit();
    }
}

impl<K, V> Shard<K, V> {
    /// Locks like a writer: there is less to explore, and a thread that would wait for itself is
    /// found more often.
    pub(crate) fn read(&self) -> RwLockWriteGuard<'_, Items<K, V>> {
        self.write()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Items<K, V>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> SharedValue<V> {
    pub(crate) fn new(value: V) -> Self {
        Self(value)
    }
}

impl<K, V> Items<K, V> {
    pub(crate) fn get(
        &self,
        _hash: u64,
        is_it: impl FnMut(&(K, SharedValue<V>)) -> bool,
    ) -> Option<&(K, SharedValue<V>)> {
        let at = self.0.iter().position(is_it)?;
        self.0.get(at)
    }

    pub(crate) fn insert(
        &mut self,
        _hash: u64,
        item: (K, SharedValue<V>),
        _rehash: impl Fn(&(K, SharedValue<V>)) -> u64,
    ) {
        self.0.push(item);
    }

    pub(crate) fn remove_entry(
        &mut self,
        _hash: u64,
        is_it: impl FnMut(&(K, SharedValue<V>)) -> bool,
    ) -> Option<(K, SharedValue<V>)> {
        let at = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(at))
    }
}

/// An item of the map, and the lock on all of them.
pub(crate) struct Item<'m, K, V> {
    items: Rc<RwLockWriteGuard<'m, Items<K, V>>>,
    at: usize,
}

impl<K, V> Item<'_, K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.items.0[self.at].0
    }
}
