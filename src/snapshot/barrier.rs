//! A pair of memory barriers: a light one that is free for a dispatch, and a heavy one that makes
//! every thread of the process pass a full barrier.
//!
//! What the pair guarantees: if one thread stores, passes the light barrier and loads, and another
//! stores, passes the heavy barrier and loads, at least one of them sees the other's store. The
//! light barrier is a barrier for the compiler only. The heavy one interrupts the other running
//! threads, so that each of them passes a full barrier at some point of its program. If that point
//! is after the light barrier, the thread's store is visible when the heavy barrier returns. If it
//! is before, the thread's load comes after it, and sees what was stored before the heavy barrier.
//!
//! The heavy barrier is `membarrier(2)`, `PRIVATE_EXPEDITED`, on Linux and Android, and
//! `FlushProcessWriteBuffers` on Windows. Elsewhere, and where the system refuses, there is none.
#![allow(
    unsafe_code,
    reason = "system calls; each block has its argument beside it"
)]

use crate::primitive::atomic::{AtomicU8, Ordering};
use crate::primitive::explored_static;

// Whether there are heavy barriers. Accesses are relaxed: the state only says what to try.
explored_static!(STATE: AtomicU8 = AtomicU8::new(UNKNOWN));

const UNKNOWN: u8 = 0;
const READY: u8 = 1;
const REFUSED: u8 = 2;

/// Returns whether the process has heavy barriers. The first call asks the system, which can take
/// milliseconds in a process with threads.
pub(crate) fn register() -> bool {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        let state = if system::register() { READY } else { REFUSED };
        // Another thread's barrier may have been refused meanwhile, which is final.
        let _ = STATE.compare_exchange(UNKNOWN, state, Ordering::Relaxed, Ordering::Relaxed);
    }
    is_registered()
}

/// Returns whether the process has heavy barriers, as far as is known.
pub(crate) fn is_registered() -> bool {
    STATE.load(Ordering::Relaxed) == READY
}

/// Passes the light barrier.
#[inline]
pub(crate) fn light() {
    system::light();
}

/// Passes the heavy barrier. Returns `false` if the system refuses it: then nothing is known about
/// the other threads, and heavy barriers are no longer used.
#[must_use]
pub(crate) fn heavy() -> bool {
    // A system-call filter may have been installed meanwhile, or the system may have lost the
    // registration.
    let passed = system::heavy() || (system::register() && system::heavy());
    if !passed {
        STATE.store(REFUSED, Ordering::Relaxed);
    }
    passed
}

/// Restores sequential consistency where interleavings are explored: `loom` treats such accesses as
/// acquire and release. Elsewhere, the accesses suffice.
#[inline]
pub(crate) fn sequential() {
    #[cfg(any(loom, shuttle))]
    crate::primitive::atomic::fence(Ordering::SeqCst);
}

/// Makes heavy barriers be refused from now on, for scenarios that need it.
#[cfg(any(loom, shuttle))]
pub(crate) use system::refuse;

#[cfg(not(any(loom, shuttle, miri)))]
#[inline]
#[expect(clippy::disallowed_methods, reason = "the light one of the pair")]
fn compiler_barrier() {
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
}

#[cfg(all(
    any(target_os = "linux", target_os = "android"),
    not(any(loom, shuttle, miri))
))]
mod system {
    pub(super) use super::compiler_barrier as light;

    // From `linux/membarrier.h`.
    const PRIVATE_EXPEDITED: i32 = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;

    pub(super) fn register() -> bool {
        is_allowed() && membarrier(REGISTER_PRIVATE_EXPEDITED)
    }

    #[cfg(target_os = "linux")]
    fn is_allowed() -> bool {
        true
    }

    /// Returns whether the call is allowed. Before Android 10, an app's system-call filter ends the
    /// process, where others refuse the call.
    #[cfg(target_os = "android")]
    fn is_allowed() -> bool {
        let mut level = [0_u8; libc::PROP_VALUE_MAX as usize];
        let name = c"ro.build.version.sdk";
        // SAFETY: a name that ends with a null, and room for the longest value.
        let len = unsafe { libc::__system_property_get(name.as_ptr(), level.as_mut_ptr().cast()) };
        let digits = usize::try_from(len).ok().and_then(|len| level.get(..len));
        let text = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        text.and_then(|text| text.parse().ok()) >= Some(29_u32)
    }

    pub(super) fn heavy() -> bool {
        membarrier(PRIVATE_EXPEDITED)
    }

    #[expect(clippy::disallowed_methods, reason = "the heavy one of the pair")]
    fn membarrier(command: i32) -> bool {
        // SAFETY: it takes no pointers, and changes nothing but how this process is scheduled.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

#[cfg(all(windows, not(any(loom, shuttle, miri))))]
mod system {
    pub(super) use super::compiler_barrier as light;

    pub(super) fn register() -> bool {
        true
    }

    #[expect(clippy::disallowed_methods, reason = "the heavy one of the pair")]
    pub(super) fn heavy() -> bool {
        // SAFETY: it takes nothing and returns nothing.
        unsafe { windows_sys::Win32::System::Threading::FlushProcessWriteBuffers() };
        true
    }
}

#[cfg(not(any(
    windows,
    target_os = "linux",
    target_os = "android",
    loom,
    shuttle,
    miri
)))]
mod system {
    pub(super) use super::compiler_barrier as light;

    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn heavy() -> bool {
        false
    }
}

/// Full fences on both sides give the same guarantee, and can be explored.
#[cfg(any(loom, shuttle, miri))]
mod system {
    use crate::primitive::atomic::{AtomicBool, Ordering, fence};
    use crate::primitive::explored_static;

    explored_static!(REFUSES: AtomicBool = AtomicBool::new(false));

    #[cfg(any(loom, shuttle))]
    pub(crate) fn refuse() {
        REFUSES.store(true, Ordering::Relaxed);
    }

    pub(super) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(super) fn register() -> bool {
        !REFUSES.load(Ordering::Relaxed)
    }

    pub(super) fn heavy() -> bool {
        let passes = !REFUSES.load(Ordering::Relaxed);
        if passes {
            fence(Ordering::SeqCst);
        }
        passes
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, shuttle, miri))))]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "asks what the system has")]
    fn there_are_barriers_where_the_system_has_them() {
        const QUERY: i32 = 0;
        const PRIVATE_EXPEDITED: libc::c_long = 1 << 3;
        // SAFETY: it takes no pointers, and changes nothing.
        let answer = unsafe { libc::syscall(libc::SYS_membarrier, QUERY, 0, 0) };
        let has_them = answer > 0 && answer & PRIVATE_EXPEDITED != 0;
        assert_eq!(register(), has_them);
        assert_eq!(heavy(), has_them);
        assert_eq!(
            is_registered(),
            has_them,
            "a barrier that passed shuts nothing"
        );
    }
}
