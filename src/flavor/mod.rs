//! How handlers are called: the flavors, each with its own signatures.
#![allow(
    private_bounds,
    private_interfaces,
    reason = "the traits are sealed: outside the crate nobody can name what is in them"
)]

#[cfg(feature = "async")]
pub(crate) mod future;
pub(crate) mod hook;
mod inline;
pub(crate) mod pin;
#[cfg(feature = "async")]
mod poll;
pub(crate) mod sync;
