//! A demonstration: two processes that exchange messages through NATS, and end.
//!
//! ```text
//! cargo run --release -p topic-registry-nats
//! NATS_URL=nats://user:password@host:4222 cargo run --release -p topic-registry-nats
//! ```

#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Lines, Write};
use std::process::{self, Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{env, fmt};

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::runtime::{Builder, Runtime};
use topic_registry::TopicRegistry;
use topic_registry_nats::{Bridge, Options, Text};

const USAGE: &str = "usage: topic-registry-nats (it takes no arguments, but NATS_URL)";

/// The argument that makes the program the other process, which answers each `ping` by a `pong` of
/// the same text.
const PEER: &str = "--peer";

/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

type Topics = TopicRegistry<String, str>;
/// A bridge, and a runtime to wait for it.
struct Link(Bridge<String, str, Text>, Runtime);

fn main() -> ExitCode {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let talk: fn(&Arc<Link>, &Topics) -> Result<(), String> = match args.as_slice() {
        [] => demonstrate,
        [arg] if arg == PEER => answer,
        [arg] if arg == "--help" => {
            return print(USAGE).map_or_else(|why| fail(1, &why), |()| ExitCode::SUCCESS);
        }
        [first, ..] => return fail(2, &format!("{first:?} is not an option; {USAGE}")),
    };
    let topics = Topics::new();
    let link = match connect(&topics) {
        Ok(link) => Arc::new(link),
        Err(why) => return fail(2, &why),
    };
    match talk(&link, &topics) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(1, &why),
    }
}

/// Connects to the server that the user has chosen. An error message does not contain the password.
fn connect(topics: &Topics) -> Result<Link, String> {
    let url = env::var_os("NATS_URL").unwrap_or_else(|| "nats://127.0.0.1:4222".into());
    let url = url.to_string_lossy();
    if url.trim().is_empty() {
        return Err("NATS_URL is empty; unset it, or let it be an address".into());
    }
    let servers: Result<Vec<ServerAddr>, _> = url.split(',').map(|it| it.trim().parse()).collect();
    let servers = servers.map_err(|why| format!("NATS_URL holds no address: {why}"))?;
    let hosts = servers.iter().map(|it| format!("{}:{}", it.host(), it.port()));
    let hosts = hosts.collect::<Vec<_>>().join(", ");

    let mut options = Options::default();
    options.client = servers.iter().fold(options.client, authenticate);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| format!("cannot start a runtime: {why}"))?;
    let bridge = runtime.block_on(Bridge::connect(servers, topics, Text, options));
    let why =
        |why| format!("no NATS server at {hosts}: {why}; start nats-server there, or set NATS_URL");
    Ok(Link(bridge.map_err(why)?, runtime))
}

/// Takes user and password, or a token, from an address: the client does not.
fn authenticate(options: ConnectOptions, server: &ServerAddr) -> ConnectOptions {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    match (server.username().map(decode), server.password().map(decode)) {
        (Some(user), Some(password)) => options.user_and_password(user, password),
        (Some(token), None) => options.token(token),
        (None, _) => options,
    }
}

fn settle(Link(bridge, runtime): &Link) -> Result<(), String> {
    let settled = runtime.block_on(bridge.settled(PATIENCE));
    settled.map_err(|why| format!("the bridge is not settled: {why}"))
}

/// Sends some questions to the other process, and prints the results.
fn demonstrate(link: &Arc<Link>, topics: &Topics) -> Result<(), String> {
    let (sender, answers) = mpsc::channel();
    let _guards = [
        topics.register_guard("ping", |text| {
            // If nobody reads that, the next line of the main thread ends the program.
            let _ = print(&format!("  here:  {text:?} on \"ping\""));
        }),
        topics.register_guard("pong", move |text| {
            let _ = print(&format!("  there: {text:?} on \"pong\""));
            // If it comes too late, it has no receiver any more.
            let _ = sender.send(text.to_owned());
        }),
    ];
    settle(link)?;
    let peer = Peer::start()?;
    let (here, there) = (process::id(), peer.child.id());
    print(&format!("two processes: {here} here, {there} there"))?;
    for question in ["one", "two", "three"] {
        let asked = Instant::now();
        let published = link.0.publish("ping", question);
        let late = |why| format!("no answer to {question:?}: {why} ({published:?})");
        let answer = answers.recv_timeout(PATIENCE).map_err(late)?;
        if answer != question {
            return Err(format!("{question:?} was answered by {answer:?}"));
        }
        print(&format!("  there and back in {:?}", asked.elapsed()))?;
    }
    print(&format!("heard there: {}", peer.end()?))
}

