//! The program: what it prints, how it ends, and that it does.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};

use crate::support::{PROGRAM, Server, free_port, wait_for};

#[test]
fn the_demonstration_ends_well() {
    let Some(server) = Server::start() else {
        return;
    };
    let output = run(&[], &server.url());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    let report = "heard there: pings: 3, 0 doubled; pongs: 3, 0 doubled; lost: 0\n";
    assert!(printed.ends_with(report), "{printed}");
}

#[test]
fn without_redis_one_line_says_where_it_was_looked_for() {
    let address = format!("127.0.0.1:{}", free_port());
    let line = refusal(run(&[], &format!("redis://user:secret@{address}")));
    assert!(line.contains(&address), "{line}");
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn a_password_is_used_and_never_printed() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut connection = server.client().get_connection().expect("the server is up");
    let mut command = redis::cmd("CONFIG");
    let set = command.arg(&["SET", "requirepass", "secret"]).exec(&mut connection);
    set.expect("it has a password");

    let output = run(&[], &server.url().replace("//", "//:secret@"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!format!("{output:?}").contains("secret"), "{output:?}");
    refusal(run(&[], &server.url()));
    let line = refusal(run(&[], &server.url().replace("//", "//:secretive@")));
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = mute.local_addr().expect("it has an address").to_string();
    let line = refusal(run(&[], &format!("redis://{address}")));
    let why = format!("{address}: it does not answer");
    assert!(line.contains(&why), "{line}");
}

#[test]
fn what_it_does_not_understand_it_says_in_one_line() {
    let line = refusal(run(&["--bogus"], "redis://127.0.0.1"));
    assert!(line.contains("--bogus") && line.contains("usage"), "{line}");
    let line = refusal(run(&[], "http://user:secret@127.0.0.1"));
    assert!(
        line.contains("REDIS_URL") && !line.contains("secret"),
        "{line}"
    );
}

fn run(args: &[&str], url: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).env("REDIS_URL", url).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // What it prints fits into a pipe.
    wait_for("the program to end", || {
        child.try_wait().expect("it is ours").is_some()
    });
    child.wait_with_output().expect("it has ended")
}

/// The one line by which the program refuses.
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}
