//! The server against clients that are hostile, broken or many.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::support::{Topics, connect, document, get, send, serve, wait_for};

#[test]
fn a_request_for_another_host_gets_403() {
    let guard = serve(&Topics::new());
    for path in ["/", "/topics.json", "/script.js", "/none"] {
        for host in [
            "evil.example",
            "evil.example:6670",
            "localhost.evil.example",
        ] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
            let answer = send(guard.address(), &request);
            assert_eq!(answer.status, 403, "{host}{path}");
            assert!(!answer.body.contains("bus"), "{}", answer.body);
        }
    }
    let request = "GET /topics.json HTTP/1.0\r\n\r\n";
    assert_eq!(send(guard.address(), request).status, 403, "no host");
    let origin =
        "GET /topics.json HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\n\r\n";
    let answer = send(guard.address(), origin);
    assert_eq!(answer.status, 403, "another origin");
    assert!(!answer.head.contains("access-control"), "{}", answer.head);
    let tunnel = "GET /topics.json HTTP/1.1\r\nhost: localhost:8000\r\n\r\n";
    assert_eq!(
        send(guard.address(), tunnel).status,
        200,
        "a port that is forwarded"
    );
}

#[test]
fn everything_but_a_get_gets_405() {
    let guard = serve(&Topics::new());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let head = format!("{method} /topics.json HTTP/1.1\r\nhost: localhost\r\n");
        let answer = send(guard.address(), &format!("{head}content-length: 0\r\n\r\n"));
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    let answer = send(
        guard.address(),
        "HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    );
    assert_eq!((answer.status, &*answer.body), (200, ""));
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let guard = serve(&Topics::new());
    for (path, kind) in [
        ("/", "text/html"),
        ("/script.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/icon.svg", "image/svg+xml"),
        ("/topics.json", "application/json"),
    ] {
        let answer = get(guard.address(), path);
        assert_eq!(answer.status, 200, "{path}");
        for header in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; script-src 'self'; ",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(
                answer.head.contains(header),
                "{path}: {header}: {}",
                answer.head
            );
        }
        let own = answer.body.matches("://").count();
        let names = answer.body.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(own, names, "{path} names another host");
        assert!(!answer.body.contains("innerHTML"), "{path}");
    }
    assert_eq!(get(guard.address(), "/../Cargo.toml").status, 404);
}

#[test]
fn a_request_that_never_ends_is_dropped() {
    let guard = serve(&Topics::new());
    let start = Instant::now();
    thread::scope(|scope| {
        for request in ["", "GET", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
            let address = guard.address();
            scope.spawn(move || trickle(address, request));
        }
        // An answer that is never read.
        let mut deaf = connect(guard.address());
        deaf.write_all(b"GET /topics.json HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .expect("it listens");
        assert_eq!(document(&guard, "").found, 0);
        scope.spawn(move || wait_for_end(deaf));
    });
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

/// Sends a byte of another header now and then, until the connection ends.
fn trickle(address: SocketAddr, request: &str) {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it listens");
    if request.is_empty() {
        return wait_for_end(stream);
    }
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("it is a time");
    wait_for("a connection to be dropped", || {
        match stream.read(&mut [0; 1024]) {
            Ok(length) => length == 0,
            Err(why) if is_late(&why) => stream.write_all(b"x").is_err(),
            Err(_) => true,
        }
    });
}

fn is_late(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn wait_for_end(mut stream: TcpStream) {
    let mut all = Vec::new();
    // By an end or by an error, but not by the time-out of the read.
    if let Err(why) = stream.read_to_end(&mut all) {
        assert!(
            !matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{why}"
        );
    }
}

#[test]
fn requests_that_are_none_or_too_long_end_the_connection() {
    let guard = serve(&Topics::new());
    for request in [
        "hello\r\n\r\n".to_owned(),
        format!(
            "GET /?{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "x".repeat(100_000)
        ),
        format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
            "a: b\r\n".repeat(5000)
        ),
    ] {
        let mut stream = connect(guard.address());
        // It may have hung up before the end.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    assert_eq!(get(guard.address(), "/").status, 200);
}

/// Whether this process is the other one of the test below.
const IS_SERVER: &str = "TOPIC_REGISTRY_INSPECT_TEST_SERVER";

/// Not a test: what the next one starts as a process of its own, whose memory it looks at.
#[test]
#[ignore = "the other process of a test"]
fn serves_for_another_process() {
    if env::var_os(IS_SERVER).is_none() {
        return;
    }
    let topics = Topics::new();
    for number in 0..100 {
        topics.register(format!("topic.{number}"), |_| {});
    }
    let guard = serve(&topics);
    println!("serving at {}", guard.address());
    // Until the other process closes it.
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

struct Other(Child, SocketAddr);

impl Other {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().expect("it is a file"));
        command.args([
            "--exact",
            "server::serves_for_another_process",
            "--ignored",
            "--nocapture",
        ]);
        command.env(IS_SERVER, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let address = |line: String| line.split_once("serving at ")?.1.parse().ok();
        let address = lines.map_while(Result::ok).find_map(address).expect("it serves");
        Self(child, address)
    }

    /// Returns how many files it has open, and its memory in KiB.
    fn usage(&self) -> (usize, u64) {
        let dir = format!("/proc/{}", self.0.id());
        let files = fs::read_dir(format!("{dir}/fd")).expect("it runs").count();
        let status = fs::read_to_string(format!("{dir}/status")).expect("it runs");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        (files, memory.expect("it has memory"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_connections_at_once_neither_crash_nor_grow_it() {
    let other = Other::start();
    let warm: Vec<_> = (0..64).map(|_| connect(other.1)).collect();
    assert_eq!(get(other.1, "/topics.json").status, 200);
    drop(warm);
    let (files, memory) = other.usage();
    for round in 0..3 {
        let mut streams = Vec::new();
        for number in 0..1000 {
            let mut stream = connect(other.1);
            // Some ask, some begin to, some say nothing.
            let text = [
                "GET /topics.json HTTP/1.1\r\nhost: localhost\r\n\r\n",
                "GET /",
                "",
            ];
            let _ = stream.write_all(text[number % 3].as_bytes());
            streams.push(stream);
        }
        assert_eq!(get(other.1, "/topics.json").status, 200, "round {round}");
        let (now, grown) = other.usage();
        assert!(
            now <= files.max(20) + 70,
            "{now} files are open, {files} before"
        );
        assert!(grown < memory + 8 * 1024, "{grown} KiB, {memory} before");
    }
    wait_for("the connections to end", || other.usage().0 <= files);
}
