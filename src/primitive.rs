//! The source of locks, atomics, `arc_swap` and `dashmap`: the originals or, to explore
//! interleavings of threads, those of `loom` (`--cfg loom`) or `shuttle` (`--cfg shuttle`), and
//! stand-ins made of them.
//!
//! The rest of the library is the same code in all three cases. `Arc` is always `std`'s, and so is
//! the counter in `primitive/serials.rs`.

#[cfg(any(loom, shuttle))]
mod model;
mod serials;

/// The atomics that are not explored. `std` has none of 64 bits on some 32-bit targets.
mod plain {
    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) use portable_atomic as atomic;
    #[cfg(target_has_atomic = "64")]
    pub(crate) use std::sync::atomic;
}

#[cfg(not(any(loom, shuttle)))]
#[expect(
    clippy::disallowed_types,
    reason = "handed on to `snapshot/cell.rs` and `topics/table.rs`"
)]
mod imports {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

    pub(crate) use arc_swap::{ArcSwapAny, Cache, Guard};
    pub(crate) use dashmap::{DashMap, SharedValue};

    pub(crate) use super::plain::atomic;
}

#[cfg(loom)]
mod imports {
    pub(crate) use loom::sync::atomic;
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
    pub(crate) use loom::{lazy_static, thread_local};

    pub(crate) use crate::primitive::model::{ArcSwapAny, Cache, DashMap, Guard, SharedValue};
}

#[cfg(all(shuttle, not(loom)))]
mod imports {
    pub(crate) use shuttle::sync::atomic;
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
    pub(crate) use shuttle::{lazy_static, thread_local};

    pub(crate) use crate::primitive::model::{ArcSwapAny, Cache, DashMap, Guard, SharedValue};
}

pub(crate) use imports::*;
pub(crate) use serials::Serials;

/// Defines a `static`; where runs are explored, each run has its own.
#[cfg(not(any(loom, shuttle)))]
macro_rules! explored_static {
    ($name:ident: $type:ty = $value:expr) => {
        static $name: $type = $value;
    };
}

/// Defines a thread-local with a constant initial value. If the type needs no drop, it also works
/// while the thread is torn down.
#[cfg(not(any(loom, shuttle)))]
macro_rules! thread_local_const {
    ($name:ident: $type:ty = $value:expr) => {
        ::std::thread_local! {
            static $name: $type = const { $value };
        }
    };
}

#[cfg(any(loom, shuttle))]
macro_rules! explored_static {
    ($name:ident: $type:ty = $value:expr) => {
        $crate::primitive::lazy_static! {
            static ref $name: $type = $value;
        }
    };
}

#[cfg(any(loom, shuttle))]
macro_rules! thread_local_const {
    ($name:ident: $type:ty = $value:expr) => {
        $crate::primitive::thread_local! {
            static $name: $type = $value;
        }
    };
}

pub(crate) use {explored_static, thread_local_const};
