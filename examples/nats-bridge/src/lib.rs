// Where links of the README lead to from here: of two definitions the first one counts.
//! [escaped]: escape
//! [counted]: Counts
//! [`Codec`]: Codec
//! [`Text`]: Text
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bridge;
mod codec;
mod event;
mod network;
mod number;
mod options;

pub use async_nats;
pub use bridge::{Bridge, Remote, TooLarge};
pub use codec::*;
pub use event::{Counts, Event};
pub use options::{Options, escape};
