//! As the linker of a worker: links it as it comes, and then the same objects in other orders.
//!
//! Where the linker puts functions makes one of a few nanoseconds up to a third faster or slower.
//! So each worker is there in several placements; only the link differs, which takes no time
//! beside the compiler's.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{fs, io};

/// So many orders there are, with the one that comes by itself.
pub(crate) const PLACEMENTS: usize = 9;

const ASKS: &str = "--placements=";

/// The argument to `rustc` that has this program link into the directory as well.
pub(crate) fn asking_for(directory: &Path) -> OsString {
    let mut argument = OsString::from(format!("-Clink-arg={ASKS}"));
    argument.push(directory);
    argument
}

/// Returns the directory, if this program is run as a linker.
pub(crate) fn asked_for(arguments: &[OsString]) -> Option<PathBuf> {
    let mut directories = arguments.iter().filter_map(|argument| directory(argument));
    directories.next().map(PathBuf::from)
}

/// Returns where a placement is. All but the first may be missing: not every linker can put
/// functions into another order.
pub(crate) fn placement(directory: &Path, at: usize) -> PathBuf {
    directory.join(at.to_string())
}

/// Links what `rustc` wants to be linked, and each placement.
pub(crate) fn run(arguments: &[OsString], directory: &Path) -> ExitCode {
    let arguments: Vec<&OsString> = arguments
        .iter()
        .filter(|argument| self::directory(argument).is_none())
        .collect();
    match link(&arguments, directory) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare, as a linker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn directory(argument: &OsStr) -> Option<&str> {
    argument.to_str()?.strip_prefix(ASKS)
}

/// Whether it could be linked as it comes.
fn link(arguments: &[&OsString], directory: &Path) -> io::Result<bool> {
    // What the last build left would be taken for this one's.
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    if !linker(arguments).status()?.success() {
        return Ok(false);
    }
    // Of two outputs the last one counts.
    let output = |at| placement(directory, at);
    let mut plain = linker(arguments);
    if !plain.arg("-o").arg(output(0)).status()?.success() {
        return Ok(false);
    }
    for seed in 1..PLACEMENTS {
        let mut shuffled = linker(arguments);
        shuffled
            .arg(format!("-Wl,--shuffle-sections=.text.*={seed}"))
            .arg("-o")
            .arg(output(seed))
            .stderr(Stdio::null());
        if !shuffled.status()?.success() {
            break;
        }
    }
    Ok(true)
}

fn linker(arguments: &[&OsString]) -> Command {
    let mut linker = Command::new("cc");
    linker.args(arguments);
    linker
}
