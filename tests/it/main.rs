//! The guarantees, by subject. Behaviours that flavors and topics share are written once,
//! as a function over `subjects::Subject`, and run over each of them.

mod batch;
mod deadlocks;
mod described;
#[cfg(feature = "async")]
mod doors;
#[cfg(feature = "async")]
mod futures;
mod held;
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
#[cfg(feature = "metrics")]
mod measured;
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
mod subjects;
mod support;
mod topics;
#[cfg(feature = "tracing")]
mod traced;
mod until;
mod unwind;
mod wait;
#[cfg(feature = "async")]
mod wakes;
mod weak;
