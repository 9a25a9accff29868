//! The bridge against real servers: each test starts a `nats-server` of its own, or several.
//!
//! Where none is installed, they are skipped, and say so.

mod alone;
mod cluster;
mod exchange;
mod handlers;
mod input;
mod interest;
mod log;
mod outage;
mod program;
mod rough;
mod settled;
mod storm;
mod strangers;
mod subjects;
mod support;