/// Runs the other process, until stdin ends, which also happens if its parent dies.
fn answer(link: &Arc<Link>, topics: &Topics) -> Result<(), String> {
    let heard = Arc::new(Tally::default());
    let (tally, answers) = (Arc::clone(&heard), Arc::clone(link));
    let guard = topics.register_guard("ping", move |text| {
        tally.count(text);
        // The result is counted.
        let _ = answers.0.publish("pong", text);
    });
    settle(link)?;
    print("ready")?;
    let end = io::copy(&mut io::stdin(), &mut io::sink());
    end.map_err(|why| format!("cannot read stdin: {why}"))?;
    // Now all answers are at the server, or were lost by an outage, which the first call may be
    // about. The guard is dropped last, so that waiting messages are still handled.
    settle(link).or_else(|_| settle(link))?;
    drop(guard);
    print(&format!("{heard}; {:?}", link.0.counts()))
}

/// The other process, as seen from this one.
struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts the other process, and returns when it has subscribed. It gives up by itself if it
    /// cannot.
    fn start() -> Result<Self, String> {
        let program = env::current_exe().map_err(|why| format!("cannot find myself: {why}"))?;
        let mut command = Command::new(&program);
        command.arg(PEER);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let why = |why| format!("cannot start {}: {why}", program.display());
        let mut child = command.spawn().map_err(why)?;
        let stdout = child.stdout.take().ok_or("it has no stdout")?;
        let lines = BufReader::new(stdout).lines();
        let mut peer = Self { child, lines };
        peer.line("that it has subscribed")?;
        Ok(peer)
    }

    /// Ends the process. Returns what it has received.
    fn end(mut self) -> Result<String, String> {
        drop(self.child.stdin.take());
        self.line("what it has heard")
    }

    fn line(&mut self, what: &str) -> Result<String, String> {
        let line = self.lines.next().and_then(Result::ok);
        line.ok_or_else(|| format!("the other process did not say {what}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts of the received texts, and of those that are numbers and not higher than the one before.
#[derive(Default)]
struct Tally {
    heard: AtomicU64,
    disordered: AtomicU64,
    next: AtomicU64,
}

impl Tally {
    /// Counts a text. Only called on the bridge's thread.
    fn count(&self, text: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let Ok(number) = text.parse::<u64>() else {
            return;
        };
        let next = self.next.swap(number + 1, Ordering::Relaxed);
        let is_disordered = u64::from(number < next);
        self.disordered.fetch_add(is_disordered, Ordering::Relaxed);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (heard, disordered) = (&self.heard, &self.disordered);
        let [heard, disordered] = [heard, disordered].map(|it| it.load(Ordering::Relaxed));
        write!(f, "heard: {heard}, disordered: {disordered}")
    }
}

/// Prints a line. If nobody reads stdout any more, there is nothing to say about it.
fn print(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|why| match why.kind() {
        io::ErrorKind::BrokenPipe => String::new(),
        _ => format!("cannot write to stdout: {why}"),
    })
}

fn fail(status: u8, why: &str) -> ExitCode {
    if why.is_empty() {
        return ExitCode::from(status);
    }
    // One line, whatever a server sends; if stderr is closed, the message is lost.
    let _ = writeln!(io::stderr(), "{}", why.replace(['\r', '\n'], " "));
    ExitCode::from(status)
}
