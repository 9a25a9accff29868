//! How handlers are called: the flavors, each with its own signatures.

#[cfg(feature = "async")]
pub(crate) mod future;
pub(crate) mod hook;
mod inline;
pub(crate) mod pin;
#[cfg(feature = "async")]
mod poll;
pub(crate) mod sync;
