//! A table of items, found by their keys; the only user of `dashmap`.
//!
//! It uses the shards of the `DashMap` directly. So a key is hashed once: the hash gives the shard,
//! which the turnstile needs, and is kept in the item, for its removal and for when the table grows
//! or shrinks. And a borrowed key is compared with the key in the item.
//!
//! The closures passed to its functions run under the lock of a shard, or inside of a look-up for
//! which writers wait. So do `Eq` and `Borrow` of the key, in look-ups and when an item is
//! inserted. `Hash` runs with no lock held. No user value is dropped under a lock.
#![cfg_attr(
    not(any(loom, shuttle)),
    expect(clippy::disallowed_types, reason = "the only user of `dashmap`")
)]

use std::hash::{Hash, Hasher};
use std::mem;

use ahash::RandomState;
use equivalent::Equivalent;

use crate::primitive::{DashMap, SharedValue};
use crate::topics::turnstile::Turnstile;

/// The requirements on a key. Implemented for every type that meets them.
pub trait Key: Eq + Hash + Clone + Send + Sync + 'static {}

impl<K: Eq + Hash + Clone + Send + Sync + 'static> Key for K {}

/// An item of a table.
pub(crate) trait Keyed {
    type Key: Eq + Hash;

    fn key(&self) -> &Self::Key;

    /// Returns the hash of the key, as the table has computed it.
    fn hash(&self) -> KeyHash;
}

/// The hash of a key in a table.
#[derive(Clone, Copy)]
pub(crate) struct KeyHash(usize);

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

    #[inline]
    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> KeyHash {
        KeyHash(self.items.hash_usize(&key))
    }

    /// Calls `found` with the item of this key, which has this hash, if there is one.
    #[inline]
    pub(crate) fn find<Q, R>(
        &self,
        hash: KeyHash,
        key: &Q,
        found: impl FnOnce(&T) -> R,
    ) -> Option<R>
    where
        Q: Equivalent<T::Key> + ?Sized,
    {
        let shard = self.shard_of(hash);
        let lock = &self.items.shards()[shard];
        if let Some(look_up) = self.turnstile.enter(shard) {
            return look_up.read(lock, |shard| {
                let item = shard.get(hash.bits(), |item| item.0.is(key));
                item.map(|item| found(&item.0.0))
            });
        }
        // Steps lock_shared and unlock_shared of tests/protocols/gates.tla.
        let shard = lock.read();
        let item = shard.get(hash.bits(), |item| item.0.is(key));
        item.map(|item| found(&item.0.0))
    }

    /// Inserts an item, unless there is one of its key. Calls `found` with the one that is there
    /// then, and whether it is the new one. Drops an item that is not inserted.
    pub(crate) fn find_or_insert<R>(&self, new: T, found: impl FnOnce(&T, bool) -> R) -> R {
        let hash = new.hash();
        let shard = self.shard_of(hash);
        // Moved only where nothing can panic: an item that is not inserted is dropped after the
        // lock is released.
        let new = &mut Some(new);
        self.turnstile.with_shard(shard, || {
            // Steps lock_exclusive and unlock_exclusive of tests/protocols/gates.tla.
            let mut shard = self.items.shards()[shard].write();
            let is_it = |item: &KeyedItem<T>| new.as_ref().is_some_and(|new| item.is(new.key()));
            // Step find_or_insert of tests/protocols/topics.tla.
            if let Some(item) = shard.get(hash.bits(), |item| is_it(&item.0)) {
                return found(&item.0.0, false);
            }
            let item = new.take().expect("it is inserted once");
            let found = found(&item, true);
            // Step insert of tests/protocols/topics.tla.
            shard.insert(hash.bits(), (KeyedItem(item), SharedValue::new(())), rehash);
            found
        })
    }

    /// Removes and returns the item for which `goes` returns true, of those that have this hash.
    pub(crate) fn remove_if(&self, hash: KeyHash, goes: impl Fn(&T) -> bool) -> Option<T> {
        let shard = self.shard_of(hash);
        let removed = self.turnstile.with_shard(shard, || {
            // Steps lock_exclusive and unlock_exclusive of tests/protocols/gates.tla.
            let mut shard = self.items.shards()[shard].write();
            // Step leave_map of tests/protocols/topics.tla.
            shard.remove_entry(hash.bits(), |item| goes(&item.0.0))
        });
        removed.map(|(KeyedItem(item), _)| item)
    }

    /// Waits until all look-ups of keys with this hash that have begun have ended.
    pub(crate) fn wait_for_lookups(&self, hash: KeyHash) {
        let shard = self.shard_of(hash);
        let lock = &self.items.shards()[shard];
        // Look-ups are announced or hold the lock. So it is enough to see each of the former end,
        // and to acquire the lock once.
        // Step try_lock of tests/protocols/gates.tla.
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

    /// Frees memory that is not needed, shard by shard.
    pub(crate) fn shrink_to_fit(&self) {
        for (at, shard) in self.items.shards().iter().enumerate() {
            self.turnstile.with_shard(at, || shard.write().shrink_to(0, rehash));
        }
    }

    /// Returns the map, for operations on all shards.
    fn all(&self) -> &DashMap<KeyedItem<T>, (), RandomState> {
        self.turnstile.before_look_at_all();
        &self.items
    }

    #[inline]
    fn shard_of(&self, KeyHash(hash): KeyHash) -> usize {
        self.items.determine_shard(hash)
    }
}

