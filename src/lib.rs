#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cell;
mod guard;
mod id;
mod list;
mod panic;
mod registry;
mod slot;
mod sync;
mod topic;

pub use guard::HandlerGuard;
pub use id::HandlerId;
pub use panic::{PanicInfo, PanicOrigin};
pub use registry::{Delivery, Flavor, Registry};
pub use sync::{Pinned, SyncFlavor, SyncRegistry, TopicHandle, TopicRegistry};
pub use topic::{Handle, Key, Topics};
