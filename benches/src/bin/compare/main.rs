//! Measures ours and the peers in turn, in one process, and says what came of it.
//!
//! ```text
//! cargo run --release -p benches --bin compare             # also rewrites docs/PERFORMANCE.md
//! cargo run --release -p benches --bin compare -- --quick  # rougher, and writes nothing
//! ```

mod bytes;
mod cases;
mod measure;
mod plots;
mod report;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use indicatif::ProgressBar;

use cases::{Case, Row};
use measure::Plan;

#[global_allocator]
static ALLOCATOR: bytes::Counting = bytes::Counting;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let (plan, topics) = match arguments.as_slice() {
        [] => (Plan::FULL, 1_000_000),
        [only] if only == "--quick" => (Plan::QUICK, 100_000),
        _ => {
            eprintln!("usage: compare [--quick]");
            return ExitCode::from(2);
        }
    };
    let rows = measured(&cases::all(), &plan, topics);
    report::print(&rows);
    if arguments.is_empty() {
        if let Err(error) = publish(&rows) {
            eprintln!("compare: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn publish(rows: &[Row]) -> Result<(), Box<dyn Error>> {
    report::write(rows)?;
    plots::draw()
}

/// The cases that are timed, then those that are weighed.
fn measured(cases: &[Case], plan: &Plan, topics: u64) -> Vec<Row> {
    let bar = ProgressBar::new(cases.len() as u64);
    let timed = bar.wrap_iter(cases.iter()).map(|case| case.measure(plan));
    let mut rows: Vec<Row> = timed.collect();
    bar.finish_and_clear();
    rows.extend(cases::weigh(topics));
    rows
}
