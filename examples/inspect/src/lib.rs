#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod hosts;
mod inspector;
pub mod json;
mod query;
mod reports;
mod sample;
mod sampler;
mod server;
mod view;
mod watched;

pub use inspector::{Error, Inspector, InspectorGuard};
pub use reports::Reports;
pub use watched::Watched;
