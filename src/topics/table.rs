//! A table of items, found by their keys; the only user of `dashmap`.
//!
//! It uses the shards of the `DashMap` directly. So a look-up hashes once, and the hash also gives
//! the shard, which the turnstile needs; and the borrowed key is compared with the key in the item.
//!
//! The closures passed to its functions run under the lock of a shard, or inside of a look-up for
//! which writers wait. So do `Eq` and `Borrow` of the key, and `Hash` when the table grows or shrinks.
//! No user value is dropped there.
#![cfg_attr(
    not(any(loom, shuttle)),
    expect(clippy::disallowed_types, reason = "the only user of `dashmap`")
)]

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::mem;

use ahash::RandomState;

use crate::primitive::{DashMap, SharedValue};
use crate::topics::turnstile::Turnstile;

/// An item of a table.
pub(crate) trait Keyed {
    type Key: Eq + Hash;

    fn key(&self) -> &Self::Key;
}

pub(crate) struct Table<T: Keyed> {
    items: DashMap<KeyedItem<T>, (), RandomState>,
    turnstile: Turnstile,
}

impl<T: Keyed> Table<T> {
    pub(crate) fn new() -> Self {
        Self {
            items: DashMap::default(),
            turnstile: Turnstile::new(),
        }
    }

    /// Calls `found` with the item of this key, if there is one.
    #[inline]
    pub(crate) fn find<Q, R>(&self, key: &Q, found: impl FnOnce(&T) -> R) -> Option<R>
    where
        T::Key: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // Hashed first: `Hash` may take its time.
        let Bucket { hash, shard } = self.bucket_of(key);
        let lock = &self.items.shards()[shard];
        if let Some(look_up) = self.turnstile.enter(shard) {
            return look_up.read(lock, |shard| {
                let item = shard.get(hash, |item| item.0.is(key));
                item.map(|item| found(&item.0.0))
            });
        }
        let shard = lock.read();
        let item = shard.get(hash, |item| item.0.is(key));
        item.map(|item| found(&item.0.0))
    }

    /// Calls `found` with the item of this key, which `make` creates if there is none.
    pub(crate) fn find_or_insert<R>(
        &self,
        key: &T::Key,
        make: impl FnOnce() -> T,
        found: impl FnOnce(&T) -> R,
    ) -> R {
        let Bucket { hash, shard } = self.bucket_of(key);
        self.turnstile.with_shard(shard, || {
            let mut shard = self.items.shards()[shard].write();
            if let Some(item) = shard.get(hash, |item| item.0.is(key)) {
                return found(&item.0.0);
            }
            // Before anything is made: if `Hash` panicked while the table grows, it would be dropped
            // under the lock, and its destructor might need that lock.
            let rehash = |item: &(KeyedItem<T>, _)| self.bucket_of(item.0.0.key()).hash;
            shard.reserve(1, rehash);
            let item = make();
            let found = found(&item);
            shard.insert(hash, (KeyedItem(item), SharedValue::new(())), rehash);
            found
        })
    }

    /// Removes and returns the item of this key if `goes` returns true for it.
    pub(crate) fn remove_if(&self, key: &T::Key, goes: impl Fn(&T) -> bool) -> Option<T> {
        let Bucket { hash, shard } = self.bucket_of(key);
        let removed = self.turnstile.with_shard(shard, || {
            let mut shard = self.items.shards()[shard].write();
            shard.remove_entry(hash, |item| item.0.is(key) && goes(&item.0.0))
        });
        removed.map(|(KeyedItem(item), _)| item)
    }

    /// Waits until all look-ups of this key that have begun have ended.
    pub(crate) fn wait_for_lookups(&self, key: &T::Key) {
        let Bucket { shard, .. } = self.bucket_of(key);
        let lock = &self.items.shards()[shard];
        // Look-ups are announced or hold the lock. So it is enough to see each of the former end,
        // and to acquire the lock once.
        if !(self.turnstile.look_ups_end_soon(shard) && lock.try_write().is_some()) {
            self.turnstile.with_shard(shard, || drop(lock.write()));
        }
    }

    /// Takes out all items, shard by shard.
    pub(crate) fn take_all(&self) -> Vec<T> {
        let shards = self.items.shards();
        let taken = shards.iter().enumerate().flat_map(|(at, shard)| {
            let items = self.turnstile.with_shard(at, || mem::take(&mut *shard.write()));
            items.into_iter()
        });
        taken.map(|(KeyedItem(item), _)| item).collect()
    }

    /// Collects what `pick` returns for each item, shard by shard.
    pub(crate) fn collect<R>(&self, pick: impl Fn(&T) -> R) -> Vec<R> {
        let items = self.all().iter();
        items.map(|item| pick(&item.key().0)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Returns for how many items memory is allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.all().capacity()
    }

    pub(crate) fn shrink_to_fit(&self) {
        self.turnstile.with_all(|| self.items.shrink_to_fit());
    }

    /// Returns the map, for operations on all shards.
    fn all(&self) -> &DashMap<KeyedItem<T>, (), RandomState> {
        self.turnstile.before_look_at_all();
        &self.items
    }

    // Hashed by `dashmap`, which hashes again when it shrinks: another way to hash might give
    // another number.
    #[inline]
    fn bucket_of<Q: Hash + ?Sized>(&self, key: &Q) -> Bucket {
        let hash = self.items.hash_usize(&key);
        let shard = self.items.determine_shard(hash);
        Bucket {
            hash: hash as u64,
            shard,
        }
    }
}

/// The place of a key: its hash, and the shard that follows from it.
struct Bucket {
    hash: u64,
    shard: usize,
}

/// An item as a key of the map: compared and hashed by its own key.
struct KeyedItem<T>(T);

impl<T: Keyed> KeyedItem<T> {
    #[inline]
    fn is<Q>(&self, key: &Q) -> bool
    where
        T::Key: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.0.key().borrow() == key
    }
}

impl<T: Keyed> Hash for KeyedItem<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl<T: Keyed> PartialEq for KeyedItem<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl<T: Keyed> Eq for KeyedItem<T> {}
