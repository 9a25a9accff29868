//! What a process has, and no longer has when its bridges have ended: threads, sockets, tasks and
//! memory. Each test has a process of its own.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use topic_registry_nats::Remote;

use crate::support::{
    PATIENCE, Server, TextBridge, Topics, connect, connect_with, say, settle, tasks, wait, wait_for,
};

/// How many kilobytes more a process may have: of the allocator's, and of threads.
const SLACK: usize = 4 * 1024;

/// Runs a test in a process of its own, which is this program again.
fn alone(name: &str, test: impl FnOnce()) {
    if env::var_os("ALONE").is_some() {
        return test();
    }
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args([name, "--exact", "--nocapture"])
        .env("ALONE", "1")
        .stdout(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        if start.elapsed() > 4 * PATIENCE {
            let _ = child.kill();
            panic!("{name} has hung");
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{name} has failed, see above");
}

fn kilobytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// Threads, sockets and tasks.
fn possessions() -> (usize, usize, usize) {
    let threads = fs::read_dir("/proc/self/task").expect("Linux").count();
    let links = fs::read_dir("/proc/self/fd").expect("Linux").flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets = links.filter(|link| link.to_string_lossy().starts_with("socket:")).count();
    (threads, sockets, tasks())
}

/// What may be wrong with the server.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    Away,
    Hangs,
    Refuses,
}

const TROUBLES: [Trouble; 4] = [
    Trouble::None,
    Trouble::Away,
    Trouble::Hangs,
    Trouble::Refuses,
];

const USER: &str = "authorization { users: [ { user: me, password: me } ] }";

impl Trouble {
    fn make(self, server: &mut Server, bridge: &TextBridge) {
        match self {
            Self::None => return,
            Self::Away => server.stop(),
            Self::Hangs => return server.signal("STOP"),
            Self::Refuses => {
                server.configure(&USER.replace("password: me", "password: other"));
                server.restart();
            }
        }
        wait_for("the bridge to notice", || {
            bridge.publish("news", "") != Ok(Remote::Sent)
        });
    }

    fn end(self, server: &mut Server) {
        server.configure(USER);
        match self {
            Self::None => {}
            Self::Away | Self::Refuses => server.restart(),
            Self::Hangs => server.signal("CONT"),
        }
    }
}

fn connect_as_me(server: &Server, topics: &Topics) -> TextBridge {
    connect_with(server, topics, |options| {
        options.client = options.client.clone().user_and_password("me".into(), "me".into());
    })
}

#[test]
fn a_bridge_that_has_ended_leaves_nothing_whatever_its_server_does() {
    alone(
        "alone::a_bridge_that_has_ended_leaves_nothing_whatever_its_server_does",
        || {
            let Some(mut server) = Server::start_with(&[], USER) else {
                return;
            };
            wait(async {});
            let before = possessions();
            let mut size = None;
            for round in 0..3 {
                for trouble in TROUBLES {
                    let topics = Topics::new();
                    let bridge = connect_as_me(&server, &topics);
                    for key in 0..2000 {
                        topics.register(key.to_string(), |_| {});
                    }
                    settle(&bridge);
                    trouble.make(&mut server, &bridge);
                    for key in 0..1000 {
                        topics.remove(&key.to_string());
                        let _ = bridge.publish("news", "hello");
                    }
                    drop((bridge, topics));
                    wait_for("the bridge to end", || possessions() == before);
                    trouble.end(&mut server);
                    wait_for("its connection to end", || server.connections() == 0);
                }
                let now = kilobytes();
                say(&format!("round {round}: {now} kB, {before:?}"));
                // The first round makes what the others use again.
                let size = *size.get_or_insert(now);
                assert!(now < size + SLACK, "{size} kB, then {now} kB");
            }
        },
    );
}

#[test]
fn nothing_grows_with_time_whatever_the_server_does() {
    const FLAPS: usize = 4_000;
    alone(
        "alone::nothing_grows_with_time_whatever_the_server_does",
        || {
            let Some(mut server) = Server::start_with(&[], USER) else {
                return;
            };
            for trouble in TROUBLES {
                let topics = Topics::new();
                let bridge = connect_as_me(&server, &topics);
                settle(&bridge);
                trouble.make(&mut server, &bridge);
                let key = AtomicUsize::new(0);
                // Topics that come and go, messages, and calls of `settled`.
                let load = || {
                    for _ in 0..FLAPS {
                        let key = key.fetch_add(1, Ordering::Relaxed);
                        drop(topics.register_guard(format!("key.{key}"), |_| {}));
                        let _ = bridge.publish("news", "hello");
                        if key.is_multiple_of(500) {
                            let _ = wait(bridge.settled(Duration::from_millis(1)));
                        }
                    }
                };
                let mut sizes = Vec::new();
                let start = possessions();
                for _ in 0..5 {
                    thread::scope(|scope| {
                        (0..2).for_each(|_| drop(scope.spawn(load)));
                    });
                    sizes.push(kilobytes());
                }
                say(&format!("{trouble:?}: {sizes:?} kB, {:?}", possessions()));
                let (first, last) = (sizes[0], sizes[4]);
                assert!(last < first + SLACK, "{trouble:?}: {sizes:?}");
                wait_for("its threads and tasks", || {
                    possessions().0 <= start.0 + 1 && possessions().2 <= start.2
                });
                drop((bridge, topics));
                trouble.end(&mut server);
            }
        },
    );
}

#[test]
fn a_blocked_handler_costs_the_memory_that_the_options_say() {
    alone(
        "alone::a_blocked_handler_costs_the_memory_that_the_options_say",
        || {
            let Some(server) = Server::start() else {
                return;
            };
            let (here, there) = (Topics::new(), Topics::new());
            let sender = connect(&server, &here);
            let receiver = connect_with(&server, &there, |options| options.inbox_bytes = 8 << 20);
            let (go_on, gate) = std::sync::mpsc::channel::<()>();
            let gate = std::sync::Mutex::new(gate);
            there.register("news", move |_| {
                let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
            });
            settle(&receiver);
            let before = kilobytes();
            // Half a gigabyte.
            let text = "x".repeat(500_000);
            for number in 1..=1000 {
                assert_eq!(sender.publish("news", &text), Ok(Remote::Sent));
                if number % 10 == 0 {
                    settle(&sender);
                }
            }
            settle(&receiver);
            wait_for("all to arrive", || {
                let counts = receiver.counts();
                counts.missed > 950
            });
            let after = kilobytes();
            say(&format!(
                "blocked: {before} kB, then {after} kB, {:?}",
                receiver.counts()
            ));
            // What waits, and what was in the buffers of both ends.
            assert!(after < before + 64 * 1024, "{before} kB, then {after} kB");
            drop(go_on);
        },
    );
}
