//! The program in surroundings that are not those of its author.
#![cfg(unix)]

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn run(args: &[&str], stdout: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_prometheus"));
    // Nobody answers there.
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let start = Instant::now();
    // What it prints fits into a pipe.
    while child.try_wait().expect("it is ours").is_none() {
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} for the program to end"
        );
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended")
}

#[test]
fn it_scrapes_itself_whatever_proxy_there_is_and_whatever_port_it_gets() {
    for args in [&[] as &[&str], &["127.0.0.1:0"]] {
        let output = run(args, Stdio::piped());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = String::from_utf8(output.stdout).expect("it prints text");
        assert!(!printed.contains("127.0.0.1:0"), "{printed}");
        assert!(printed.contains("orders_total 2"), "{printed}");
    }
}

#[test]
fn a_stdout_that_is_closed_or_full_ends_it_without_a_backtrace() {
    let (reader, writer) = UnixStream::pair().expect("two ends");
    drop(reader);
    let output = run(&[], OwnedFd::from(writer));
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(1), 0),
        "{output:?}"
    );
    if let Ok(full) = OpenOptions::new().write(true).open("/dev/full") {
        let output = run(&[], full);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let errors = String::from_utf8(output.stderr).expect("it prints text");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}
