//! Very many messages: each is heard once and in order, or counted as lost.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use topic_registry_nats::async_nats::Event as ClientEvent;
use topic_registry_nats::{Event, Remote};

use crate::support::{
    PATIENCE, Peer, Server, Topics, connect, connect_with, say, settle, wait_for,
};

/// In each direction.
const MESSAGES: u64 = 100_000;

/// How many are on their way at once: fewer than the queue of a bridge takes.
const WINDOW: u64 = 500;

#[test]
fn a_hundred_thousand_messages_each_way_are_heard_once_and_in_order() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let (answer, answers) = mpsc::channel();
    let _pong = topics.register_guard("pong", move |text| {
        answer.send(text.to_owned()).expect("it is waited for");
    });
    settle(&bridge);
    let peer = Peer::start(&server.url());

    let start = Instant::now();
    for next in 0..MESSAGES + WINDOW {
        if let Some(awaited) = next.checked_sub(WINDOW) {
            let hung = |why| panic!("waited {PATIENCE:?} for the answer to {awaited}: {why}");
            let answer = answers.recv_timeout(PATIENCE).unwrap_or_else(hung);
            assert_eq!(answer, awaited.to_string());
        }
        if next < MESSAGES {
            let published = bridge.publish("ping", &next.to_string());
            let remote = published.expect("it can be sent");
            assert_eq!(remote, Remote::Sent, "{next}: {bridge:?}");
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate, to be read")]
    let rate = (2 * MESSAGES) as f64 / seconds;
    say(&format!(
        "exchange: {rate:.0} messages/s, both directions together"
    ));

    let report = peer.end();
    let heard = ["heard", "disordered", "missed", "dropped"].map(|name| report.number(name));
    assert_eq!(heard, [MESSAGES, 0, 0, 0], "{report:?}");
    let counts = bridge.counts();
    assert_eq!((counts.sent, counts.received), (MESSAGES, MESSAGES));
    assert_eq!((counts.missed, counts.dropped), (0, 0));
    assert!(answers.try_recv().is_err());
}

#[test]
fn what_is_lost_at_full_speed_is_counted_exactly() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    // With this queue nothing is lost here; with the default, most is.
    for queue in [2 * usize::try_from(MESSAGES).expect("few"), 1024] {
        let bridge = connect_with(&server, &topics, |options| options.queue_capacity = queue);
        let (pong, pongs) = mpsc::channel();
        let _guard = topics.register_guard("pong", move |text| {
            pong.send(text.to_owned()).expect("it is waited for");
        });
        settle(&bridge);
        let peer = Peer::start(&server.url());

        let start = Instant::now();
        for number in 0..MESSAGES {
            // Nothing waits for the network: what the queue does not take is dropped.
            let outcome = bridge.publish("ping", &number.to_string());
            let _ = outcome.expect("it is short");
        }
        let elapsed = start.elapsed();
        // The last answer comes after all others, and shows what is missing before it.
        let mut number = MESSAGES;
        wait_for("an answer to the last message", || {
            settle(&bridge);
            number += 1;
            assert_eq!(
                bridge.publish("ping", &number.to_string()),
                Ok(Remote::Sent)
            );
            settle(&bridge);
            let wait = Duration::from_millis(500);
            let answers = iter::from_fn(|| pongs.recv_timeout(wait).ok());
            answers.into_iter().any(|answer| answer == number.to_string())
        });
        let here = bridge.counts();
        assert_eq!(here.sent + here.dropped, number);
        let report = peer.end();
        let there = |name| report.number(name);
        assert_eq!(there("received") + there("missed"), here.sent, "{report:?}");
        assert_eq!(there("disordered"), 0, "{report:?}");
        wait_for("the answers to be heard or missed", || {
            let here = bridge.counts();
            here.received + here.missed == there("sent")
        });
        say(&format!(
            "full speed, queue of {queue}: {MESSAGES} published in {elapsed:?}; here {here:?}; \
             there {report:?}"
        ));
    }
}

#[test]
fn messages_that_handlers_are_too_slow_for_are_missed_and_counted_exactly() {
    const CAPACITY: usize = 100;
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let sender = connect(&server, &here);
    let receiver = connect_with(&server, &there, |options| {
        options.client = options.client.clone().subscription_capacity(CAPACITY);
    });
    let slow = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&slow);
    receiver.events().register(move |event| {
        if matches!(event, Event::Client(ClientEvent::SlowConsumer(_))) {
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (next, heard) = mpsc::channel();
    let _guard = there.register_guard("news", move |text| {
        if text == "0" {
            let gate = gate.lock().expect("one thread");
            gate.recv_timeout(PATIENCE).expect("the flood ends");
        }
        next.send(text.to_owned()).expect("it is waited for");
    });
    settle(&receiver);

    let mut flood = 0..MESSAGES / 10;
    while !flood.is_empty() {
        // In bundles that the sender's queue takes: nothing is lost there.
        for number in flood.by_ref().take(500) {
            let published = sender.publish("news", &number.to_string());
            assert_eq!(published.expect("it can be sent"), Remote::Sent);
        }
        settle(&sender);
    }
    // The receiver has all of them, or has lost them.
    settle(&receiver);
    go_on.send(()).expect("it waits");
    let mut calls = 0;
    let mut expect = |what: &str| {
        loop {
            let hung = |why| panic!("waited {PATIENCE:?} for {what}: {why}");
            let text: String = heard.recv_timeout(PATIENCE).unwrap_or_else(hung);
            calls += 1;
            if text == what {
                return;
            }
        }
    };
    expect("0");
    wait_for("what had waited to be heard", || {
        sender.publish("news", "last").expect("it can be sent");
        settle(&sender);
        receiver.counts().missed != 0
    });
    expect("last");
    let sent = sender.counts().sent;
    wait_for("all that was sent to be heard or missed", || {
        let counts = receiver.counts();
        counts.received + counts.missed == sent
    });
    calls += u64::try_from(heard.try_iter().count()).expect("few");
    let counts = receiver.counts();
    assert_eq!(counts.received, calls);
    // What it may have: the capacity, what is under way behind it, and the last ones.
    assert!(counts.missed > MESSAGES / 20, "{counts:?}");
    assert!(slow.load(Ordering::Relaxed) > 0);
    say(&format!("slow: {counts:?}"));
}
