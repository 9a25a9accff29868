//! An in-process event registry. Components register closures under a key; a producer notifies the
//! key, and every closure is called, on the producer's thread, in order of priority. A closure that
//! panics does not affect the others.
//!
//! ```
//! use topic_registry::TopicRegistry;
//!
//! let topics = TopicRegistry::<String, u32>::new();
//! topics.on_panic(|topic, info| eprintln!("{topic}: {info:?}"));
//!
//! // A handler is a `Fn(&E) + Send + Sync + 'static`. This one stays as long as its guard.
//! let _guard = topics.register_guard("config.reload", |version| println!("now at {version}"));
//!
//! let handle = topics.handle("config.reload"); // look the key up once ...
//! assert_eq!(handle.notify(&7).called(), 1); // ... then no hash, no lock, no allocation
//! ```
//!
//! # The types
//!
//! Start with [`TopicRegistry<K, E>`](TopicRegistry): topics of one event type, found by key. For a
//! single topic, which needs no key, that is [`SyncRegistry<E>`](SyncRegistry).
//!
//! | to | there is |
//! |---|---|
//! | notify one topic again and again | [`TopicHandle`], which has all that [`SyncRegistry`] has; in a loop, [`Pinned`] |
//! | set a priority or a name, get a guard, stop a dispatch, run once | [`RegisterOptions`], from [`options`](Topics::options) |
//! | remove a handler | its [`HandlerGuard`], its [`HandlerId`], or its [`JoinGuard`], which also waits for its calls |
//! | change several handlers at once; silence one | [`Batch`], from [`update`](Registry::update); [`Paused`], from [`pause`](Registry::pause) |
//! | know what a notification did | the [`Delivery`] that it returns; [`PanicInfo`], from [`on_panic`](Registry::on_panic) |
//! | wait for an event; record events, for tests | [`WaitFor`], from [`wait_for`](Registry::wait_for); [`Recorder`], from [`record`](Registry::record) |
//! | see who listens | [`HandlerInfo`] and its [`Calls`], from [`handlers`](Registry::handlers); [`TopicInfo`], from [`topics`](Topics::topics); [`Interest`] |
//! | own a reference that keeps nothing alive | [`WeakTopicRegistry`], [`WeakSyncRegistry`] |
//! | name a registry, count calls, find slow handlers | [`TopicsBuilder`], from [`builder`](Topics::builder) |
//! | find a composite key by borrowed parts | [`Equivalent`] |
//!
//! # Sync, hooks, or async
//!
//! | your handlers | use | are called with |
//! |---|---|---|
//! | look at the event | [`TopicRegistry`], [`SyncRegistry`] | `&E` |
//! | change it, or it borrows | [`HookTopicRegistry`], [`HookRegistry`] | `&mut H::Event<'_>` |
//! | await something | [`AsyncTopicRegistry`], [`AsyncRegistry`] | `&E` |
//!
//! All of these are [`Topics`] or [`Registry`], with one flavor or another: what is documented
//! there holds for each of them.
//!
//! # Features
//!
//! | feature | default | adds | costs |
//! |---|---|---|---|
//! | `fast-lane` | yes | notifications without a locked instruction, where the system has process-wide barriers; by key, without a lock | `libc` or `windows-sys`; `unsafe` code, in four files. Without it, the crate forbids `unsafe` |
//! | `async` | | handlers that return futures, for any runtime | `futures-util` |
//! | `tracing` | | events for panics, slow calls, topics | `tracing`; nothing per notification |
//! | `metrics` | | gauges and counters of topics, handlers, panics, slow calls | `metrics`; nothing per notification |
//!
//! # Read on
//!
//! The [guide] goes from the first topic to what a service needs; it has [recipes](guide#recipes),
//! the [compiler's errors](guide#compiler-errors), and [how to migrate](guide#migrating).
//! [Patterns](patterns) are larger uses. [Reliability](reliability) lists the guarantees and what
//! attacks each, [performance] what a call costs, [platforms] where it runs, [stability] what a
//! later version may change, and [design] how it is built. The [examples] run.
//!
//! [examples]: https://docs.rs/crate/topic-registry/latest/source/examples/
#![cfg_attr(
    not(feature = "async"),
    doc = "[`AsyncTopicRegistry`]: https://docs.rs/topic-registry/latest/topic_registry/type.AsyncTopicRegistry.html",
    doc = "[`AsyncRegistry`]: https://docs.rs/topic-registry/latest/topic_registry/type.AsyncRegistry.html"
)]
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

/// The guide: from the first topic to a service, compiler errors, recipes, migrating.
///
/// [patterns]: crate::patterns
/// [performance]: crate::performance
/// [platforms]: crate::platforms
/// [reliability]: crate::reliability
#[cfg(any(doc, all(doctest, feature = "async")))]
#[doc = include_str!("../docs/GUIDE.md")]
pub mod guide {}

/// Seven larger uses, each complete enough to start from.
///
#[cfg(any(doc, all(doctest, feature = "async")))]
#[doc = include_str!("../docs/PATTERNS.md")]
pub mod patterns {}

/// The guarantees, which tests attack each of them, and the limits that remain.
///
/// [protocols]: https://docs.rs/crate/topic-registry/latest/source/tests/protocols/README.md
/// [plugins]: crate::guide#plugins
/// [recipes]: crate::guide#recipes
/// [soak]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
#[cfg(doc)]
#[doc = include_str!("../docs/RELIABILITY.md")]
pub mod reliability {}

/// What a call costs, how that grows, and where others are faster.
///
/// [notify]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
/// [churn]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
/// [threads]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
/// [bytes]: data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
#[cfg(doc)]
#[doc = include_str!("../docs/PERFORMANCE.md")]
pub mod performance {}

/// What version 1 freezes, what it may change, and what is exempt.
///
/// [Reliability]: crate::reliability
/// [Performance]: crate::performance
/// [Platforms]: crate::platforms
#[cfg(doc)]
#[doc = include_str!("../docs/STABILITY.md")]
pub mod stability {}

/// Where it runs, and what was tested there: systems, `wasm`, `panic = "abort"`, `fork`, signals.
///
/// [Reliability]: crate::reliability
/// [Performance]: crate::performance
/// [wasm]: crate::guide#compiler-errors
/// [plugins]: crate::guide#plugins
#[cfg(doc)]
#[doc = include_str!("../docs/PLATFORMS.md")]
pub mod platforms {}

/// How the crate is built, and which file to change for what.
///
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

// Documents of which only the snippets are of use here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
#[cfg(doctest)]
#[doc = include_str!("../tests/escapes.md")]
mod escapes {}
#[cfg(all(doctest, feature = "async"))]
#[doc = include_str!("../tests/migration.md")]
mod migration {}

/// Functions that the scenarios of `loom` and `shuttle` need in addition to the API.
#[cfg(all(any(loom, shuttle), feature = "fast-lane"))]
#[doc(hidden)]
pub mod explored {
    /// Makes the system refuse heavy barriers from now on.
    pub fn refuse_barriers() {
        crate::snapshot::barrier::refuse();
    }
}
