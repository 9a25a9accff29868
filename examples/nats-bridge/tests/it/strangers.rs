//! What others send can cost a bridge messages, which are counted, and nothing else.

use std::borrow::Borrow;
use std::fmt::{self, Display};
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::Duration;

use topic_registry::{HandlerGuard, TopicRegistry};
use topic_registry_nats::async_nats::Event as ClientEvent;
use topic_registry_nats::{Bridge, Codec, Error, Event, Options, Remote};

use crate::support::{
    PATIENCE, Server, Topics, connect, connect_with, events, listen, settle, wait, wait_for,
};

#[test]
fn a_malformed_header_costs_one_reconnect_at_a_time_and_what_it_costs_is_counted() {
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&server, &here), connect(&server, &there));
    let reports = events(&receiver);
    let _public = listen(&there, "public");
    let heard = listen(&there, "news");
    settle(&receiver);
    assert_eq!(sender.publish("news", "first"), Ok(Remote::Sent));
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("first"));

    // As many as it takes: each connection is there for the next one.
    let mut stranger = server.stranger();
    let start = std::time::Instant::now();
    let mut number = 0;
    wait_for("the fifth reconnect", || {
        stranger.send_with("public", "NATS/1.0\r\nno colon\r\n\r\n", "");
        number += 1;
        assert_eq!(
            sender.publish("news", &number.to_string()),
            Ok(Remote::Sent)
        );
        receiver.counts().connects > 5
    });
    // One every 250 ms, but for the first, instead of thousands.
    assert!(
        start.elapsed() > Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    stranger.settle();
    settle(&sender);
    wait(receiver.settled(PATIENCE)).expect("it sends nothing that may be lost");
    assert_eq!(sender.publish("news", "last"), Ok(Remote::Sent));
    while heard.recv_timeout(PATIENCE).expect("the last message") != "last" {}
    let counts = receiver.counts();
    assert_eq!(
        counts.received + counts.missed,
        sender.counts().sent,
        "{counts:?}"
    );
    assert_eq!(sender.counts().connects, 1);
    let disconnected = Event::Client(ClientEvent::Disconnected);
    assert!(reports.lock().unwrap().contains(&disconnected));
}

#[test]
fn what_waits_for_the_handlers_has_a_limit_of_bytes() {
    const LIMIT: usize = 1 << 20;
    const SIZE: usize = 100_000;
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let sender = connect(&server, &here);
    let receiver = connect_with(&server, &there, |options| options.inbox_bytes = LIMIT);
    let reports = events(&receiver);
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    there.register("news", move |text| {
        if text == "first" {
            let gate = gate.lock().unwrap();
            gate.recv_timeout(PATIENCE).expect("the flood ends");
        }
    });
    settle(&receiver);
    assert_eq!(sender.publish("news", "first"), Ok(Remote::Sent));
    wait_for("the handler to block", || receiver.counts().received == 1);
    let text = "x".repeat(SIZE);
    for _ in 0..100 {
        assert_eq!(sender.publish("news", &text), Ok(Remote::Sent));
    }
    // So many are taken, and the first one may have been on its way to the handler.
    let kept = u64::try_from(LIMIT / SIZE).expect("few");
    wait_for("the flood to end", || {
        receiver.counts().missed >= 100 - kept
    });
    // A program without a bridge counts as well.
    server.publish("news", text.as_bytes());
    wait_for("it to be discarded", || {
        receiver.counts().missed == 101 - kept
    });

    go_on.send(()).expect("it waits");
    wait_for("the rest to be heard", || {
        receiver.counts().received == 1 + kept
    });
    assert_eq!(sender.publish("news", "last"), Ok(Remote::Sent));
    wait_for("the last to be heard", || {
        receiver.counts().received == 2 + kept
    });
    let counts = receiver.counts();
    assert_eq!(counts.received + counts.missed, sender.counts().sent + 1);
    // The events add up, too.
    let sum = |events: &[Event]| events.iter().map(missed_of).sum::<u64>();
    wait_for("the events", || {
        sum(&reports.lock().unwrap()) == counts.missed
    });
    // A message that is larger than the limit is taken if nothing else waits.
    let large = "x".repeat(LIMIT - 1000);
    assert_eq!(sender.publish("news", &large), Ok(Remote::Sent));
    wait_for("it to be heard", || receiver.counts().received == 3 + kept);
}

fn missed_of(event: &Event) -> u64 {
    match event {
        Event::Missed(_, messages) => u64::from(*messages),
        _ => 0,
    }
}

