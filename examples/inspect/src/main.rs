//! Prints the topics of a running program, which an `Inspector` serves.
//!
//! ```text
//! topic-registry-inspect http://127.0.0.1:6670
//! topic-registry-inspect --watch 'http://127.0.0.1:6670/?filter=user&sort=grown'
//! ```

#![forbid(unsafe_code)]

mod table;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use serde_json::Value;
use topic_registry_inspect::json::{Document, VERSION};
use ureq::Agent;
use ureq::http::Uri;

const USAGE: &str = "usage: topic-registry-inspect [--watch] URL, such as http://127.0.0.1:6670; \
     the URL takes the parameters of the page: ?filter=user&sort=grown";

/// The limits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: u64 = 64 << 20;
/// Rates are of the time between two answers.
const EVERY: Duration = Duration::from_secs(1);

/// What the arguments say.
struct Options {
    is_watching: bool,
    url: String,
}

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    if args.iter().any(|arg| arg == "--help") {
        return end(print(USAGE).map_err(|why| (1, why)));
    }
    let options = match parse(&args) {
        Ok(options) => options,
        Err(why) => return end(Err((2, why))),
    };
    end(run(&options))
}

/// Runs until everything is printed. Returns the status, and what is wrong.
fn run(options: &Options) -> Result<(), (u8, String)> {
    // The machine itself is asked, not a proxy that the environment names.
    let agent = Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None);
    let agent = agent.http_status_as_error(false).build().new_agent();
    // The first one has no rates: there is nothing to compare with.
    let first = fetch(&agent, &options.url, "new").map_err(|why| (2, why))?;
    let mut since = since_of(&first);
    if !options.is_watching && first.registries.iter().all(|it| it.sum.calls.is_none()) {
        return print(&table::of(&first)).map_err(|why| (1, why));
    }
    let is_terminal = io::stdout().is_terminal();
    loop {
        thread::sleep(EVERY);
        let document = fetch(&agent, &options.url, &since).map_err(|why| (1, why))?;
        since = since_of(&document);
        let text = table::of(&document);
        // Clears the screen, from its top.
        let start = if options.is_watching && is_terminal {
            "\x1b[H\x1b[2J"
        } else {
            ""
        };
        print(&format!("{start}{text}")).map_err(|why| (1, why))?;
        if !options.is_watching {
            return Ok(());
        }
    }
}

/// What the next answer is compared with. It is another one if the server no longer knows the last.
fn since_of(document: &Document) -> String {
    document.since.unwrap_or(document.taken).to_string()
}

fn parse(args: &[impl AsRef<str>]) -> Result<Options, String> {
    let (mut is_watching, mut url) = (false, None);
    for arg in args {
        match arg.as_ref() {
            "--watch" => is_watching = true,
            arg if arg.starts_with('-') => {
                return Err(format!("{arg:?} is not an option; {USAGE}"));
            }
            arg if url.is_none() => url = Some(document_url(arg)?),
            arg => return Err(format!("{arg:?} is one argument too many; {USAGE}")),
        }
    }
    let url = url.ok_or_else(|| USAGE.to_owned())?;
    Ok(Options { is_watching, url })
}

/// Returns the address of the document, from that of the page.
fn document_url(given: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("{given:?} is no address such as http://127.0.0.1:6670: {why}");
    let uri: Uri = given.parse().map_err(|why| wrong(&format!("{why}")))?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong("it does not begin with http://"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
    if !matches!(uri.path(), "/" | "/topics.json") {
        return Err(wrong("there is no such page"));
    }
    // Of the page's address, which has it from its start on.
    let query = uri.query().unwrap_or_default().split('&');
    let query: String = query
        .filter(|it| !it.starts_with("since=") && !it.is_empty())
        .flat_map(|parameter| [parameter, "&"])
        .collect();
    Ok(format!("http://{authority}/topics.json?{query}"))
}

/// Fetches the document. The numbers of those since then are compared with.
fn fetch(agent: &Agent, url: &str, since: &str) -> Result<Document, String> {
    let limit = if url.contains("limit=") {
        ""
    } else {
        "&limit=20"
    };
    let at = url.split("/topics.json").next().unwrap_or(url);
    let wrong = |why: &dyn std::fmt::Display| format!("no topics at {at}: {why}");
    let mut response = agent
        .get(format!("{url}since={since}{limit}"))
        .call()
        .map_err(|why| wrong(&why))?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_string();
    let body = body.map_err(|why| wrong(&why))?;
    let value: Value = serde_json::from_str(&body).map_err(|_| {
        wrong(&format!(
            "it is not an inspector that answers (status {status})"
        ))
    })?;
    match value["version"].as_u64() {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(wrong(&format!(
                "it speaks version {version}, and this program only version {VERSION}: \
                 install topic-registry-inspect of that program's version"
            )));
        }
        None => return Err(wrong(&"what answers is not an inspector")),
    }
    if let Some(error) = value["error"].as_str() {
        return Err(wrong(&error));
    }
    serde_json::from_value(value).map_err(|why| wrong(&why))
}

fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    let outcome = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    outcome.map_err(|why| match why.kind() {
        // Nobody reads stdout any more: there is nothing to say about it.
        ErrorKind::BrokenPipe => String::new(),
        _ => format!("cannot write to stdout: {why}"),
    })
}

fn end(outcome: Result<(), (u8, String)>) -> ExitCode {
    let Err((status, why)) = outcome else {
        return ExitCode::SUCCESS;
    };
    if !why.is_empty() {
        // One line, whatever a server says; if stderr is closed, the message is lost.
        let _ = writeln!(io::stderr(), "{}", table::safe(&why));
    }
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_page_leads_to_its_document() {
        for (given, expected) in [
            (
                "http://127.0.0.1:6670",
                "http://127.0.0.1:6670/topics.json?",
            ),
            (
                "http://127.0.0.1:6670/",
                "http://127.0.0.1:6670/topics.json?",
            ),
            (
                "http://[::1]:1/?filter=a&since=5&sort=key",
                "http://[::1]:1/topics.json?filter=a&sort=key&",
            ),
        ] {
            assert_eq!(document_url(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for given in [
            "",
            "x",
            "127.0.0.1:6670",
            "https://127.0.0.1",
            "http://",
            "http://a b",
            "http://h/x",
        ] {
            let why = document_url(given).expect_err(given);
            assert!(
                why.starts_with(&format!("{given:?} is no address")),
                "{why}"
            );
        }
    }
}