impl KeyHash {
    fn bits(self) -> u64 {
        self.0 as u64
    }
}

fn rehash<T: Keyed>(item: &(KeyedItem<T>, SharedValue<()>)) -> u64 {
    item.0.0.hash().bits()
}

/// An item as a key of the map.
struct KeyedItem<T>(T);

impl<T: Keyed> KeyedItem<T> {
    #[inline]
    fn is<Q>(&self, key: &Q) -> bool
    where
        Q: Equivalent<T::Key> + ?Sized,
    {
        key.equivalent(self.0.key())
    }
}

// `dashmap` requires these of a key, and would use them for what is done with the shards here.
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::collections::BTreeSet;

    use super::{KeyHash, Keyed, Table};

    struct Item(u64, KeyHash);

    impl Keyed for Item {
        type Key = u64;

        fn key(&self) -> &u64 {
            &self.0
        }

        fn hash(&self) -> KeyHash {
            self.1
        }
    }

    const COUNT: u64 = 10_000;

    fn filled() -> Table<Item> {
        let table = Table::new();
        for key in 0..COUNT {
            let item = Item(key, table.hash(&key));
            assert!(table.find_or_insert(item, |_, is_new| is_new));
        }
        table
    }

    fn find(table: &Table<Item>, key: u64) -> Option<u64> {
        table.find(table.hash(&key), &key, |item| item.0)
    }

    #[test]
    fn keys_are_spread_over_all_shards_and_found_there() {
        let table = filled();
        // Enough keys for each shard to have one, however many processors and so shards there are.
        let all = table.items.shards().len();
        let keys = 0..64 * all;
        let shards: BTreeSet<_> = keys.map(|key| table.shard_of(table.hash(&key))).collect();
        assert_eq!(shards.len(), all);
        let bits: BTreeSet<_> = (0..COUNT).map(|key| table.hash(&key).bits()).collect();
        assert!(bits.len() > 9_900, "{} hashes", bits.len());
        assert!((0..COUNT).all(|key| find(&table, key) == Some(key)));
        assert_eq!(find(&table, COUNT), None);
        let again = Item(7, table.hash(&7_u64));
        assert!(!table.find_or_insert(again, |_, is_new| is_new));
    }

    #[test]
    fn memory_that_is_not_needed_goes_when_it_shrinks() {
        let table = filled();
        assert!(table.capacity() >= 10_000 && table.len() == 10_000 && !table.is_empty());
        for key in 10..COUNT {
            let removed = table.remove_if(table.hash(&key), |item| item.0 == key);
            assert_eq!(removed.map(|item| item.0), Some(key));
        }
        assert!(table.capacity() >= 5_000, "{}", table.capacity());
        table.shrink_to_fit();
        assert!(table.capacity() < 1_000, "{}", table.capacity());
        assert!((0..10).all(|key| find(&table, key) == Some(key)));
        assert_eq!((table.take_all().len(), table.len()), (10, 0));
        assert!(table.is_empty());
    }
}
