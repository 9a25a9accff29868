//! Servers that say goodbye, refuse, demand or talk nonsense after they were fine.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use topic_registry_nats::async_nats::{ClientError, Event as ClientEvent};
use topic_registry_nats::{Event, Remote};

use crate::support::{
    PATIENCE, Server, TextBridge, Topics, connect, connect_with, events, listen, settle, wait,
    wait_for,
};

/// Two bridges to a server, and what the second has heard.
struct Pair {
    server: Server,
    sender: TextBridge,
    receiver: TextBridge,
    reports: Arc<Mutex<Vec<Event>>>,
    heard: std::sync::mpsc::Receiver<String>,
    _topics: [Topics; 2],
}

impl Pair {
    fn start(config: &str) -> Option<Self> {
        let server = Server::start_with(&[], config)?;
        let topics = [Topics::new(), Topics::new()];
        let me = |options: &mut topic_registry_nats::Options<String>| {
            options.client = options.client.clone().user_and_password("me".into(), "me".into());
        };
        let sender = connect_with(&server, &topics[0], me);
        let receiver = connect_with(&server, &topics[1], me);
        let (reports, heard) = (events(&receiver), listen(&topics[1], "news"));
        settle(&receiver);
        let pair = Self {
            server,
            sender,
            receiver,
            reports,
            heard,
            _topics: topics,
        };
        assert_eq!(pair.sender.publish("news", "first"), Ok(Remote::Sent));
        settle(&pair.sender);
        Some(pair)
    }

    /// Waits until the receiver's client has reported that.
    fn wait_for(&self, what: &str) {
        wait_for(what, || {
            let reports = self.reports.lock().unwrap();
            reports.iter().any(|event| format!("{event:?}").contains(what))
        });
    }

    /// While nothing gets through: what is published waits, and who asks is told so.
    fn is_cut_off(&self) {
        wait_for("the sender to notice", || {
            self.sender.publish("news", "waits") == Ok(Remote::Queued)
        });
        let limit = Duration::from_millis(100);
        wait(self.receiver.settled(limit)).expect_err("nothing gets through");
    }

    /// Sends until something is heard, and adds up.
    fn goes_on(&self) {
        // Queued messages go out at once, maybe before the receiver is back.
        wait_for("the reconnects", || {
            [&self.sender, &self.receiver]
                .iter()
                .all(|it| !format!("{it:?}").contains("Disconnected"))
        });
        let _ = wait(self.sender.settled(PATIENCE));
        settle(&self.sender);
        settle(&self.receiver);
        assert_eq!(self.sender.publish("news", "last"), Ok(Remote::Sent));
        while self.heard.recv_timeout(PATIENCE).expect("the last message") != "last" {}
        let (here, there) = (self.sender.counts(), self.receiver.counts());
        assert_eq!(
            there.received + there.missed,
            here.sent,
            "{here:?} {there:?}"
        );
    }
}

#[test]
fn a_server_in_lame_duck_mode_is_reported_and_its_successor_is_found() {
    let Some(mut pair) = Pair::start("lame_duck_duration: 30s, lame_duck_grace_period: 100ms")
    else {
        return;
    };
    pair.server.signal("USR2");
    pair.wait_for("LameDuckMode");
    pair.server.wait_for_end();
    pair.is_cut_off();
    pair.server.restart();
    pair.goes_on();
}

#[test]
fn a_password_that_is_wrong_after_a_reconnect_is_reported_and_tried_again() {
    let config =
        |password| format!("authorization {{ users: [ {{ user: me, password: {password} }} ] }}");
    let Some(mut pair) = Pair::start(&config("me")) else {
        return;
    };
    pair.server.configure(&config("other"));
    pair.server.restart();
    pair.wait_for("authorization violation");
    pair.is_cut_off();
    let count = || {
        let error = ClientError::Other("authorization violation".into());
        let error = Event::Client(ClientEvent::ClientError(error));
        pair.reports.lock().unwrap().iter().filter(|it| **it == error).count()
    };
    // Not in a loop without pause.
    let (start, before) = (Instant::now(), count());
    wait_for("some attempts", || count() >= before + 4);
    assert!(
        start.elapsed() > Duration::from_millis(700),
        "{:?}",
        start.elapsed()
    );
    pair.server.configure(&config("me"));
    pair.server.restart();
    pair.goes_on();
    assert_eq!(pair.receiver.counts().connects, 2);
}

