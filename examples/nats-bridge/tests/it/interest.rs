//! A subject is subscribed only while somebody here listens.

use std::sync::Arc;

use topic_registry_nats::Remote;

use crate::support::{Server, Topics, connect, say, settle, wait_for};

#[test]
fn a_subject_is_subscribed_while_somebody_listens() {
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let early = topics.register_guard("early", |_| {});
    let bridge = connect(&server, &topics);
    let settled = || {
        settle(&bridge);
        let mut subjects = server.subscriptions();
        subjects.sort();
        subjects
    };
    assert_eq!(settled(), ["early"]);

    let first = topics.register_guard("all.the news", |_| {});
    assert_eq!(settled(), ["all%2Ethe%20news", "early"]);
    let second = topics.register_guard("all.the news", |_| {});
    drop(first);
    assert_eq!(settled(), ["all%2Ethe%20news", "early"]);
    drop(second);
    assert_eq!(settled(), ["early"]);
    let third = topics.register_guard("all.the news", |_| {});
    drop(early);
    assert_eq!(settled(), ["all%2Ethe%20news"]);
    drop(third);

    let handle = topics.handle("asked for, but not listened to");
    assert_eq!(settled(), [""; 0]);
    drop(handle);
}

#[test]
fn ten_thousand_keys_come_and_go() {
    const KEYS: usize = 10_000;
    let Some(server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    for _ in 0..3 {
        let listen = |key: usize| topics.register_guard(format!("key.{key}"), |_| {});
        let mut guards: Vec<_> = (0..KEYS).map(listen).collect();
        settle(&bridge);
        assert_eq!(server.subscriptions().len(), KEYS);
        guards.truncate(KEYS / 2);
        settle(&bridge);
        assert_eq!(server.subscriptions().len(), KEYS / 2);
        drop(guards);
        settle(&bridge);
        assert_eq!(server.subscriptions().len(), 0);
    }
    assert!(topics.is_empty());
    say("keys: 10,000 subscriptions came and went, three times");
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
    settle(&bridge);

    server.stop();
    wait_for("the bridge to notice", || {
        format!("{bridge:?}").contains("Disconnected")
    });
    let _come = topics.register_guard("come", |_| {});
    drop(topics.register_guard("come and gone", |_| {}));
    drop(left);
    server.restart();
    settle(&bridge);
    let mut subjects = server.subscriptions();
    subjects.sort();
    assert_eq!(subjects, ["come", "kept"]);
}

#[test]
fn a_bridge_that_is_dropped_leaves_nothing() {
    let Some(mut server) = Server::start() else {
        return;
    };
    for is_away in [false, true] {
        let topics = Topics::new();
        // The thread of the bridge owns the topics, and they own this.
        let alive = Arc::new(());
        let (weak, own) = (Arc::downgrade(&alive), alive);
        topics.register("news", move |_| drop(Arc::clone(&own)));
        let bridge = connect(&server, &topics);
        settle(&bridge);
        assert_eq!((server.subscriptions().len(), server.connections()), (1, 1));
        if is_away {
            server.stop();
            wait_for("the bridge to notice", || {
                bridge.publish("news", "") != Ok(Remote::Sent)
            });
        }
        drop(bridge);
        drop(topics);
        wait_for("the thread to end", || weak.upgrade().is_none());
        server.restart_if_stopped();
        wait_for("the connection to end", || server.connections() == 0);
        assert_eq!(server.subscriptions().len(), 0);
    }
}
