//! The source of locks, atomics, `arc_swap` and `dashmap`: the originals or, to explore
//! interleavings of threads, those of `loom` (`--cfg loom`) or `shuttle` (`--cfg shuttle`), and
//! stand-ins made of them.
//!
//! The rest of the library is the same code in all three cases. `Arc` is always `std`'s, and so is
//! the counter in `primitive/serials.rs`.

#[cfg(any(loom, shuttle))]
mod model;
mod serials;
mod source;

#[cfg(any(loom, shuttle))]
pub(crate) use self::model::{ArcSwapAny, Cache, DashMap, Guard, Shard, SharedValue};
#[cfg(not(any(loom, shuttle)))]
#[expect(
    clippy::disallowed_types,
    reason = "handed on to `snapshot/cell.rs` and `topics/table.rs`"
)]
mod originals {
    pub(crate) use arc_swap::{ArcSwapAny, Cache, Guard};
    pub(crate) use dashmap::{DashMap, RwLock as Shard, SharedValue};
}
#[cfg(not(any(loom, shuttle)))]
pub(crate) use self::originals::*;
pub(crate) use self::serials::Serials;
pub(crate) use self::source::*;

/// Gives other threads time, in a loop that waits for one of them: at first a moment, then more and
/// more, because it may not run, and may have a lower priority.
#[cfg(all(feature = "fast-lane", not(any(loom, shuttle))))]
pub(crate) fn give_time(turn: u32) {
    match turn {
        0..128 => std::hint::spin_loop(),
        128..144 => std::thread::yield_now(),
        _ => std::thread::sleep(std::time::Duration::from_micros(16 << (turn - 144).min(6))),
    }
}

#[cfg(all(feature = "fast-lane", any(loom, shuttle)))]
pub(crate) fn give_time(_turn: u32) {
    yield_now();
}

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

pub(crate) use explored_static;
pub(crate) use thread_local_const;
