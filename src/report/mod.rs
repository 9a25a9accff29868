//! What handlers report, and to whom: panics, slow calls, numbers.

pub(crate) mod callback;
pub(crate) mod id;
pub(crate) mod panic;
pub(crate) mod reporting;
pub(crate) mod scope;
