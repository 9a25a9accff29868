//! The bridge against real servers: each test starts a `nats-server` of its own, or several.
//!
//! Where none is installed, they are skipped, and say so.

mod cluster;
mod exchange;
mod handlers;
mod input;
mod interest;
mod log;
mod outage;
mod program;
mod settled;
mod strangers;
mod subjects;
mod support;
