#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bridge;
mod codec;
mod event;
mod inbox;
mod network;
mod number;
mod options;

pub use async_nats;
pub use bridge::{Bridge, Remote, TooLarge};
pub use codec::*;
pub use event::{Counts, Event};
pub use options::{Options, escape};
