//! A worker: the process that measures, in one placement of its code, what `compare` asks for.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use crate::protocol::Request;

/// What an answer is written to.
pub type Answers = io::StdoutLock<'static>;

/// What stops a worker.
pub type Failed = Box<dyn Error>;

/// Answers the request that is the only argument.
pub fn run(answer: impl FnOnce(&Request, &mut Answers) -> Result<(), Failed>) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let request = match arguments.as_slice() {
        [request] => serde_json::from_str(request).ok(),
        _ => None,
    };
    let Some(request) = request else {
        eprintln!("worker: it is run by `compare`, with a request in JSON");
        return ExitCode::from(2);
    };
    match answer(&request, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes each, as soon as it was measured.
///
/// # Errors
///
/// If nobody reads them any more.
pub fn write<T: Serialize>(
    measured: impl Iterator<Item = T>,
    answers: &mut Answers,
) -> Result<(), Failed> {
    for one in measured {
        writeln!(answers, "{}", serde_json::to_string(&one)?)?;
    }
    Ok(())
}