#[test]
fn encryption_that_is_demanded_after_a_reconnect_is_reported_and_tried_again() {
    let Some(mut pair) = Pair::start("") else {
        return;
    };
    let (key, certificate) = (pair.server.path("key.pem"), pair.server.path("cert.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    ]);
    openssl
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate);
    assert!(openssl.output().expect("there is `openssl`").status.success());
    pair.server.configure("tls { cert_file: cert.pem, key_file: key.pem }");
    pair.server.restart();
    // Nobody vouches for that certificate.
    pair.wait_for("ClientError");
    pair.is_cut_off();
    assert_eq!(pair.receiver.counts().connects, 1);
    pair.server.configure("");
    pair.server.restart();
    pair.goes_on();
}

#[test]
fn nonsense_after_a_connect_breaks_the_connection_and_nothing_else() {
    let nonsense: [&[u8]; 9] = [
        b"NONSENSE\r\n",
        b"\xff\xfe\r\n",
        b"MSG news 1\r\n",
        b"MSG news x 5\r\nhello\r\n",
        b"MSG news 1 x\r\nhello\r\n",
        b"MSG \xff 1 5\r\nhello\r\n",
        b"HMSG news 1 20 10\r\n\r\n",
        b"INFO {\r\n",
        b"-ERR '\xff'\r\n",
    ];
    let Some(mut pair) = Pair::start("") else {
        return;
    };
    pair.server.stop();
    let listener = TcpListener::bind(pair.server.address()).expect("its port is free");
    // Each connection gets the next answer; the two clients connect again until all were given
    // twice.
    let (start, mut streams) = (Instant::now(), Vec::new());
    for answer in nonsense.iter().cycle().take(2 * nonsense.len()) {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream
            .write_all(b"INFO {\"max_payload\":1048576,\"headers\":true}\r\n")
            .expect("it is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
        let mut lines = lines.map_while(Result::ok);
        lines.find(|line| line == "PING").expect("it connects");
        stream.write_all(b"PONG\r\n").expect("it is there");
        stream.write_all(answer).expect("it is there");
        // The client keeps it until it has the next one.
        streams.push(stream);
    }
    // Two bridges, of which each comes four times a second.
    assert!(
        start.elapsed() > Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    drop((listener, streams));
    pair.server.restart();
    pair.goes_on();
}

#[test]
fn a_client_that_gives_up_ends_the_bridge_which_says_so() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect_with(&server, &topics, |options| {
        options.client = options.client.clone().max_reconnects(2);
    });
    let reports = events(&bridge);
    topics.register("news", |_| {});
    settle(&bridge);
    server.stop();
    wait_for("the client to give up", || {
        bridge.publish("news", "hello") == Ok(Remote::Dropped)
    });
    let start = Instant::now();
    wait(bridge.settled(PATIENCE)).expect_err("nobody is there");
    assert!(start.elapsed() < PATIENCE / 2);
    let error = Event::Client(ClientEvent::ClientError(ClientError::MaxReconnects));
    wait_for("the event", || reports.lock().unwrap().contains(&error));
    // Handlers here are still called.
    let heard = listen(&topics, "news");
    assert_eq!(bridge.publish("news", "here"), Ok(Remote::Dropped));
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("here"));
}

#[test]
fn a_bridge_that_is_dropped_while_its_server_is_away_asks_for_it_no_more() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    for key in 0..1000 {
        topics.register(key.to_string(), |_| {});
    }
    settle(&bridge);
    server.stop();
    wait_for("the bridge to notice", || {
        format!("{bridge:?}").contains("Disconnected")
    });
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    topics.register("owner", move |_| drop(Arc::clone(&alive)));
    drop((bridge, topics));
    // The thread that calls the handlers ends after the network's tasks.
    wait_for("the bridge to end", || weak.upgrade().is_none());
    let listener = TcpListener::bind(server.address()).expect("its port is free");
    listener.set_nonblocking(true).expect("a socket");
    // Four attempts would have come by now.
    std::thread::sleep(Duration::from_secs(1));
    listener.accept().expect_err("nobody comes");
}
