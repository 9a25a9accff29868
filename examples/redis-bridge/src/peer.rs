//! The other process: what the demonstration and the tests exchange messages with.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, thread};

use crate::{Bridge, Topics};

/// What makes the program the other process.
pub const OPTION: &str = "--peer";

/// How long it may take to do what it is asked to.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that answers each `ping` with a `pong` of the same text. It listens to both.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    lines: Receiver<String>,
}

/// Which texts were heard, and how many more than once.
#[derive(Debug, Default)]
pub struct Tally {
    heard: Mutex<(HashSet<String>, usize)>,
}

impl Peer {
    /// Starts the program as the other process; returns when that has subscribed.
    ///
    /// # Errors
    ///
    /// If it does not start, or does not come to subscribe.
    pub fn start(program: &Path, url: &str) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg(OPTION).env("REDIS_URL", url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let why = |why| format!("cannot start {}: {why}", program.display());
        let mut child = command.spawn().map_err(why)?;
        let stdout = child.stdout.take().ok_or("it has no stdout")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let peer = Self { child, lines };
        peer.line("that it has subscribed")?;
        Ok(peer)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it; what it has heard, in a sentence.
    ///
    /// # Errors
    ///
    /// If it does not say, because it has ended before.
    pub fn end(mut self) -> Result<String, String> {
        drop(self.child.stdin.take());
        self.line("what it has heard")
    }

    fn line(&self, what: &str) -> Result<String, String> {
        let why = |why| format!("the other process did not say {what}: {why}");
        self.lines.recv_timeout(PATIENCE).map_err(why)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process itself: answers until stdin ends, as it also does if its parent dies.
///
/// # Errors
///
/// If Redis does not confirm that it has subscribed.
pub fn run(bridge: &Arc<Bridge>, topics: &Topics) -> Result<(), String> {
    let (asked, answered) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let (heard, own, answers) = (
        Arc::clone(&asked),
        Arc::clone(&answered),
        Arc::clone(bridge),
    );
    let guards = [
        topics.register_guard("ping", move |text| {
            heard.count(text);
            // What is lost is counted.
            let _ = answers.publish("pong", text);
        }),
        topics.register_guard("pong", move |text| own.count(text)),
    ];
    bridge.settle(PATIENCE)?;
    println!("ready");
    let end = io::copy(&mut io::stdin(), &mut io::sink());
    drop(guards);
    let lost = bridge.lost();
    println!("pings: {asked}; pongs: {answered}; lost: {lost}");
    end.map(drop).map_err(|why| format!("cannot read stdin: {why}"))
}

impl Tally {
    /// Counts a text.
    pub fn count(&self, text: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = heard.0.insert(text.to_owned());
        heard.1 += usize::from(!is_new);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "{}, {} doubled", heard.0.len(), heard.1)
    }
}
