//! Topics as one would make them of `registry-io` and a concurrent map.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use dashmap::DashMap;

use crate::keys::{self, Keyed};
use crate::peers::{RegistryIo, fill_theirs};

/// In a `DashMap`. The look-up clones the registry out, so that no lock is held while handlers
/// run.
#[derive(Debug, Default)]
pub struct HandMade<S: BuildHasher + Clone>(DashMap<String, Arc<RegistryIo>, S>);

/// In a `papaya` map, which is read without a lock: handlers run while it is pinned.
#[derive(Default)]
pub struct Papaya(papaya::HashMap<String, Arc<RegistryIo>, ahash::RandomState>);

/// In an `scc` map. The look-up clones the registry out, as in the `DashMap`.
#[derive(Default)]
pub struct Scc(scc::HashMap<String, Arc<RegistryIo>, ahash::RandomState>);

/// One topic of a `DashMap`, by its key each time.
pub type ByKey = keys::ByKey<HandMade<RandomState>>;

/// The same with the hash that ours uses.
pub type ByKeyAhash = keys::ByKey<HandMade<ahash::RandomState>>;

/// One topic of a `papaya` map, by its key each time.
pub type ByKeyPapaya = keys::ByKey<Papaya>;

/// One topic of an `scc` map, by its key each time.
pub type ByKeyScc = keys::ByKey<Scc>;

impl<S: BuildHasher + Clone + Default + Send + Sync + 'static> Keyed for HandMade<S> {
    type Handle = Arc<RegistryIo>;
    type Answer = ();

    fn add(&self, key: String, handlers: u64) -> Self::Handle {
        let handle = Arc::clone(&self.0.entry(key).or_default());
        fill_theirs(&handle, handlers);
        handle
    }

    #[inline(always)]
    fn notify(&self, key: &str, event: &u64) {
        let registry = self.0.get(key).map(|entry| Arc::clone(&entry));
        if let Some(registry) = registry {
            registry.notify(event);
        }
    }

    fn remove(&self, key: &str) {
        self.0.remove(key);
    }
}

impl Keyed for Papaya {
    type Handle = Arc<RegistryIo>;
    type Answer = ();

    fn add(&self, key: String, handlers: u64) -> Self::Handle {
        let handle = Arc::clone(self.0.pin().get_or_insert_with(key, Arc::default));
        fill_theirs(&handle, handlers);
        handle
    }

    #[inline(always)]
    fn notify(&self, key: &str, event: &u64) {
        if let Some(registry) = self.0.pin().get(key) {
            registry.notify(event);
        }
    }

    fn remove(&self, key: &str) {
        self.0.pin().remove(key);
    }
}

impl Keyed for Scc {
    type Handle = Arc<RegistryIo>;
    type Answer = ();

    fn add(&self, key: String, handlers: u64) -> Self::Handle {
        let handle = Arc::clone(self.0.entry_sync(key).or_default().get());
        fill_theirs(&handle, handlers);
        handle
    }

    #[inline(always)]
    fn notify(&self, key: &str, event: &u64) {
        let registry = self.0.read_sync(key, |_, registry| Arc::clone(registry));
        if let Some(registry) = registry {
            registry.notify(event);
        }
    }

    fn remove(&self, key: &str) {
        self.0.remove_sync(key);
    }
}

impl fmt::Debug for Papaya {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Papaya").field(&self.0.len()).finish()
    }
}

impl fmt::Debug for Scc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scc").field(&self.0.len()).finish()
    }
}