#[test]
fn a_gap_is_as_large_as_can_be_said_and_the_first_messages_of_a_sender_are_no_gap() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let heard = listen(&topics, "news");
    settle(&bridge);
    let mut stranger = server.stranger();
    let mut send = |sender: u64, number: &str| {
        let header = format!("NATS/1.0\r\nTopic-Number: {sender:016x}{number}\r\n\r\n");
        stranger.send_with("news", &header, "hello");
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("hello"));
        wait_for("it to be counted", || bridge.counts().received != 0);
        bridge.counts().missed
    };
    // Whatever went before it was not meant for this bridge, as far as it knows.
    assert_eq!(send(1, "0000000000000064"), 0);
    assert_eq!(send(1, "0000000000000067"), 2);
    assert_eq!(send(1, "0000000100000066"), 2 + 0xffff_fffe);
    let all = 2 + 0xffff_fffe + 0xffff_ffff;
    assert_eq!(send(1, "ffffffffffffffff"), all);
    // What goes back, or is no number, is no gap.
    assert_eq!(send(1, "0000000000000000"), all);
    assert_eq!(send(2, "000000000000000z"), all);
    assert_eq!(send(2, "ffffffffffffffffffffffffffff"), all);
}

/// More than are remembered, in two halves that are fewer.
const HALF: u32 = 40_000;

#[test]
fn the_numbers_of_a_subject_go_on_among_very_many_others() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let sender = connect(&server, &topics);
    let mut stranger = server.stranger();
    stranger.send("SUB news 1\r\n");
    stranger.settle();
    let mut number = || {
        assert_eq!(sender.send(&"news".into(), ""), Ok(Remote::Sent));
        let lines = stranger.read_until("Topic-Number: ");
        let (_, number) = lines.last().expect("one").split_once(' ').expect("a number");
        u128::from_str_radix(number.trim(), 16).expect("a number")
    };
    let first = number();
    for half in 1..=2 {
        for other in 0..HALF {
            let key = format!("{half}.{other}");
            while sender.send(&key, "") == Ok(Remote::Dropped) {
                settle(&sender);
            }
        }
        settle(&sender);
        assert_eq!(number(), first + half);
    }
}

#[test]
fn what_is_known_of_a_sender_is_kept_among_very_many_others() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    topics.register("news", |_| {});
    settle(&bridge);
    let mut stranger = server.stranger();
    let mut received = 0;
    let mut send = |senders: std::ops::Range<u32>, number: u64| {
        received += u64::try_from(senders.len()).expect("few");
        for sender in senders {
            let header = format!("NATS/1.0\r\nTopic-Number: {sender:016x}{number:016x}\r\n\r\n");
            stranger.send_with("news", &header, "");
        }
        wait_for("it to be heard", || bridge.counts().received == received);
        bridge.counts().missed
    };
    assert_eq!(send(0..1, 1), 0);
    for half in 0..2 {
        assert_eq!(
            send(1 + half * HALF..1 + (half + 1) * HALF, 1),
            u64::from(half)
        );
        // One is missing before that.
        assert_eq!(send(0..1, 3 + 2 * u64::from(half)), u64::from(half) + 1);
    }
}

#[test]
fn an_error_whose_text_panics_and_a_payload_whose_drop_panics_end_nothing() {
    #[derive(Debug)]
    struct Unspeakable;
    impl Display for Unspeakable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("an error that panics: all is well");
        }
    }
    impl std::error::Error for Unspeakable {}

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            // Its payload is another one.
            panic_any(Self);
        }
    }

    /// An event whose drop panics, if it says so.
    struct Spiteful(String);
    impl Borrow<str> for Spiteful {
        fn borrow(&self) -> &str {
            &self.0
        }
    }
    impl Drop for Spiteful {
        fn drop(&mut self) {
            assert_ne!(self.0, "event", "an event whose drop panics: all is well");
        }
    }

    struct Hostile;
    impl Codec<str> for Hostile {
        fn encode(&self, event: &str) -> Vec<u8> {
            event.into()
        }

        fn decode(&self, payload: &[u8]) -> Result<impl Borrow<str>, Error> {
            match payload {
                b"text" => Err(Unspeakable.into()),
                b"bomb" => panic_any(Bomb),
                _ => Ok(Spiteful(String::from_utf8(payload.to_vec())?)),
            }
        }
    }

    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let options = Options::default();
    let bridge = wait(Bridge::connect(server.url(), &topics, Hostile, options)).expect("it is up");
    let heard = listen(&topics, "news");
    settle(&bridge);
    for payload in ["text", "bomb", "event", "good"] {
        server.publish("news", payload.as_bytes());
    }
    for text in ["event", "good"] {
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok(text));
    }
    assert_eq!(
        (bridge.counts().received, bridge.counts().undecodable),
        (2, 2)
    );
}

