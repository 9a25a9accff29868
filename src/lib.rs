#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod batch;
mod cell;
mod concurrency;
#[cfg(any(loom, shuttle))]
mod double;
#[cfg(feature = "async")]
mod future;
mod guard;
mod id;
mod join;
mod list;
mod panic;
mod registry;
mod slot;
mod sync;
mod topic;

pub use batch::Batch;
#[cfg(feature = "async")]
pub use future::{
    AsyncFlavor, AsyncRegistry, AsyncTopicHandle, AsyncTopicRegistry, BorrowingHandler,
};
pub use guard::HandlerGuard;
pub use id::HandlerId;
pub use join::{JoinError, Joinable};
pub use panic::{PanicInfo, PanicOrigin};
pub use registry::{Delivery, Flavor, HandlerInfo, Registry};
pub use sync::{Pinned, SyncFlavor, SyncRegistry, TopicHandle, TopicRegistry};
pub use topic::{Handle, Key, Topics};
