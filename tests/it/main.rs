//! The guarantees, by subject. Behaviours that flavors and topics share are written once,
//! as a function over `support::Subject`, and run over each of them.

mod batch;
#[cfg(feature = "async")]
mod futures;
mod hooks;
mod interceptors;
mod interest;
mod isolation;
mod joins;
mod keys;
#[cfg(feature = "async")]
mod lazily;
mod listings;
mod locks;
mod observers;
mod once;
mod options;
mod order;
mod panics;
mod pause;
mod pins;
mod record;
mod registration;
mod removal;
mod runs;
mod slow;
mod support;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod telemetry;
mod topics;
mod until;
mod unwind;
mod wait;
mod weak;
