//! The locks and atomics: of `std`, or of what explores interleavings.

/// The atomics that are not explored. `std` has none of 64 bits on some 32-bit targets.
pub(super) mod plain {
    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) use portable_atomic as atomic;
    #[cfg(target_has_atomic = "64")]
    pub(crate) use std::sync::atomic;
}

#[cfg(not(any(loom, shuttle)))]
mod chosen {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) use super::plain::atomic;
}

#[cfg(loom)]
mod chosen {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock, atomic};
    #[cfg(feature = "fast-lane")]
    pub(crate) use loom::thread::yield_now;
    pub(crate) use loom::{lazy_static, thread_local};
}

#[cfg(all(shuttle, not(loom)))]
mod chosen {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, atomic};
    #[cfg(feature = "fast-lane")]
    pub(crate) use shuttle::thread::yield_now;
    pub(crate) use shuttle::{lazy_static, thread_local};
}

pub(crate) use chosen::*;
