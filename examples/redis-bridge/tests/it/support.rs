//! What the tests have in common: servers, waits that end, and lines that are always seen.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redis::Client;
use redis_bridge::peer::Tally;
use redis_bridge::{Bridge, Topics};
use tempfile::TempDir;
use topic_registry::HandlerGuard;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_redis-bridge");

/// After that, what is waited for has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A `redis-server` that keeps nothing, and ends with its test.
pub(crate) struct Server {
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts one, unless none is installed.
    pub(crate) fn start() -> Option<Self> {
        let version = Command::new("redis-server").arg("--version").output();
        if version.is_err_and(|why| why.kind() == ErrorKind::NotFound) {
            say("skipped: there is no redis-server on the PATH");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let mut server = Self {
            port: free_port(),
            dir,
            child: None,
        };
        server.restart();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> Client {
        Client::open(self.url()).expect("an address")
    }

    /// Kills it: nobody is told.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let client = self.client();
        wait_for("redis-server to answer", || {
            // It ends by itself if somebody else has the port for a moment.
            let is_up = client.get_connection_with_timeout(PATIENCE).is_ok();
            self.is_running() && is_up
        });
    }

    fn is_running(&mut self) -> bool {
        let child = self.child.get_or_insert_with(|| {
            let port = self.port.to_string();
            let mut command = Command::new("redis-server");
            command.args(["--port", &port, "--bind", "127.0.0.1"]);
            command.args(["--save", "", "--appendonly", "no"]);
            command.current_dir(self.dir.path()).stdout(Stdio::null());
            command.spawn().expect("redis-server starts")
        });
        let is_running = child.try_wait().expect("it is ours").is_none();
        if !is_running {
            self.child = None;
        }
        is_running
    }

    /// `STOP` makes it hang, `CONT` go on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.expect("there is kill").success());
    }

    /// How many connections have subscribed to the channel.
    pub(crate) fn subscribers(&self, channel: &str) -> u64 {
        let mut connection = self.client().get_connection().expect("the server is up");
        let mut command = redis::cmd("PUBSUB");
        let answer = command.arg("NUMSUB").arg(channel).query(&mut connection);
        let (_, count): (String, u64) = answer.expect("an answer");
        count
    }

    /// How many connections there are, with the one that asks.
    pub(crate) fn clients(&self) -> usize {
        let mut connection = self.client().get_connection().expect("the server is up");
        let list = redis::cmd("CLIENT").arg("LIST").query(&mut connection);
        let list: String = list.expect("an answer");
        list.lines().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn connect(server: &Server, topics: &Topics) -> Bridge {
    Bridge::connect(&server.client(), topics).expect("the server is up")
}

/// Counts what is heard on a topic.
pub(crate) fn tally(topics: &Topics, key: &str) -> (Arc<Tally>, HandlerGuard) {
    let tally = Arc::new(Tally::default());
    let heard = Arc::clone(&tally);
    (
        tally,
        topics.register_guard(key, move |text| heard.count(text)),
    )
}

/// A port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Prints a line that is seen of tests that pass, too: only what the macros print is captured.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
