//! Measures ours and the peers, in several placements of the same code and in two profiles, and
//! says what came of it.
//!
//! ```text
//! cargo run --release -p benches --bin compare                 # also rewrites docs/PERFORMANCE.md
//! cargo run --release -p benches --bin compare -- --only TEXT  # rows that contain it; writes nothing
//! cargo run --release -p benches --bin compare -- --quick      # rougher, and writes nothing
//! ```

mod link;
mod plots;
mod programs;
mod report;
mod session;
mod table;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use session::Session;

/// What stops a run.
type Failed = Box<dyn Error>;

/// How much is measured.
enum Extent {
    Full,
    /// In full, but only the rows whose name contains this.
    Only(String),
    Quick,
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    // `rustc` runs this program as its linker.
    if let Some(directory) = link::asked_for(&arguments) {
        return link::run(&arguments, &directory);
    }
    let Some(extent) = extent(&arguments) else {
        eprintln!("usage: compare [--quick | --only TEXT]");
        return ExitCode::from(2);
    };
    match compare(&extent) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("compare: no row has that in its name");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn extent(arguments: &[OsString]) -> Option<Extent> {
    match arguments {
        [] => Some(Extent::Full),
        [quick] if quick == "--quick" => Some(Extent::Quick),
        [only, text] if only == "--only" => Some(Extent::Only(text.to_str()?.into())),
        _ => None,
    }
}

/// Whether there was anything to measure.
fn compare(extent: &Extent) -> Result<bool, Failed> {
    let start = Instant::now();
    let (session, only) = match extent {
        Extent::Full => {
            report::check()?;
            (Session::full()?, "")
        }
        Extent::Only(text) => (Session::full()?, text.as_str()),
        Extent::Quick => (Session::quick()?, ""),
    };
    let rows = session.rows(only)?;
    if rows.is_empty() {
        return Ok(false);
    }
    report::print(&rows);
    if matches!(extent, Extent::Full) {
        let curves = session.curves()?;
        report::print_nanoseconds(&curves);
        report::write(&rows, &curves)?;
        plots::draw(&curves)?;
    }
    eprintln!(
        "{} placements, {:.0?}",
        session.placements(),
        start.elapsed()
    );
    Ok(true)
}
