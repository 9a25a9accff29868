#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/GUIDE.md")]
pub mod guide {}
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/PATTERNS.md")]
pub mod patterns {}

mod batch;
mod builder;
mod cell;
mod concurrency;
mod crowd;
#[cfg(any(loom, shuttle))]
mod double;
#[cfg(feature = "async")]
mod future;
mod guard;
mod id;
mod interest;
mod join;
mod list;
mod panic;
mod registry;
mod slot;
mod sync;
mod telemetry;
mod topic;
mod turnstile;

pub use batch::Batch;
pub use builder::Builder;
#[cfg(feature = "async")]
pub use future::{
    AsyncFlavor, AsyncRegistry, AsyncTopicHandle, AsyncTopicRegistry, BorrowingHandler,
};
pub use guard::HandlerGuard;
pub use id::HandlerId;
pub use interest::Interest;
pub use join::{JoinError, Joinable};
pub use panic::{PanicInfo, PanicOrigin};
pub use registry::{Delivery, Flavor, HandlerInfo, Registry};
pub use sync::{Pinned, SyncFlavor, SyncRegistry, TopicHandle, TopicRegistry};
pub use topic::{Handle, Key, TopicInfo, Topics};
