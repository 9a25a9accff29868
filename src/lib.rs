// Targets of the README's links in this documentation: of two definitions, the first one counts.
//! [`TopicRegistry<K, E>`]: TopicRegistry
//! [`TopicHandle<K, E>`]: TopicHandle
//! [`SyncRegistry<E>`]: SyncRegistry
//! [`HookRegistry<H>`]: HookRegistry
//! [`HookTopicRegistry<K, H>`]: HookTopicRegistry
//! [`Pinned`]: Pinned
//! [`HandlerGuard`]: HandlerGuard
//! [`JoinGuard`]: JoinGuard
//! [`WeakRegistry`]: WeakRegistry
//! [`WeakTopics`]: WeakTopics
//! [`register_once`]: SyncRegistry::register_once
//! [`register_until`]: RegisterOptions::register_until
//! [`register_interceptor`]: RegisterOptions::register_interceptor
//! [`update`]: Registry::update
//! [`pause`]: Registry::pause
//! [`wait_for`]: Registry::wait_for
//! [`record`]: Registry::record
//! [`notify_with`]: SyncRegistry::notify_with
//! [`observe_interest`]: Topics::observe_interest
//! [`observe_handler_limit`]: Topics::observe_handler_limit
//! [`on_slow`]: TopicsBuilder::on_slow
//! [nested]: crate::guide#re-entrancy
//! [hooks]: crate::guide#hooks
//! [wasm]: crate::guide#compiler-errors
//! [plugins]: crate::guide#plugins
//! [Guide]: crate::guide
//! [Patterns]: crate::patterns
//! [Reliability]: crate::reliability
//! [Performance]: crate::performance
//! [Design]: crate::design
//! [Examples]: https://docs.rs/crate/topic-registry/latest/source/examples/
//! [Security]: https://docs.rs/crate/topic-registry/latest/source/SECURITY.md
//! [Contributing]: https://docs.rs/crate/topic-registry/latest/source/CONTRIBUTING.md
// The pictures are not part of the documentation. This is an empty image.
//! [inspect]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
//! [plot]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
// The README's async snippet is only tested with the feature that it needs.
#![cfg_attr(any(not(doctest), feature = "async"), doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "fast-lane"), forbid(unsafe_code))]
#![deny(unsafe_code)]
#![allow(
    private_bounds,
    private_interfaces,
    reason = "in sealed traits: outside the crate nobody can name them"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// What `clippy.toml` reserves for single files. It applies to this crate, not to its tests and
// examples.
#![warn(clippy::disallowed_macros)]
#![warn(clippy::disallowed_methods)]
#![warn(clippy::disallowed_types)]

/// [patterns]: crate::patterns
/// [performance]: crate::performance
/// [reliability]: crate::reliability
#[cfg(any(doc, all(doctest, feature = "async")))]
#[doc = include_str!("../docs/GUIDE.md")]
pub mod guide {}
#[cfg(any(doc, all(doctest, feature = "async")))]
#[doc = include_str!("../docs/PATTERNS.md")]
pub mod patterns {}
/// [protocols]: https://docs.rs/crate/topic-registry/latest/source/tests/protocols/README.md
/// [plugins]: crate::guide#plugins
/// [recipes]: crate::guide#recipes
#[cfg(doc)]
#[doc = include_str!("../docs/RELIABILITY.md")]
pub mod reliability {}
/// [notify]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
/// [churn]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
/// [threads]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
/// [bytes]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
#[cfg(doc)]
#[doc = include_str!("../docs/PERFORMANCE.md")]
pub mod performance {}
/// [Reliability]: crate::reliability
/// [Performance]: crate::performance
/// [Contributing]: https://docs.rs/crate/topic-registry/latest/source/CONTRIBUTING.md
#[cfg(doc)]
#[doc = include_str!("../docs/DESIGN.md")]
pub mod design {}

mod flavor;
mod handler;
mod join;
mod primitive;
mod registry;
mod report;
mod snapshot;
mod telemetry;
mod topics;
mod wait;

pub use equivalent::Equivalent;
#[cfg(feature = "async")]
pub use flavor::future::{
    AsyncFlavor, AsyncRegistry, AsyncTopicHandle, AsyncTopicRegistry, BorrowingHandler,
    WeakAsyncRegistry, WeakAsyncTopicRegistry,
};
pub use flavor::hook::{
    Hook, HookFlavor, HookRegistry, HookTopicHandle, HookTopicRegistry, Owned, WeakHookRegistry,
    WeakHookTopicRegistry,
};
pub use flavor::pin::Pinned;
pub use flavor::sync::{
    SyncFlavor, SyncRegistry, TopicHandle, TopicRegistry, WeakSyncRegistry, WeakTopicRegistry,
};
pub use handler::delivery::Delivery;
pub use handler::flavor::{Flavor, SharedFlavor};
pub use handler::guard::{HandlerGuard, Paused};
pub use join::{JoinError, JoinGuard};
pub use registry::Registry;
pub use registry::batch::Batch;
pub use registry::options::RegisterOptions;
pub use registry::weak::WeakRegistry;
pub use report::id::{Calls, HandlerId, HandlerInfo};
pub use report::panic::{PanicInfo, PanicOrigin};
pub use topics::builder::TopicsBuilder;
pub use topics::interest::Interest;
pub use topics::observers::ObserverGuard;
pub use topics::table::Key;
pub use topics::weak::WeakTopics;
pub use topics::{Handle, TopicInfo, Topics};
pub use wait::WaitFor;
pub use wait::mailbox::WaitError;
pub use wait::record::Recorder;

/// The bound of the last parameter of [`RegisterOptions`].
pub mod returns {
    pub use crate::registry::options::Returns;
}

#[cfg(doctest)]
#[doc = include_str!("../tests/escapes.md")]
mod escapes {}

/// Functions that the scenarios of `loom` and `shuttle` need in addition to the API.
#[cfg(all(any(loom, shuttle), feature = "fast-lane"))]
#[doc(hidden)]
pub mod explored {
    /// Makes the system refuse heavy barriers from now on.
    pub fn refuse_barriers() {
        crate::snapshot::barrier::refuse();
    }
}
