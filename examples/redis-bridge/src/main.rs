//! Two processes that talk through Redis, and end.
//!
//! ```text
//! cargo run --release -p redis-bridge
//! REDIS_URL=redis://user:password@host:6379 cargo run --release -p redis-bridge
//! ```

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, process};

use redis::Client;
use redis_bridge::peer::{self, Peer};
use redis_bridge::{Bridge, Topics};

const USAGE: &str = "usage: redis-bridge (it takes no arguments, but REDIS_URL)";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let talk: fn(&Arc<Bridge>, &Topics) -> Result<(), String> = match args.as_slice() {
        [] => demonstrate,
        [arg] if arg == peer::OPTION => peer::run,
        [arg] if arg == "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [first, ..] => return fail(2, &format!("{first:?} is not an option; {USAGE}")),
    };
    let topics = Topics::new();
    let bridge = match connect(&topics) {
        Ok(bridge) => Arc::new(bridge),
        Err(why) => return fail(2, &why),
    };
    match talk(&bridge, &topics) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(1, &why),
    }
}

/// Asks the other process a few things, and tells what comes of it.
fn demonstrate(bridge: &Arc<Bridge>, topics: &Topics) -> Result<(), String> {
    let (answer, answers) = mpsc::channel();
    let _guards = [
        topics.register_guard("ping", |text| println!("  here:  \"{text}\" on \"ping\"")),
        topics.register_guard("pong", move |text| {
            println!("  there: \"{text}\" on \"pong\"");
            // Nobody waits for it if it comes too late.
            let _ = answer.send(text.to_owned());
        }),
    ];
    bridge.settle(PATIENCE)?;
    let program = env::current_exe().map_err(|why| format!("cannot find myself: {why}"))?;
    let other = Peer::start(&program, &url())?;
    let (here, there) = (process::id(), other.id());
    println!("two processes: {here} here, {there} there");
    for question in ["one", "two", "three"] {
        let asked = Instant::now();
        let published = bridge.publish("ping", question);
        let late = |why| format!("no answer to {question:?}: {why} ({published:?})");
        let answer = answers.recv_timeout(PATIENCE).map_err(late)?;
        if answer != question {
            return Err(format!("{question:?} was answered by {answer:?}"));
        }
        println!("  there and back in {:?}", asked.elapsed());
    }
    println!("heard there: {}", other.end()?);
    Ok(())
}

/// A bridge over the Redis that the user means; or why there is none, without their password.
fn connect(topics: &Topics) -> Result<Bridge, String> {
    let client = Client::open(url()).map_err(|why| format!("REDIS_URL is no address: {why}"))?;
    let help = |why| format!("{why}; start redis-server there, or set REDIS_URL");
    Bridge::connect(&client, topics).map_err(help)
}

fn url() -> String {
    match env::var_os("REDIS_URL") {
        Some(url) => url.to_string_lossy().into_owned(),
        None => "redis://127.0.0.1:6379".to_owned(),
    }
}

fn fail(status: u8, why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(status)
}
