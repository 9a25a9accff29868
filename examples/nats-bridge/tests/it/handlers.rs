//! Handlers may do as they like, also on the thread that serves what comes in.

use std::sync::{Mutex, mpsc};

use topic_registry_nats::Remote;

use crate::support::{PATIENCE, Server, Topics, connect, settle, wait_for};

#[test]
fn a_handler_may_panic_and_publish_and_end_the_bridge() {
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let asking = connect(&server, &here);
    let (answer, answers) = mpsc::channel();
    let _guard = here.register_guard("answer", move |text| {
        answer.send(text.to_owned()).expect("it is waited for");
    });
    settle(&asking);

    let answering = Mutex::new(Some(connect(&server, &there)));
    there.register("question", |_| panic!("a handler that panics: all is well"));
    there.register("question", {
        let there = there.clone();
        move |text| {
            there.register("asked since", |_| {});
            let bridge = answering.lock().unwrap().take().expect("one question");
            settle(&bridge);
            let remote = bridge.publish("answer", text);
            assert_eq!(remote.expect("it can be sent"), Remote::Sent);
        }
    });
    wait_for("the other bridge to subscribe", || {
        server.subscriptions().contains(&"question".to_owned())
    });

    let remote = asking.publish("question", "how are you?");
    assert_eq!(remote.expect("it can be sent"), Remote::Sent);
    // What is queued when a bridge is dropped is still sent.
    let answer = answers.recv_timeout(PATIENCE).expect("an answer");
    assert_eq!(answer, "how are you?");
    wait_for("the other bridge to end", || server.connections() == 1);
    assert_eq!(there.panic_count(), 1);
    there.clear();
}

#[test]
fn a_handler_that_blocks_delays_no_other_bridge_and_no_runtime_task() {
    let Some(server) = Server::start() else {
        return;
    };
    let (here, blocked, free) = (Topics::new(), Topics::new(), Topics::new());
    let sender = connect(&server, &here);
    let blocking = connect(&server, &blocked);
    let other = connect(&server, &free);
    let (entered, inside) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    blocked.register("news", move |_| {
        entered.send(()).expect("it is waited for");
        let gate = gate.lock().unwrap();
        gate.recv_timeout(PATIENCE).expect("it may go on in the end");
    });
    let (next, heard) = mpsc::channel();
    free.register("news", move |text| {
        next.send(text.to_owned()).expect("it is waited for");
    });
    settle(&blocking);
    settle(&other);

    let publish = |text: &str| {
        let remote = sender.publish("news", text);
        assert_eq!(remote.expect("it can be sent"), Remote::Sent);
    };
    publish("first");
    inside.recv_timeout(PATIENCE).expect("the handler blocks");
    // The runtime of the blocked bridge goes on: it sends, subscribes and asks the server.
    blocked.register("more news", |_| {});
    settle(&blocking);
    assert!(server.subscriptions().contains(&"more news".replace(' ', "%20")));
    // And so does the other bridge.
    publish("second");
    for text in ["first", "second"] {
        assert_eq!(
            heard.recv_timeout(PATIENCE).expect("it is not blocked"),
            text
        );
    }
    assert_eq!(blocking.counts().received, 1);

    go_on.send(()).expect("it waits");
    inside.recv_timeout(PATIENCE).expect("the second message");
    go_on.send(()).expect("it waits");
    wait_for("both to be received", || blocking.counts().received == 2);
}

#[test]
fn a_bridge_that_is_dropped_notifies_no_more() {
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&server, &here), connect(&server, &there));
    let (entered, inside) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    there.register("news", move |text| {
        entered.send(text.to_owned()).expect("it is waited for");
        let gate = gate.lock().unwrap();
        gate.recv_timeout(PATIENCE).expect("it may go on in the end");
    });
    settle(&receiver);
    for text in ["first", "second"] {
        assert_eq!(sender.publish("news", text), Ok(Remote::Sent));
    }
    settle(&sender);
    settle(&receiver);
    let first = inside.recv_timeout(PATIENCE).expect("the handler blocks");
    assert_eq!(first, "first");

    drop((receiver, there));
    go_on.send(()).expect("it waits");
    // The thread of the bridge had the last share of the topics, and those of the handler.
    let end = inside.recv_timeout(PATIENCE);
    assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
}
