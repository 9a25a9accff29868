//! What the tests have in common: servers, waits that end, and lines that are always seen.

use std::io::{self, BufRead, BufReader, ErrorKind, Lines, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use topic_registry::{Key, TopicRegistry};
use topic_registry_nats::{Bridge, Codec, Event, Options, Text};

pub(crate) type Topics = TopicRegistry<String, str>;
pub(crate) type TextBridge = Bridge<String, str, Text>;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_topic-registry-nats");

/// After that, what is waited for has hung.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A `nats-server` that keeps nothing, and ends with its test.
pub(crate) struct Server {
    pub(crate) port: u16,
    monitor: u16,
    args: Vec<String>,
    dir: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts one, unless none is installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[], "")
    }

    /// Starts one with more arguments, and with a configuration.
    pub(crate) fn start_with(args: &[&str], config: &str) -> Option<Self> {
        let version = Command::new("nats-server").arg("--version").output();
        if version.is_err_and(|why| why.kind() == ErrorKind::NotFound) {
            say("skipped: there is no nats-server on the PATH");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("config"), config).expect("a file");
        let mut server = Self {
            port: free_port(),
            monitor: free_port(),
            args: args.iter().map(ToString::to_string).collect(),
            dir,
            child: None,
        };
        server.restart();
        Some(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Kills the server, which cannot say goodbye to its clients.
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
        wait_for("nats-server to answer", || {
            // It ends by itself if somebody else has a port for a moment.
            self.is_running() && self.try_monitor("varz").is_ok() && self.greets()
        });
    }

    pub(crate) fn restart_if_stopped(&mut self) {
        if self.child.is_none() {
            self.restart();
        }
    }

    fn is_running(&mut self) -> bool {
        let child = self.child.get_or_insert_with(|| {
            let mut command = Command::new("nats-server");
            command.args(["--addr", "127.0.0.1", "--config", "config"]);
            command.args(["--port", &self.port.to_string()]);
            command.args(["--http_port", &self.monitor.to_string()]);
            command.args(&self.args).current_dir(self.dir.path());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("nats-server starts")
        });
        let is_running = child.try_wait().expect("it is ours").is_none();
        if !is_running {
            self.child = None;
        }
        is_running
    }

    fn greets(&self) -> bool {
        let Ok(stream) = TcpStream::connect(self.address()) else {
            return false;
        };
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO ")
    }

    /// The subjects that clients have subscribed, each once a client, but for those to which they
    /// are answered.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        let page = self.try_monitor("connz?subs=1&limit=10000");
        let page = page.expect("the server is up");
        let connections = page["connections"].as_array().expect("a list");
        let lists = connections.iter().filter_map(|it| it["subscriptions_list"].as_array());
        let subject = |it: &Value| it.as_str().expect("a subject").to_owned();
        let subjects = lists.flatten().map(subject);
        subjects.filter(|it| !it.starts_with("_INBOX.")).collect()
    }

    /// How many connections of clients there are.
    pub(crate) fn connections(&self) -> u64 {
        let page = self.try_monitor("connz").expect("the server is up");
        page["num_connections"].as_u64().expect("a number")
    }

    /// How many other servers of its cluster it is connected to.
    pub(crate) fn routes(&self) -> u64 {
        let page = self.try_monitor("routez").expect("the server is up");
        page["num_routes"].as_u64().expect("a number")
    }

    /// Whether it knows that another server of its cluster has subscribed to this subject.
    pub(crate) fn knows(&self, subject: &str) -> bool {
        let page = self.try_monitor("routez?subs=1").expect("the server is up");
        let routes = page["routes"].as_array().expect("a list");
        let lists = routes.iter().filter_map(|it| it["subscriptions_list"].as_array());
        lists.flatten().any(|it| it == subject)
    }

    fn try_monitor(&self, path: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.monitor))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /{path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok(serde_json::from_str(body)?)
    }

    /// Writes its configuration, for the next start.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("config"), config).expect("a file");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        wait_for("the server to end", || {
            child.try_wait().expect("it is ours").is_some()
        });
    }

    /// Sends a signal to the server.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let mut command = Command::new("kill");
        let status = command.args(["-s", name, &child.id().to_string()]).status();
        assert!(status.expect("there is `kill`").success());
    }

    /// A file in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Connects a program without a bridge.
    pub(crate) fn stranger(&self) -> Stranger {
        let stream = TcpStream::connect(self.address()).expect("the server is up");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
        let mut stranger = Stranger { stream, lines };
        stranger.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n");
        stranger.settle();
        stranger
    }

    /// Publishes as a program without a bridge does; returns when the server has it.
    pub(crate) fn publish(&self, subject: &str, payload: &[u8]) {
        let mut stream = TcpStream::connect(self.address()).expect("the server is up");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut command = b"CONNECT {\"verbose\":false}\r\n".to_vec();
        command.extend(format!("PUB {subject} {}\r\n", payload.len()).bytes());
        command.extend(payload);
        command.extend(b"\r\nPING\r\n");
        stream.write_all(&command).expect("it is sent");
        let mut lines = BufReader::new(stream).lines().map(|line| line.expect("an answer"));
        assert!(lines.any(|line| line == "PONG"), "no answer");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program without a bridge, which may send anything.
pub(crate) struct Stranger {
    stream: TcpStream,
    lines: Lines<BufReader<TcpStream>>,
}

impl Stranger {
    pub(crate) fn send(&mut self, commands: impl AsRef<[u8]>) {
        self.stream.write_all(commands.as_ref()).expect("it is sent");
    }

    /// Sends a message with a header as it is.
    pub(crate) fn send_with(&mut self, subject: &str, header: &str, payload: &str) {
        let total = header.len() + payload.len();
        let line = format!("HPUB {subject} {} {total}\r\n", header.len());
        self.send(format!("{line}{header}{payload}\r\n"));
    }

    /// Waits until the server has what was sent.
    pub(crate) fn settle(&mut self) {
        self.send("PING\r\n");
        self.read_until("PONG");
    }

    /// The lines up to one that begins so.
    pub(crate) fn read_until(&mut self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let hung = |why| panic!("waited for {end:?} after {lines:?}: {why}");
            let line = self.lines.next().expect("it is connected").unwrap_or_else(hung);
            let is_end = line.starts_with(end);
            lines.push(line);
            if is_end {
                return lines;
            }
        }
    }
}

