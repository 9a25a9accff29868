//! What handlers report, and to whom: panics, slow calls, numbers.

pub(crate) mod id;
pub(crate) mod monitor;
pub(crate) mod panic;
pub(crate) mod reporting;
pub(crate) mod scope;
