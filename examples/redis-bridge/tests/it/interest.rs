//! A channel is subscribed in Redis only while somebody here listens.

use std::time::{Duration, Instant};

use redis_bridge::Topics;

use crate::support::{PATIENCE, Server, connect, wait_for};

#[test]
fn a_channel_is_subscribed_while_somebody_listens() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let early = topics.register_guard("early", |_| {});
    let bridge = connect(&server, &topics);
    let settled = |channel| {
        bridge.settle(PATIENCE).unwrap();
        server.subscribers(channel)
    };
    assert_eq!((settled("early"), settled("news")), (1, 0));

    let first = topics.register_guard("news", |_| {});
    assert_eq!(settled("news"), 1);
    let second = topics.register_guard("news", |_| {});
    drop(first);
    assert_eq!(settled("news"), 1);
    drop(second);
    assert_eq!(settled("news"), 0);
    let _third = topics.register_guard("news", |_| {});
    drop(early);
    assert_eq!((settled("early"), settled("news")), (0, 1));

    let handle = topics.handle("asked for, but not listened to");
    assert_eq!(settled(handle.key()), 0);

    let start = Instant::now();
    drop(bridge);
    wait_for("the bridge to disconnect", || server.clients() == 1);
    // Otherwise its listener ends only when it has heard nothing for a while.
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn redis_is_told_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let start = Instant::now();
    for _ in 0..20 {
        let guard = topics.register_guard("news", |_| {});
        bridge.settle(PATIENCE).unwrap();
        drop(guard);
        bridge.settle(PATIENCE).unwrap();
    }
    // Pulses alone would take a second each.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn what_changes_while_the_server_is_away_is_made_up_for() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    let _kept = topics.register_guard("kept", |_| {});
    let left = topics.register_guard("left", |_| {});
    bridge.settle(PATIENCE).unwrap();

    server.stop();
    wait_for("the bridge to notice", || bridge.fault().is_some());
    wait_for("what Redis forgot to be no longer confirmed", || {
        bridge.settle(Duration::from_millis(1)).is_err()
    });
    let _come = topics.register_guard("come", |_| {});
    drop(topics.register_guard("come and gone", |_| {}));
    drop(left);
    server.restart();
    bridge.settle(PATIENCE).unwrap();
    let channels = ["kept", "come", "come and gone", "left"];
    assert_eq!(
        channels.map(|channel| server.subscribers(channel)),
        [1, 1, 0, 0]
    );
}
