//! The program: what it prints, how it ends, and that it does.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{PROGRAM, Server, free_port, wait_for};

#[test]
fn the_demonstration_ends_well() {
    let Some(server) = Server::start() else {
        return;
    };
    let start = Instant::now();
    let output = run(&[], &server.url());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    let report = printed.lines().last().expect("it prints");
    assert!(
        report.starts_with("heard there: heard: 3, disordered: 0; "),
        "{printed}"
    );
    assert!(
        report.contains("sent: 3, dropped: 0, received: 3, missed: 0"),
        "{printed}"
    );
}

#[test]
fn the_demonstration_ends_well_beside_a_monitor() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut monitor = server.stranger();
    monitor.send("SUB > 1\r\nSUB _INBOX.> 2\r\n");
    monitor.settle();
    let output = run(&[], &server.url());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_stdout_that_is_closed_or_full_ends_it_without_a_backtrace() {
    let Some(server) = Server::start() else {
        return;
    };
    for args in [&[] as &[&str], &["--help"]] {
        // A pipe that nobody reads.
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let output = run_into(writer, args, &server.url());
        assert_eq!(
            (output.status.code(), output.stderr.len()),
            (Some(1), 0),
            "{output:?}"
        );
        if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
            let output = run_into(full, args, &server.url());
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let errors = String::from_utf8(output.stderr).expect("it prints text");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert!(errors.contains("stdout"), "{errors}");
        }
    }
}

#[test]
fn without_a_server_one_line_says_where_it_was_looked_for() {
    let address = format!("127.0.0.1:{}", free_port());
    let line = refusal(run(&[], &format!("nats://user:secret@{address}")));
    assert!(line.contains(&address), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn a_password_is_used_and_never_printed() {
    let Some(server) = Server::start_with(&["--user", "me", "--pass", "secret"], "") else {
        return;
    };
    let output = run(&[], &server.url().replace("//", "//me:secret@"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!format!("{output:?}").contains("secret"), "{output:?}");
    refusal(run(&[], &server.url()));
    let line = refusal(run(&[], &server.url().replace("//", "//me:secretive@")));
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn a_server_that_speaks_something_else_is_refused() {
    for greeting in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = other.local_addr().expect("it has an address").to_string();
        thread::spawn(move || {
            for stream in other.incoming() {
                let mut stream = stream.expect("somebody comes");
                stream.write_all(greeting.as_bytes()).expect("it is there");
                thread::spawn(move || {
                    thread::sleep(Duration::from_secs(10));
                    drop(stream);
                });
            }
        });
        let line = refusal(run(&[], &format!("nats://{address}")));
        assert!(line.contains(&address), "{line}");
    }
}

#[test]
fn what_it_does_not_understand_it_says_in_one_line() {
    let line = refusal(run(&["--bogus"], "nats://127.0.0.1"));
    assert!(line.contains("--bogus") && line.contains("usage"), "{line}");
    let line = refusal(run(&[], "http://user:secret@127.0.0.1"));
    assert!(
        line.contains("NATS_URL") && !line.contains("secret"),
        "{line}"
    );
    for url in ["", " "] {
        let line = refusal(run(&[], url));
        assert!(line.contains("NATS_URL is empty"), "{line}");
    }
}

fn run(args: &[&str], url: &str) -> Output {
    run_into(Stdio::piped(), args, url)
}

fn run_into(stdout: impl Into<Stdio>, args: &[&str], url: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).env("NATS_URL", url).stdin(Stdio::null());
    command.stdout(stdout).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // What it prints fits into a pipe.
    wait_for("the program to end", || {
        child.try_wait().expect("it is ours").is_some()
    });
    child.wait_with_output().expect("it has ended")
}

/// The line in which the program says what is wrong.
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let errors = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}
