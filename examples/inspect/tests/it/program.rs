//! The program: what it prints, and how it ends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::{fd::OwnedFd, unix::net::UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::{env, thread};

use crate::support::{PATIENCE, Topics, serve, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_topic-registry-inspect");

fn run(args: &[&str]) -> Output {
    run_program(PROGRAM.into(), args)
}

fn run_program(program: PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // What it prints fits into a pipe.
    wait_for("the program to end", || {
        child.try_wait().expect("it is ours").is_some()
    });
    child.wait_with_output().expect("it has ended")
}

/// The line in which it says what is wrong.
fn refusal(output: Output, status: i32) -> String {
    let errors = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(
        (output.status.code(), errors.lines().count()),
        (Some(status), 1),
        "{errors}"
    );
    errors
}

#[test]
fn it_prints_the_topics_of_a_running_program() {
    let topics = Topics::new();
    for _ in 0..3 {
        topics.register("config.reload", |_| {});
    }
    let _unheard = topics.handle("nobody\x1b[2J hears");
    let guard = serve(&topics);
    let output = run(&[&guard.url()]);
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(0), 0),
        "{text}"
    );
    let line = |start: &str| text.lines().find(|line| line.starts_with(start));
    let bus = line("bus").expect(&text).split_whitespace().collect::<Vec<_>>();
    assert_eq!(bus, ["bus", "3", "+0", "-", "-", "-", "-", "2", "1", "0"]);
    assert!(
        line("config.reload").expect(&text).contains(" 3 "),
        "{text}"
    );
    assert!(line(r"nobody\u{1b}[2J hears (unheard)").is_some(), "{text}");
    assert!(text.contains("program.rs:"), "{text}");

    let output = run(&[&format!("{}/?filter=reload", guard.url())]);
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert!(
        text.contains("config.reload") && !text.contains("nobody"),
        "{text}"
    );
}

#[test]
fn it_watches_until_the_other_program_ends() {
    let topics = Topics::new();
    topics.register("a", |_| {});
    let guard = serve(&topics);
    let mut command = Command::new(PROGRAM);
    command
        .args(["--watch", &guard.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    wait_for("two tables", || {
        let read = stdout.read(&mut buffer).expect("it prints");
        text.extend_from_slice(&buffer[..read]);
        text.windows(8).filter(|window| *window == b"REGISTRY").count() >= 2
    });
    drop(guard);
    wait_for("the program to end", || {
        child.try_wait().expect("it is ours").is_some()
    });
    let line = refusal(child.wait_with_output().expect("it has ended"), 1);
    assert!(line.contains("no topics at http://127.0.0.1:"), "{line}");
}

#[test]
fn what_it_does_not_understand_it_says_in_one_line() {
    for (args, part) in [
        (&[] as &[&str], "usage"),
        (&["--bogus"], "--bogus"),
        (&["http://127.0.0.1:1", "more"], "more"),
        (&["127.0.0.1:6670"], "127.0.0.1:6670"),
        (&["https://127.0.0.1"], "http://"),
        (&["http://127.0.0.1:1"], "http://127.0.0.1:1"),
    ] {
        let line = refusal(run(args), 2);
        assert!(line.contains(part), "{line}");
    }
    let guard = serve(&Topics::new());
    let line = refusal(run(&[&format!("{}/?sort=color", guard.url())]), 2);
    assert!(line.contains("color"), "{line}");
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

/// A server that answers everything with this document.
fn answers(body: &str) -> SocketAddr {
    let body = body.to_owned();
    answers_by(move |_| body.clone())
}

/// A server that answers each request with what `answer` makes of it.
fn answers_by(mut answer: impl FnMut(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it has one");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("somebody comes");
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let body = answer(&String::from_utf8_lossy(&request[..length]));
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

#[test]
fn a_document_of_another_version_is_told_from_none() {
    let line = refusal(
        run(&[&format!("http://{}", answers(r#"{"version":2}"#))]),
        2,
    );
    assert!(
        line.contains("version 2") && line.contains("version 1"),
        "{line}"
    );
    let hostile = "<html>\x1b[2J\r\n";
    let line = refusal(run(&[&format!("http://{}", answers(hostile))]), 2);
    assert!(line.contains("not an inspector"), "{line}");
}

/// A document without registries, which says that it has found nothing.
fn document_since(since: u64, topics: &str) -> String {
    format!(
        r#"{{"version":1,"program":"p","pid":1,"taken":{since},"since":{since},"registries":[],
        "places":[],"places_found":0,"counts":{{"all":0,"unheard":0,"grown":0,"panicked":0}},
        "found":0,"topics":[{topics}],"open":[],"reports":[]}}"#
    )
}

#[test]
fn a_document_that_contradicts_itself_is_printed() {
    let topic = r#"{"id":"1","registry":"bus","key":"k","handles":0,"panics":0,"unheard":false,
        "handlers":1,"paused":0,"grown":null,"calls":null}"#;
    let output = run(&[&format!("http://{}", answers(&document_since(1, topic)))]);
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(0), 0),
        "{text}"
    );
    assert!(text.contains("bus: k") && !text.contains("more"), "{text}");
}

#[test]
fn a_watch_that_the_server_does_not_know_compares_anew() {
    let (asked, asks) = mpsc::channel();
    let mut since = 0;
    let address = answers_by(move |request| {
        since += 1;
        let _ = asked.send(request.lines().next().unwrap_or_default().to_owned());
        document_since(since, "")
    });
    let mut command = Command::new(PROGRAM);
    command.args(["--watch", &format!("http://{address}")]).stdout(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let lines: Vec<_> =
        (0..3).map(|_| asks.recv_timeout(PATIENCE).expect("it asks in time")).collect();
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    for (line, since) in lines.iter().zip(["since=new", "since=1&", "since=2&"]) {
        assert!(line.contains(since), "{since}: {lines:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_stdout_that_is_closed_ends_it_without_a_word() {
    let guard = serve(&Topics::new());
    let (reader, writer) = UnixStream::pair().expect("two sockets");
    drop(reader);
    let mut command = Command::new(PROGRAM);
    let output = command
        .arg(guard.url())
        .stdout(OwnedFd::from(writer))
        .stderr(Stdio::piped())
        .output();
    let output = output.expect("it runs");
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(1), 0),
        "{output:?}"
    );
}

/// The examples are built with the tests.
fn example(name: &str) -> PathBuf {
    let this = env::current_exe().expect("it is a file");
    let dir = this.parent().and_then(|deps| deps.parent()).expect("it is in `deps`");
    dir.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

#[test]
fn an_example_whose_port_is_taken_says_so_in_one_line() {
    let guard = serve(&Topics::new());
    for (address, part) in [
        (guard.address().to_string(), "is taken"),
        ("nowhere".into(), "no address"),
        ("0.0.0.0:0".into(), "other machines"),
    ] {
        for name in ["per_user_topics_live", "hot_reload_live"] {
            let line = refusal(
                run_program(example(name), &[&format!("--inspect={address}")]),
                2,
            );
            assert!(
                line.contains(part) && line.contains(&address),
                "{name}: {line}"
            );
        }
    }
}
