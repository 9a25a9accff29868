//! What comes from outside may be anything.

use std::borrow::Borrow;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use topic_registry::TopicRegistry;
use topic_registry_nats::{Bridge, Codec, Error, Event, Options, Remote, Text, TooLarge, escape};

use crate::support::{
    PATIENCE, Server, Topics, connect, connect_with, free_port, listen, settle, wait, wait_for,
};

fn hear(heard: &Receiver<String>) -> String {
    heard.recv_timeout(PATIENCE).expect("a message")
}

#[test]
fn a_message_that_does_not_decode_is_counted_and_reported() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let (next, events) = mpsc::channel();
    bridge.events().register(move |event| {
        // That of the first connection may come late.
        if !matches!(event, Event::Client(_)) {
            next.send(event.clone()).expect("it is waited for");
        }
    });
    let heard = listen(&topics, "news");
    settle(&bridge);

    server.publish("news", b"\xff\xfe");
    server.publish("news", "good".as_bytes());
    assert_eq!(hear(&heard), "good");
    assert!(heard.try_recv().is_err());
    wait_for("it to be counted", || bridge.counts().received == 1);
    let counts = bridge.counts();
    assert_eq!(
        (counts.undecodable, counts.received, counts.missed),
        (1, 1, 0)
    );
    let Event::Undecodable(subject, why) = events.recv_timeout(PATIENCE).expect("an event") else {
        panic!("another event");
    };
    assert_eq!(subject.as_str(), "news");
    assert!(why.contains("utf-8"), "{why}");
    assert!(events.try_recv().is_err());
}

#[test]
fn a_codec_that_panics_ends_nothing() {
    struct Panics;
    impl Codec<str> for Panics {
        fn encode(&self, event: &str) -> Vec<u8> {
            Text.encode(event)
        }

        fn decode(&self, payload: &[u8]) -> Result<impl Borrow<str>, Error> {
            assert_ne!(payload, b"bad", "a codec that panics: all is well");
            Ok(std::str::from_utf8(payload)?)
        }
    }
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = wait(Bridge::connect(
        server.url(),
        &topics,
        Panics,
        Options::default(),
    ))
    .expect("the server is up");
    let heard = listen(&topics, "news");
    settle(&bridge);
    for payload in ["bad", "good"] {
        server.publish("news", payload.as_bytes());
    }
    assert_eq!(hear(&heard), "good");
    assert_eq!(bridge.counts().undecodable, 1);
}

#[test]
fn a_payload_that_is_too_large_is_refused_here_and_nothing_is_lost() {
    const ALLOWED: usize = 1000;
    let Some(server) = Server::start_with(&[], &format!("max_payload: {ALLOWED}")) else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let sender = connect(&server, &here);
    let receiver = connect(&server, &there);
    let (local, heard) = (listen(&here, "news"), listen(&there, "news"));
    settle(&receiver);

    let outcome = sender.publish("news", &"x".repeat(ALLOWED));
    assert_eq!(hear(&local).len(), ALLOWED);
    let TooLarge(size, limit) = outcome.expect_err("it is too large");
    assert_eq!(size, ALLOWED);
    let outcome = sender.publish("news", &"x".repeat(limit + 1));
    assert_eq!(outcome, Err(TooLarge(limit + 1, limit)));
    // The limit is what the server takes indeed: beyond it, it would end the connection.
    let published = sender.publish("news", &"x".repeat(limit));
    assert_eq!(published.expect("it fits"), Remote::Sent);
    assert_eq!(hear(&heard).len(), limit);
    wait_for("it to be counted", || receiver.counts().received == 1);
    let (here, there) = (sender.counts(), receiver.counts());
    assert_eq!((here.sent, here.dropped, here.connects), (1, 0, 1));
    assert_eq!((there.received, there.missed), (1, 0));
}

#[test]
fn a_subject_that_no_key_maps_to_reaches_nobody() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let heard = listen(&topics, "config.reload");
    settle(&bridge);
    let foreign = [
        "config.reload",
        "config",
        "config%2ereload",
        "config%2Ereload.x",
        "%zz",
        "%",
    ];
    for subject in foreign {
        server.publish(subject, b"foreign");
    }
    server.publish("config%2Ereload", b"good");
    assert_eq!(hear(&heard), "good");
    wait_for("it to be counted", || bridge.counts().received == 1);
    assert!(heard.try_recv().is_err());
    assert_eq!(topics.len(), 1);
}

#[test]
fn keys_are_escaped_reversibly() {
    let keys = [
        "", "a", "a.b", ".", "..", " ", "*", ">", "a >", "%", "%2E", "ä", "\r\n", "\0", "$SYS",
        "日本", "\u{a0}", "\u{3000}", "\u{85}", "\u{2028}",
    ];
    assert_eq!(escape("日本 ä"), "日本%20ä");
    let mut subjects: Vec<_> = keys.iter().map(|key| escape(key)).collect();
    for (key, subject) in keys.iter().zip(&subjects) {
        let decoded = percent_encoding::percent_decode_str(subject).decode_utf8();
        let expected = if key.is_empty() { "%" } else { key };
        assert_eq!(decoded.expect("text"), expected, "{subject:?}");
        let is_foreign = |c: char| c.is_whitespace() || c.is_control() || ".*>".contains(c);
        assert!(
            !subject.is_empty() && !subject.contains(is_foreign),
            "{subject:?}"
        );
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), keys.len());
}

