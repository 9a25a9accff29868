//! The example `hot_reload` of the library, with a page that shows its topics.
//!
//! ```text
//! cargo run -p topic-registry-inspect --example hot_reload -- --inspect PATH
//! cargo run -p topic-registry-inspect --example hot_reload -- --inspect=127.0.0.1:7000 PATH
//! ```
//!
//! It is here and not there because the library would have to depend on this crate, which depends on
//! the library: what is packaged of the two would not fit together.

mod arguments;
#[path = "../../hot_reload.rs"]
#[allow(dead_code, reason = "it has a `main` of its own")]
mod hot_reload;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use topic_registry_inspect::{Inspector, Reports};

fn main() -> ExitCode {
    let show = |path: &PathBuf| path.display().to_string();
    let reports = Reports::new();
    let of_slow = reports.clone();
    let topics = hot_reload::Topics::builder()
        .count_calls()
        .on_slow(Duration::from_millis(5), move |path, handler, time| {
            of_slow.add_slow_call(&show(path), handler, time);
        })
        .build();
    let of_panics = reports.clone();
    // It has a callback already, and there is only one: so this one calls both.
    topics.on_panic(move |path, info| {
        hot_reload::print_panic(path, info);
        of_panics.add_panic(&show(path), info);
    });
    let inspector = Inspector::new().watch_by("files", &topics, show).reports("files", &reports);
    let mut args = env::args_os().skip(1).collect();
    match arguments::inspect(&mut args, inspector) {
        Ok(_guard) => {
            let args: Vec<_> = args.into_iter().map(PathBuf::from).collect();
            hot_reload::run(topics, &args)
        }
        Err(status) => status,
    }
}
