//! The example `per_user_topics` of the library, with a page that shows its topics: users come and
//! go until Ctrl-C, one of them leaks, and one panics.
//!
//! ```text
//! cargo run -p topic-registry-inspect --example per_user_topics -- --inspect
//! cargo run -p topic-registry-inspect --example per_user_topics -- --inspect=127.0.0.1:7000
//! ```

mod arguments;
#[path = "../../per_user_topics.rs"]
#[allow(dead_code, reason = "it has a `main` of its own")]
mod per_user_topics;

use std::collections::VecDeque;
use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use per_user_topics::{Message, UserId};
use topic_registry::{HandlerGuard, TopicRegistry};
use topic_registry_inspect::{Inspector, Reports};

type Topics = TopicRegistry<UserId, Message>;

fn main() -> ExitCode {
    let show = |user: &UserId| format!("user {user}");
    let reports = Reports::new();
    let [of_slow, of_panics] = [reports.clone(), reports.clone()];
    let topics = Topics::builder()
        .count_calls()
        .on_slow(Duration::from_millis(2), move |user, handler, time| {
            of_slow.add_slow_call(&show(user), handler, time);
        })
        .build();
    topics.on_panic(move |user, info| of_panics.add_panic(&show(user), info));
    let inspector = Inspector::new().watch_by("users", &topics, show).reports("users", &reports);
    let mut args = env::args_os().skip(1).collect();
    let guard = match arguments::inspect(&mut args, inspector) {
        Ok(guard) => guard,
        Err(status) => return status,
    };
    if let Some(arg) = args.first() {
        eprintln!("{arg:?} is no argument; usage: per_user_topics [--inspect[=ADDRESS:PORT]]");
        return ExitCode::from(2);
    }
    per_user_topics::demonstrate(&topics);
    if guard.is_some() {
        println!("users come and go until Ctrl-C");
        come_and_go(&topics);
    }
    ExitCode::SUCCESS
}

/// Has users connect and disconnect, and send messages, without end.
fn come_and_go(topics: &Topics) {
    // They print one line each.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut sessions, mut leaked) = (VecDeque::new(), Vec::new());
    // Nobody hears what is sent to these.
    let _handles: Vec<_> = (901..904u64).map(|user| topics.handle(user)).collect();
    for round in 0u64.. {
        // A number that looks random.
        let dice = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let user = dice % 400;
        sessions.push_back(phone(topics, user));
        if dice % 3 == 0 {
            sessions.push_back(laptop(topics, user));
        }
        while sessions.len() > 600 {
            sessions.pop_front();
        }
        if round % 40 == 0 && round > 600 {
            leaked.push(topics.options(17u64).name("tablet").guard().register(|_| {}));
        }
        for to in 0..20 {
            let text = if round % 500 == 0 && to == 0 {
                ""
            } else {
                "hello"
            };
            let message = Message { from: user, text };
            topics.notify(&((dice / 400 + to * 7) % 400), &message);
        }
        // At first, everybody comes at once.
        if round > 600 {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn phone(topics: &Topics, user: UserId) -> HandlerGuard {
    topics.options(user).name("phone").guard().register(|message| {
        assert!(
            !message.text.is_empty(),
            "a message of nothing, from {}",
            message.from
        );
    })
}

fn laptop(topics: &Topics, user: UserId) -> HandlerGuard {
    topics
        .options(user)
        .name("laptop")
        .priority(-10)
        .guard()
        .register(move |message| {
            // Its disk is slow.
            if user % 100 == 42 && message.from % 50 == 7 {
                thread::sleep(Duration::from_millis(3));
            }
        })
}
