//! `settled` says yes only if the server has everything, whichever other clients are connected.

use std::time::Duration;

use topic_registry_nats::{Event, Remote};

use crate::support::{
    PATIENCE, Server, TextBridge, Topics, connect, connect_with, listen, settle, wait, wait_for,
};

/// What `settled` says, which it says in time.
fn complaint(bridge: &TextBridge) -> String {
    let outcome = wait(bridge.settled(PATIENCE));
    let why = outcome.expect_err("something is wrong").to_string();
    assert!(!why.contains("elapsed"), "{why}");
    why
}

#[test]
fn settled_works_beside_subscribers_to_everything() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut monitor = server.stranger();
    monitor.send("SUB > 1\r\nSUB _INBOX.> 2\r\n");
    monitor.settle();
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    topics.register("news", |_| {});
    for number in 0..3 {
        let published = bridge.publish("news", &number.to_string());
        assert_eq!(published, Ok(Remote::Sent));
        settle(&bridge);
    }
    // The monitor sees the messages and nothing else.
    monitor.send("PUB end 0\r\n\r\n");
    let seen = monitor.read_until("MSG end 1 0");
    let headers: Vec<_> = seen.iter().filter(|line| line.contains("MSG ")).collect();
    assert_eq!(headers.len(), 4, "{seen:?}");
}

/// The account of the tests: it may do what it lists, as often in production.
const ALLOWED: &str = r#"authorization { users: [
    { user: "", password: "", permissions: {
        publish: { allow: ["news"] }, subscribe: { allow: ["news", "_INBOX.>"] } } }
] }"#;

#[test]
fn settled_works_for_an_account_that_may_do_only_what_is_listed() {
    let Some(server) = Server::start_with(&[], &ALLOWED.replace("\"\"", "\"me\"")) else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect_with(&server, &topics, |options| {
        options.client = options.client.clone().user_and_password("me".into(), "me".into());
    });
    let events = crate::support::events(&bridge);
    topics.register("news", |_| {});
    for _ in 0..3 {
        assert_eq!(bridge.publish("news", "hello"), Ok(Remote::Sent));
        settle(&bridge);
    }
    // The pings that are refused are nobody's business.
    let events = events.lock().unwrap();
    let is_complaint = |event: &Event| format!("{event:?}").contains("ServerError");
    assert!(!events.iter().any(is_complaint), "{events:?}");
}

#[test]
fn messages_that_an_outage_may_have_lost_are_not_settled() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&server, &here), connect(&server, &there));
    let heard = listen(&there, "news");
    settle(&receiver);
    assert_eq!(sender.publish("news", "first"), Ok(Remote::Sent));
    settle(&sender);

    // It hangs, and takes what it has got with it.
    server.signal("STOP");
    for number in 0..100 {
        let published = sender.publish("news", &number.to_string());
        assert_eq!(published, Ok(Remote::Sent));
    }
    wait_for("them to be sent", || sender.counts().sent == 101);
    server.restart();
    let why = complaint(&sender);
    assert!(why.contains("may be lost"), "{why}");
    // That is said once.
    settle(&sender);
    settle(&receiver);
    assert_eq!(sender.publish("news", "last"), Ok(Remote::Sent));
    for text in ["first", "last"] {
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok(text));
    }
    assert_eq!(
        (receiver.counts().received, receiver.counts().missed),
        (2, 100)
    );
}

#[test]
fn an_outage_while_settled_waits_is_an_error_and_one_without_messages_is_not() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    for messages in [500, 0] {
        topics.register("news", |_| {});
        server.signal("STOP");
        for number in 0..messages {
            let published = bridge.publish("news", &number.to_string());
            assert_eq!(published, Ok(Remote::Sent));
        }
        let outcome = std::thread::scope(|scope| {
            let settled = scope.spawn(|| wait(bridge.settled(PATIENCE)).is_ok());
            wait_for("the messages to be sent", || bridge.counts().sent == 500);
            server.restart();
            settled.join().expect("it ends")
        });
        assert_eq!(outcome, messages == 0);
        topics.clear();
    }
}

#[test]
fn a_call_that_gave_up_leaves_what_may_be_lost_to_the_next() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    settle(&bridge);
    server.signal("STOP");
    assert_eq!(bridge.publish("news", "hello"), Ok(Remote::Sent));
    let give_up = || {
        for _ in 0..3 {
            wait(bridge.settled(Duration::from_millis(20))).expect_err("the server hangs");
        }
    };
    give_up();
    server.restart();
    wait_for("the reconnect", || bridge.counts().connects == 2);
    // The next server answers when nobody waits any more.
    server.signal("STOP");
    give_up();
    server.signal("CONT");
    let why = complaint(&bridge);
    assert!(why.contains("may be lost"), "{why}");
    settle(&bridge);
}

#[test]
fn calls_of_settled_take_no_room_in_the_queue() {
    const QUEUE: usize = 10;
    let Some(mut server) = Server::start() else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect_with(&server, &topics, |options| options.queue_capacity = QUEUE);
    settle(&bridge);
    server.stop();
    wait_for("the bridge to notice", || {
        format!("{bridge:?}").contains("Disconnected")
    });
    for _ in 0..5 * QUEUE {
        wait(bridge.settled(Duration::from_millis(1))).expect_err("nobody is there");
    }
    for _ in 0..QUEUE {
        assert_eq!(bridge.publish("news", "hello"), Ok(Remote::Queued));
    }
    assert_eq!(bridge.publish("news", "hello"), Ok(Remote::Dropped));
    server.restart();
    settle(&bridge);
    assert_eq!((bridge.counts().sent, bridge.counts().dropped), (10, 1));
}

#[test]
fn a_subscription_that_the_server_refuses_is_an_event_and_is_not_settled() {
    let deny = r#"authorization { default_permissions: { subscribe: { deny: "secret" } }
        users: [ { user: "me", password: "me" } ] }"#;
    let Some(mut server) = Server::start_with(&[], deny) else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect_with(&server, &topics, |options| {
        options.client = options.client.clone().user_and_password("me".into(), "me".into());
    });
    let events = crate::support::events(&bridge);
    topics.register("news", |_| {});
    settle(&bridge);
    let guard = topics.register_guard("secret", |_| {});
    for _ in 0..3 {
        let why = complaint(&bridge);
        assert!(why.contains("Subscription to \"secret\""), "{why}");
    }
    assert_eq!(bridge.counts().refused, 1);
    let is_it = |event: &Event| matches!(event, Event::Refused(on, _) if on.as_str() == "secret");
    assert!(events.lock().unwrap().iter().any(is_it));

    // Without handlers, nothing is missing.
    drop(guard);
    settle(&bridge);
    topics.register("secret", |_| {});
    complaint(&bridge);
    // A server that allows it has it at once.
    server.configure(&deny.replace("\"secret\"", "\"other\""));
    server.restart();
    wait_for("the reconnect", || bridge.counts().connects == 2);
    settle(&bridge);
    assert!(server.subscriptions().contains(&"secret".to_owned()));
}

#[test]
fn a_limit_of_subscriptions_is_not_settled_either() {
    let Some(server) = Server::start_with(&[], "max_subscriptions: 5") else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    for key in 0..4 {
        topics.register(key.to_string(), |_| {});
    }
    settle(&bridge);
    topics.register("one too many", |_| {});
    let why = complaint(&bridge);
    assert!(why.contains("subscriptions"), "{why}");
    assert_eq!(bridge.counts().refused, 1);
}
