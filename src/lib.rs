#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "fast-lane"), forbid(unsafe_code))]
#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/GUIDE.md")]
pub mod guide {}
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/PATTERNS.md")]
pub mod patterns {}

#[cfg(feature = "fast-lane")]
mod barrier;
mod batch;
mod builder;
mod cell;
mod concurrency;
mod crowd;
mod delivery;
#[cfg(any(loom, shuttle))]
mod double;
#[cfg(feature = "async")]
mod future;
mod guard;
mod id;
mod interest;
mod join;
#[cfg_attr(not(feature = "fast-lane"), path = "no_lane.rs")]
mod lane;
mod list;
mod panic;
mod registry;
mod slot;
mod sync;
mod table;
mod telemetry;
mod topic;
mod turnstile;

pub use batch::Batch;
pub use builder::Builder;
pub use delivery::Delivery;
#[cfg(feature = "async")]
pub use future::{
    AsyncFlavor, AsyncRegistry, AsyncTopicHandle, AsyncTopicRegistry, BorrowingHandler,
};
pub use guard::HandlerGuard;
pub use id::HandlerId;
pub use interest::Interest;
pub use join::{JoinError, Joinable};
pub use panic::{PanicInfo, PanicOrigin};
pub use registry::{Flavor, HandlerInfo, Registry};
pub use sync::{Pinned, SyncFlavor, SyncRegistry, TopicHandle, TopicRegistry};
pub use topic::{Handle, Key, TopicInfo, Topics};

/// What scenarios of `loom` and `shuttle` need beside the API.
#[cfg(all(any(loom, shuttle), feature = "fast-lane"))]
#[doc(hidden)]
pub mod explored {
    /// Has the system refuse heavy barriers from now on.
    pub fn refuse_barriers() {
        crate::barrier::refuse();
    }
}
