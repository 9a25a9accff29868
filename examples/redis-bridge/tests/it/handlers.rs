//! Handlers may do as they like, also on the thread that listens to Redis.

use std::sync::Mutex;

use redis_bridge::Topics;

use crate::support::{PATIENCE, Server, connect, tally, wait_for};

#[test]
fn a_handler_may_panic_and_publish_and_end_the_bridge() {
    let Some(server) = Server::start() else {
        return;
    };
    let (here, there) = (Topics::new(), Topics::new());
    let asking = connect(&server, &here);
    let (heard, _guard) = tally(&here, "answer");
    asking.settle(PATIENCE).unwrap();

    let answering = Mutex::new(Some(connect(&server, &there)));
    there.register("question", |_| panic!("a handler that panics: all is well"));
    there.register("question", {
        let there = there.clone();
        move |text| {
            there.register("asked since", |_| {});
            let bridge = answering.lock().unwrap().take().expect("one question");
            assert!(bridge.publish("answer", text).is_queued);
        }
    });
    wait_for("the other bridge to subscribe", || {
        server.subscribers("question") == 1
    });

    assert!(asking.publish("question", "how are you?").is_queued);
    wait_for("the answer", || heard.to_string() == "1, 0 doubled");
    wait_for("the other bridge to end", || {
        server.subscribers("question") == 0
    });
    assert_eq!(there.panic_count(), 1);
    there.clear();
}
