//! Numbers that only need to be unique: nothing is published through them, so there is nothing to
//! explore.
#![cfg_attr(loom, expect(clippy::disallowed_types, reason = "not explored"))]

use super::source::plain::atomic::{AtomicU64, Ordering};

pub(crate) struct Serials(AtomicU64);

impl Serials {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