/// The other process: the program, which answers each `ping` by a `pong`.
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts it; returns when it has subscribed.
    pub(crate) fn start(url: &str) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("--peer").env("NATS_URL", url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let peer = Self {
            child,
            stdin,
            lines,
        };
        assert_eq!(peer.line("that it has subscribed"), "ready");
        peer
    }

    /// Ends it; returns what it has heard.
    pub(crate) fn end(mut self) -> Report {
        drop(self.stdin.take());
        let report = Report(self.line("what it has heard"));
        wait_for("the other process to end", || {
            self.child.try_wait().expect("it is ours").is_some()
        });
        report
    }

    /// A line of what the system says of the process, such as `Threads`.
    #[cfg(target_os = "linux")]
    pub(crate) fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.expect("a field").parse().expect("a number")
    }

    fn line(&self, what: &str) -> String {
        let hung = |why| panic!("the other process did not say {what}: {why}");
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(hung)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process says at its end.
#[derive(Debug)]
pub(crate) struct Report(String);

impl Report {
    pub(crate) fn number(&self, name: &str) -> u64 {
        let (_, rest) = self.0.split_once(&format!("{name}: ")).expect("it is there");
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.expect("a number").parse().expect("a number")
    }
}

/// The runtime of all bridges here.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

pub(crate) fn connect(server: &Server, topics: &Topics) -> TextBridge {
    connect_with(server, topics, |_| {})
}

pub(crate) fn connect_with(
    server: &Server,
    topics: &Topics,
    change: impl FnOnce(&mut Options<String>),
) -> TextBridge {
    let mut options = Options::default();
    change(&mut options);
    wait(Bridge::connect(server.url(), topics, Text, options)).expect("the server is up")
}

/// What is heard on a topic.
pub(crate) fn listen(topics: &Topics, key: &str) -> Receiver<String> {
    let (next, heard) = mpsc::channel();
    topics.register(key, move |text| {
        // Who listens may have gone.
        let _ = next.send(text.to_owned());
    });
    heard
}

/// The events of a bridge from now on.
pub(crate) fn events<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    bridge: &Bridge<K, E, C>,
) -> Arc<Mutex<Vec<Event>>> {
    let events = Arc::<Mutex<Vec<_>>>::default();
    let told = Arc::clone(&events);
    bridge.events().register(move |event| told.lock().unwrap().push(event.clone()));
    events
}

/// The tasks on the runtime of the tests.
pub(crate) fn tasks() -> usize {
    RUNTIME.metrics().num_alive_tasks()
}

pub(crate) fn settle<K: Key, E: ?Sized + 'static, C: Codec<E>>(bridge: &Bridge<K, E, C>) {
    wait(bridge.settled(PATIENCE)).expect("the server is up");
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
