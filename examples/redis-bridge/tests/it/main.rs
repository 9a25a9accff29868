//! The bridge against real servers: each test starts a `redis-server` of its own.
//!
//! Where none is installed, they are skipped, and say so.

mod exchange;
mod handlers;
mod interest;
mod outage;
mod program;
mod support;
