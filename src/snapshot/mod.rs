//! The list of handlers: how it is stored, published and read.

#[cfg(feature = "fast-lane")]
pub(crate) mod barrier;
pub(crate) mod cell;
#[cfg_attr(not(feature = "fast-lane"), path = "no_lane.rs")]
pub(crate) mod lane;
pub(crate) mod list;
