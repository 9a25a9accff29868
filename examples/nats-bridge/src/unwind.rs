//! [`guarded`]: runs code of the user, which may panic, on a thread that has to go on.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns what the code returns, or `None` if it panics.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Option<R> {
    let outcome = catch_unwind(AssertUnwindSafe(code));
    let forget = |payload| {
        // The destructor of a payload may panic, too; that of its payload is not run.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        dropped.unwrap_or_else(std::mem::forget);
    };
    outcome.map_err(forget).ok()
}
