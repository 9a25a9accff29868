//! Stand-ins for `arc_swap` and `dashmap` where interleavings are explored: that is only possible
//! with the locks and atomics of `loom` and `shuttle`.
//!
//! A stand-in can do everything that the original can do, as far as this library relies on it, and
//! especially what is rare: a load that finds its list replaced drops its reference, which may be
//! the last.

#![expect(clippy::ref_option, reason = "as the originals have it")]
#![cfg_attr(
    loom,
    expect(clippy::disallowed_types, reason = "a lock that is never waited for")
)]

use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use self::accesses::Accesses;
use crate::primitive::source::atomic::{AtomicUsize, Ordering};
use crate::primitive::source::{Mutex, RwLock};

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

/// A map of two shards: one for even and one for odd keys, as far as they are numbers.
pub(crate) struct DashMap<K, V, S> {
    shards: [Shard<Items<K, V>>; 2],
    hasher: PhantomData<S>,
}

/// A lock, and what it protects; it can also be read without the lock. Fails if a writer is beside
/// anyone else, or if it is not known which of the two came first.
pub(crate) struct Shard<T> {
    lock: RwLock<()>,
    accesses: Accesses,
    contents: std::sync::RwLock<T>,
}

/// Access to what a shard contains. The fields end in this order.
pub(crate) struct Access<C, A, L> {
    contents: C,
    _access: A,
    _lock: L,
}

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
            shards: [(); 2].map(|()| Shard::new(Items::default())),
            hasher: PhantomData,
        }
    }
}

impl<K, V, S> DashMap<K, V, S> {
    pub(crate) fn shards(&self) -> &[Shard<Items<K, V>>] {
        &self.shards
    }

    pub(crate) fn hash_usize<Q: Hash>(&self, key: &Q) -> usize {
        let mut sum = Sum(0);
        key.hash(&mut sum);
        sum.0
    }

    pub(crate) fn determine_shard(&self, hash: usize) -> usize {
        hash % self.shards.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Item<impl Deref<Target = Items<K, V>>>> {
        self.shards.iter().flat_map(|shard| {
            let items = Rc::new(shard.read());
            (0..items.0.len()).map(move |at| {
                let items = Rc::clone(&items);
                Item { items, at }
            })
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().0.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().0.capacity()).sum()
    }
}

/// Adds up what is hashed.
struct Sum(usize);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    }

    fn finish(&self) -> u64 {
        self.0 as u64
    }
}

impl<T> Shard<T> {
    fn new(contents: T) -> Self {
        Self {
            lock: RwLock::new(()),
            accesses: Accesses::default(),
            contents: std::sync::RwLock::new(contents),
        }
    }

    /// Locks like a writer: there is less to explore, and a thread that would wait for itself is
    /// found more often.
    pub(crate) fn read(&self) -> impl Deref<Target = T> {
        self.reader(self.locked())
    }

    #[cfg(feature = "fast-lane")]
    pub(crate) fn read_unlocked<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.reader(()))
    }

    pub(crate) fn write(&self) -> impl DerefMut<Target = T> {
        let lock = self.locked();
        Access {
            contents: self.contents.try_write().expect("nobody is beside a writer"),
            _access: self.accesses.write(),
            _lock: lock,
        }
    }

    /// Locks like a writer, and does not write.
    pub(crate) fn try_write(&self) -> Option<impl Sized> {
        self.lock.try_write().ok()
    }

    fn locked(&self) -> impl Sized {
        self.lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self, lock: impl Sized) -> impl Deref<Target = T> {
        Access {
            contents: self.contents.try_read().expect("no writer is beside a reader"),
            _access: self.accesses.read(),
            _lock: lock,
        }
    }
}

impl<C: Deref, A, L> Deref for Access<C, A, L> {
    type Target = C::Target;

    fn deref(&self) -> &C::Target {
        &self.contents
    }
}

impl<C: DerefMut, A, L> DerefMut for Access<C, A, L> {
    fn deref_mut(&mut self) -> &mut C::Target {
        &mut self.contents
    }
}

/// `loom` also finds accesses that do not overlap, but of which neither happens before the other.
#[cfg(all(loom, feature = "fast-lane"))]
#[allow(
    unsafe_code,
    reason = "nothing is accessed; `loom` checks that it could be"
)]
mod accesses {
    use loom::cell::UnsafeCell;

    #[derive(Default)]
    pub(super) struct Accesses(UnsafeCell<()>);

    // SAFETY: no pointer to it is followed.
    unsafe impl Sync for Accesses {}

    impl Accesses {
        pub(super) fn read(&self) -> impl Sized {
            self.0.get()
        }

        pub(super) fn write(&self) -> impl Sized {
            self.0.get_mut()
        }
    }
}

/// `shuttle` lets others run during an access, so that they overlap.
#[cfg(not(all(loom, feature = "fast-lane")))]
mod accesses {
    use crate::primitive::source::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    pub(super) struct Accesses(AtomicUsize);

    impl Accesses {
        pub(super) fn read(&self) -> impl Sized {
            self.0.load(Ordering::Relaxed);
        }

        pub(super) fn write(&self) -> impl Sized {
            self.0.load(Ordering::Relaxed);
        }
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

    pub(crate) fn shrink_to(
        &mut self,
        capacity: usize,
        _rehash: impl Fn(&(K, SharedValue<V>)) -> u64,
    ) {
        self.0.shrink_to(capacity);
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
pub(crate) struct Item<I> {
    items: Rc<I>,
    at: usize,
}

impl<K, V, I: Deref<Target = Items<K, V>>> Item<I> {
    pub(crate) fn key<'i>(&'i self) -> &'i K
    where
        V: 'i,
    {
        &self.items.0[self.at].0
    }
}