#[test]
fn messages_that_wait_when_a_handler_is_replaced_are_heard_by_the_next() {
    const MESSAGES: u64 = 1000;
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&server, &here), connect(&server, &there));
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let blocking = there.register_guard("news", move |_| {
        let gate = gate.lock().unwrap();
        gate.recv_timeout(PATIENCE).expect("it may go on in the end");
    });
    settle(&receiver);
    for batch in 0..4 {
        for number in 0..MESSAGES / 4 {
            let text = (batch * MESSAGES / 4 + number).to_string();
            assert_eq!(sender.publish("news", &text), Ok(Remote::Sent));
        }
        settle(&sender);
    }
    // The receiver has all of them now, and its thread has the first.
    settle(&receiver);
    drop(blocking);
    settle(&receiver);
    let heard = listen(&there, "news");
    settle(&receiver);
    go_on.send(()).expect("it waits");
    for number in 1..MESSAGES {
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(number.to_string()));
    }
    assert_eq!(sender.publish("news", "last"), Ok(Remote::Sent));
    assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("last"));
    let (here, counts) = (sender.counts(), receiver.counts());
    assert_eq!((counts.received, counts.missed), (here.sent, 0));
}

#[test]
fn a_second_bridge_of_the_same_topics_notifies_again_as_it_says() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridges = [connect(&server, &topics), connect(&server, &topics)];
    let heard = listen(&topics, "news");
    bridges.iter().for_each(settle);
    server.publish("news", b"hello");
    for _ in 0..2 {
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("hello"));
    }
}

/// Topics that flap without end: each that is subscribed is replaced by another one meanwhile.
static FLAPPING: LazyLock<Topics> = LazyLock::new(Topics::new);
static LAST: Mutex<Option<HandlerGuard>> = Mutex::new(None);
static FLAPS: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

fn flap(key: &String) -> String {
    if key != "news" && !IS_OVER.load(Ordering::Relaxed) {
        let number = FLAPS.fetch_add(1, Ordering::Relaxed);
        let next = FLAPPING.register_guard(number.to_string(), |_| {});
        let last = LAST.lock().unwrap().replace(next);
        drop(last);
    }
    key.clone()
}

#[test]
fn topics_that_flap_do_not_hold_up_what_is_sent() {
    const MESSAGES: u64 = 800;
    let Some(server) = Server::start() else {
        return;
    };
    let there = Topics::new();
    let sender = connect_with(&server, &FLAPPING, |options| options.subject = flap);
    let receiver = connect(&server, &there);
    let heard = listen(&there, "news");
    settle(&receiver);
    let _first = FLAPPING.register_guard("first", |_| {});
    for number in 0..MESSAGES {
        if number % 100 == 0 {
            let before = FLAPS.load(Ordering::Relaxed);
            wait_for("topics to flap", || {
                FLAPS.load(Ordering::Relaxed) > before + 10
            });
        }
        assert_eq!(
            sender.publish("news", &number.to_string()),
            Ok(Remote::Sent)
        );
    }
    for number in 0..MESSAGES {
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(number.to_string()));
    }
    // Nor those who wait for the server.
    settle(&sender);
    IS_OVER.store(true, Ordering::Relaxed);
    FLAPPING.clear();
    settle(&sender);
    assert_eq!(server.subscriptions(), ["news"]);
    assert_eq!(sender.counts().sent, MESSAGES);
}

#[test]
fn two_processes_that_answer_each_other_stop_when_one_ends() {
    let Some(server) = Server::start() else {
        return;
    };
    let registries = [TopicRegistry::<String, str>::new(), TopicRegistry::new()];
    let bridges = registries
        .each_ref()
        .map(|topics| std::sync::Arc::new(connect(&server, topics)));
    for (own, (hears, says)) in [("ping", "pong"), ("pong", "ping")].into_iter().enumerate() {
        let bridge = std::sync::Arc::downgrade(&bridges[own]);
        registries[own].register(hears, move |text| {
            if let Some(bridge) = bridge.upgrade() {
                let _ = bridge.publish(says, text);
            }
        });
    }
    for bridge in &bridges {
        settle(bridge);
    }
    for _ in 0..10 {
        server.publish("ping", b"hello");
    }
    wait_for("them to talk", || bridges[0].counts().received > 1000);
    settle(&bridges[1]);
    let [first, second] = bridges;
    drop(first);
    wait_for("the connection of the first to end", || {
        server.connections() == 1
    });
    // All that the second has got by then.
    settle(&second);
    let counts = second.counts();
    assert_eq!(counts.missed, 0, "{counts:?}");
}
