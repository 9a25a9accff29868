//! Keys may come from users, and so may subjects.

use topic_registry::TopicRegistry;
use topic_registry_nats::{Bridge, Event, Options, Remote, Text};

use crate::support::{PATIENCE, Server, Topics, connect, listen, settle, wait, wait_for};

#[test]
fn a_key_that_is_too_long_is_refused_and_harms_no_other() {
    const MESSAGES: u64 = 300;
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let (sender, receiver) = (connect(&server, &here), connect(&server, &there));
    let refusals = crate::support::events(&receiver);
    let heard = listen(&there, "news");
    let longest = "y".repeat(4000);
    let cjk = "話".repeat(500);
    let (on_longest, on_cjk) = (listen(&there, &longest), listen(&there, &cjk));
    settle(&receiver);
    let long = "x".repeat(5000);
    let guard = there.register_guard(long.clone(), |_| {});
    let why = wait(receiver.settled(PATIENCE)).expect_err("it is too long").to_string();
    assert!(why.contains("4,000 bytes"), "{why}");

    for number in 0..MESSAGES {
        let published = sender.publish("news", &number.to_string());
        assert_eq!(published, Ok(Remote::Sent));
        assert_eq!(sender.publish(long.clone(), "hello"), Ok(Remote::Refused));
    }
    for key in [&longest, &cjk] {
        assert_eq!(sender.publish(key.clone(), "hello"), Ok(Remote::Sent));
    }
    settle(&sender);
    for number in 0..MESSAGES {
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(number.to_string()));
    }
    for heard in [on_longest, on_cjk] {
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok("hello"));
    }
    let (here, counts) = (sender.counts(), receiver.counts());
    assert_eq!(
        (here.sent, here.dropped, here.refused),
        (MESSAGES + 2, MESSAGES, MESSAGES)
    );
    assert_eq!((counts.received, counts.refused), (MESSAGES + 2, 1));
    assert_eq!((here.connects, counts.connects), (1, 1));
    let refusals = refusals.lock().unwrap();
    let is_it = |event: &&Event| matches!(event, Event::Refused(on, _) if *on.as_str() == long);
    assert_eq!(refusals.iter().filter(is_it).count(), 1);
    drop(guard);
    settle(&receiver);
}

#[test]
fn a_server_that_hangs_up_at_once_is_not_asked_in_a_loop() {
    let Some(server) = Server::start_with(&[], "max_control_line: 512") else {
        return;
    };
    let topics = Topics::new();
    let bridge = connect(&server, &topics);
    settle(&bridge);
    topics.register("x".repeat(1000), |_| {});
    let start = std::time::Instant::now();
    wait_for("some reconnects", || bridge.counts().connects >= 6);
    // The first pause may be over already; the others take their time.
    assert!(
        start.elapsed().as_millis() >= 4 * 250,
        "{:?}",
        start.elapsed()
    );
    // Without that topic it is as if nothing had been.
    topics.clear();
    topics.register("news", |_| {});
    wait_for("the server to take it", || {
        server.subscriptions().contains(&"news".to_owned())
    });
    settle(&bridge);
}

#[test]
fn subjects_that_are_not_valid_and_those_of_two_keys_are_events() {
    let Some(server) = Server::start() else {
        return;
    };
    let subject = |key: &u64| match key {
        0 => String::new(),
        1 => "users all".to_owned(),
        2 => "users.*".to_owned(),
        3 => ">".to_owned(),
        4 => "users..4".to_owned(),
        5 => "users.\u{3000}".to_owned(),
        6 => panic!("a subject function that panics: all is well"),
        _ => "users.same".to_owned(),
    };
    let topics = TopicRegistry::<u64, str>::new();
    let options = Options {
        subject,
        ..Options::default()
    };
    let bridge = wait(Bridge::connect(server.url(), &topics, Text, options)).expect("it is up");
    let events = crate::support::events(&bridge);
    for key in 0..=6u64 {
        topics.register(key, |_| {});
        let why = wait(bridge.settled(PATIENCE)).expect_err("it is not valid");
        assert!(!why.to_string().contains("elapsed"), "{key}: {why}");
        if key < 6 {
            assert_eq!(bridge.publish(key, "hello"), Ok(Remote::Refused), "{key}");
        }
    }
    assert_eq!(bridge.counts().refused, 7 + 6);
    topics.clear();
    settle(&bridge);

    let (next, heard) = std::sync::mpsc::channel();
    for key in 7..9u64 {
        let next = next.clone();
        topics.register(key, move |_| next.send(key).expect("it is waited for"));
        let _ = wait(bridge.settled(PATIENCE));
    }
    let why = wait(bridge.settled(PATIENCE)).expect_err("two have the same").to_string();
    assert!(why.contains("another topic"), "{why}");
    let refused = |event: &Event| match event {
        Event::Refused(subject, _) => Some(subject.to_string()),
        _ => None,
    };
    let refused: Vec<_> = events.lock().unwrap().iter().filter_map(refused).collect();
    assert_eq!(
        refused.iter().filter(|it| *it == "users.same").count(),
        1,
        "{refused:?}"
    );
    // Who was first is subscribed, once.
    assert_eq!(server.subscriptions(), ["users.same"]);
    server.publish("users.same", b"hello");
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(7));
    wait_for("it to be counted", || bridge.counts().received == 1);
    assert!(heard.try_recv().is_err());
    topics.clear();
    settle(&bridge);
}
