//! [`PanicMonitor`]: a count of panics, and a callback for them that can be replaced while it is
//! called.

use std::mem;
use std::sync::{Arc, PoisonError};

use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::primitive::{Mutex, MutexGuard};
use crate::report::panic::{Payload, catch, count_and_drop};

pub(crate) struct PanicMonitor<C> {
    // Relaxed: it publishes nothing, and a thread that has synchronised with the thread of a panic
    // sees it counted.
    count: AtomicU64,
    // `C` is a box, so that this is one word: each topic has it.
    callback: Mutex<Option<Arc<C>>>,
}

impl<C> PanicMonitor<C> {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            callback: Mutex::new(None),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Replaces the callback. Returns what the destructor of the old one threw.
    pub(crate) fn set(&self, callback: Option<C>) -> Result<(), Payload> {
        let callback = callback.map(Arc::new);
        let old = mem::replace(&mut *self.lock(), callback);
        catch(|| drop(old))
    }

    /// Drops the callback, and takes no lock. Returns what its destructor threw.
    pub(crate) fn clear(&mut self) -> Result<(), Payload> {
        let callback = self.callback.get_mut().unwrap_or_else(PoisonError::into_inner);
        catch(|| *callback = None)
    }

    /// Calls the callback, if there is one. Returns what it threw, and what its destructor threw:
    /// it runs here if the callback was replaced meanwhile.
    pub(crate) fn call(&self, f: impl FnOnce(&C)) -> Vec<Payload> {
        let mut thrown = Vec::new();
        let callback = self.lock().clone();
        if let Some(callback) = callback {
            thrown.extend(catch(|| f(&callback)).err());
            thrown.extend(catch(|| drop(callback)).err());
        }
        thrown
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<C>>> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is nothing left that could count a panic of the callback's destructor.
impl<C> Drop for PanicMonitor<C> {
    fn drop(&mut self) {
        count_and_drop(self.clear().err(), || {});
    }
}
