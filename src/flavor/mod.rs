//! How handlers are called: the flavors, each with its own signatures.

// The documentation lists methods in the order of the modules: first what most users look for.
pub(crate) mod sync;

#[cfg(feature = "async")]
pub(crate) mod future;
pub(crate) mod hook;
mod inline;
pub(crate) mod pin;
#[cfg(feature = "async")]
mod poll;
