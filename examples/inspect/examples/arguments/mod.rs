//! The argument `--inspect` of the examples.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use topic_registry_inspect::{Inspector, InspectorGuard};

const ADDRESS: &str = "127.0.0.1:6670";

/// Serves what is watched, if the arguments say `--inspect` or `--inspect=ADDRESS:PORT`, and takes
/// that out. If it cannot, it says why, and returns the status to end with.
pub(crate) fn inspect(
    args: &mut Vec<OsString>,
    inspector: Inspector,
) -> Result<Option<InspectorGuard>, ExitCode> {
    let address = |arg: &OsString| match arg.to_str()? {
        "--inspect" => Some(ADDRESS.to_owned()),
        arg => arg.strip_prefix("--inspect=").map(str::to_owned),
    };
    let found = args.iter().enumerate().find_map(|(at, arg)| Some((at, address(arg)?)));
    let Some((at, address)) = found else {
        return Ok(None);
    };
    args.remove(at);
    let guard = inspector.serve(address).map_err(|why| {
        // If nobody reads stderr, so be it.
        let _ = writeln!(io::stderr(), "{why}");
        ExitCode::from(2)
    })?;
    // Nor stdout.
    let _ = writeln!(io::stdout(), "see {}", guard.url());
    Ok(Some(guard))
}
