//! Two processes exchange very many messages: each is heard once, and in order.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use redis_bridge::Topics;
use redis_bridge::peer::Peer;

use crate::support::{PATIENCE, PROGRAM, Server, connect, say, tally};

/// In each direction.
const MESSAGES: u32 = 100_000;

/// How many are on their way at once: fewer than the queue of a bridge takes, and than Redis
/// keeps for a slow subscriber.
const WINDOW: u32 = 500;

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
    let (own, _ping) = tally(&topics, "ping");
    bridge.settle(PATIENCE).unwrap();
    let peer = Peer::start(Path::new(PROGRAM), &server.url()).unwrap();

    let start = Instant::now();
    for next in 0..MESSAGES + WINDOW {
        if let Some(awaited) = next.checked_sub(WINDOW) {
            let hung = |why| panic!("waited {PATIENCE:?} for the answer to {awaited}: {why}");
            let answer = answers.recv_timeout(PATIENCE).unwrap_or_else(hung);
            assert_eq!(answer, awaited.to_string());
        }
        if next < MESSAGES {
            let published = bridge.publish("ping", &next.to_string());
            assert!(published.is_queued, "{next}: {:?}", bridge.fault());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = f64::from(2 * MESSAGES) / seconds;
    say(&format!(
        "exchange: {rate:.0} messages/s, both directions together"
    ));

    let all = format!("{MESSAGES}, 0 doubled");
    assert_eq!(own.to_string(), all);
    let report = format!("pings: {all}; pongs: {all}; lost: 0");
    assert_eq!(peer.end().unwrap(), report);
    assert_eq!(bridge.lost(), 0);
    assert!(answers.try_recv().is_err());
}