#[test]
fn a_mapping_of_ones_own_is_used_and_what_is_no_subject_is_dropped() {
    let Some(server) = Server::start() else {
        return;
    };
    let connect = |topics: &TopicRegistry<u64, str>| {
        let subject = |key: &u64| match key {
            0 => String::new(),
            1 => "users all".to_owned(),
            _ => format!("users.{key}"),
        };
        let options = Options {
            subject,
            ..Options::default()
        };
        wait(Bridge::connect(server.url(), topics, Text, options)).expect("the server is up")
    };
    let (here, there) = (TopicRegistry::new(), TopicRegistry::new());
    let (sender, receiver) = (connect(&here), connect(&there));
    let (next, heard) = mpsc::channel();
    for user in 0..3u64 {
        let next = next.clone();
        there.register(user, move |text| {
            next.send((user, text.to_owned())).expect("it is waited for");
        });
    }
    wait(receiver.settled(PATIENCE)).expect_err("two subjects are not valid");
    assert_eq!(server.subscriptions(), ["users.2"]);
    for (user, remote) in [Remote::Refused, Remote::Refused, Remote::Sent].into_iter().enumerate() {
        assert_eq!(sender.publish(user as u64, "hello"), Ok(remote));
    }
    let heard = heard.recv_timeout(PATIENCE).expect("a message");
    assert_eq!(heard, (2, "hello".to_owned()));
    settle(&sender);
    assert_eq!((sender.counts().sent, sender.counts().dropped), (1, 2));
    // Handlers that left leave nothing behind.
    there.clear();
    settle(&receiver);
    assert_eq!(server.subscriptions(), [""; 0]);
}

#[test]
fn what_a_bridge_publishes_does_not_come_back_to_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let heard = listen(&topics, "news");
    settle(&bridge);
    for number in 0..100 {
        let published = bridge.publish("news", &number.to_string());
        assert_eq!(published.expect("it can be sent"), Remote::Sent);
    }
    settle(&bridge);
    server.publish("news", b"from outside");
    while hear(&heard) != "from outside" {}
    wait_for("it to be counted", || bridge.counts().received == 1);
    assert!(heard.try_recv().is_err());
}

#[test]
fn what_is_no_server_is_refused() {
    let topics = Topics::new();
    let connect = |url: &str, timeout: u64| -> String {
        let mut options = Options::default();
        let timeout = std::time::Duration::from_millis(timeout);
        options.client = options.client.connection_timeout(timeout);
        let outcome = wait(Bridge::connect(url, &topics, Text, options));
        let why = outcome.expect_err("nobody is there").to_string();
        assert!(!why.contains("secret"), "{why}");
        why
    };
    let why = connect(
        &format!("nats://user:secret@127.0.0.1:{}", free_port()),
        5000,
    );
    assert!(why.contains("refused"), "{why}");
    for bad in [
        "",
        "nats://",
        "http://127.0.0.1",
        "nats://user:secret@:x",
        "127.0.0.1:99999",
        ",",
    ] {
        let why = connect(bad, 5000);
        assert!(
            why.contains("invalid") || why.contains("DNS") || why.contains("parse"),
            "{bad:?}: {why}"
        );
    }

    // One that says nothing, and some that say something else.
    let answers = [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\u{1}\n",
    ];
    for answer in answers {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = other.local_addr().expect("it has an address").to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = other.accept().expect("somebody comes");
            // Whether it is read is up to the other side.
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        });
        connect(&format!("nats://{address}"), 200);
        server.join().expect("the connection was closed");
    }
}

#[test]
fn credentials_are_those_of_the_client() {
    let Some(server) = Server::start_with(&["--user", "me", "--pass", "secret"], "") else {
        return;
    };
    let topics = Topics::new();
    let refused = wait(Bridge::connect(
        server.url(),
        &topics,
        Text,
        Options::default(),
    ))
    .expect_err("a password");
    assert!(refused.to_string().contains("authorization"), "{refused}");
    let bridge = connect_with(&server, &topics, |options| {
        options.client = options.client.clone().user_and_password("me".into(), "secret".into());
    });
    settle(&bridge);
    assert!(!format!("{bridge:?}").contains("secret"));
}

#[cfg(feature = "json")]
#[test]
fn events_of_any_type_go_as_json() {
    use topic_registry_nats::Json;

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Reload {
        path: String,
        version: u32,
    }
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (TopicRegistry::<String, Reload>::new(), TopicRegistry::new());
    let sender = wait(Bridge::connect(
        server.url(),
        &here,
        Json,
        Options::default(),
    ))
    .expect("the server is up");
    let receiver: Bridge<String, Reload, _> = wait(Bridge::connect(
        server.url(),
        &there,
        Json,
        Options::default(),
    ))
    .expect("the server is up");
    let (next, heard) = mpsc::channel();
    there.register("config", move |event: &Reload| {
        next.send(event.clone()).unwrap();
    });
    settle(&receiver);
    server.publish("config", b"{\"path\": 7}");
    server.publish("config", br#"{"path": "/etc/x", "version": 7}"#);
    let event = heard.recv_timeout(PATIENCE).expect("a message");
    assert_eq!((event.path.as_str(), event.version), ("/etc/x", 7));
    assert_eq!(sender.publish("config", &event), Ok(Remote::Sent));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(event));
    assert_eq!(receiver.counts().undecodable, 1);
}
