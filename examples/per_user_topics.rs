//! Short-lived topics: one for each connected user, and none for other users.
//!
//! With a page that shows them:
//! `cargo run -p topic-registry-inspect --example per_user_topics -- --inspect`.

use topic_registry::{HandlerGuard, TopicRegistry};

pub(crate) type UserId = u64;

const USERS: UserId = 100_000;

pub(crate) struct Message {
    pub(crate) from: UserId,
    pub(crate) text: &'static str,
}

/// One connection of a user; there may be several.
struct Session {
    _guard: HandlerGuard,
}

impl Session {
    fn open(messages: &TopicRegistry<UserId, Message>, user: UserId, device: &'static str) -> Self {
        let guard = messages.register_guard(user, move |message| {
            println!(
                "  to {user} on the {device}, from {}: {}",
                message.from, message.text
            );
        });
        Self { _guard: guard }
    }
}

fn main() {
    demonstrate(&TopicRegistry::new());
}

pub(crate) fn demonstrate(messages: &TopicRegistry<UserId, Message>) {
    let send = |to: UserId, from, text| {
        let delivery = messages.notify(&to, &Message { from, text });
        println!("  heard by {} of {to}'s devices", delivery.called());
    };

    let phone = Session::open(messages, 7, "phone");
    let laptop = Session::open(messages, 7, "laptop");
    println!("7 has two devices:");
    send(7, 8, "tea?");
    drop(phone);
    println!("7 has one device:");
    send(7, 8, "tea!");
    println!("8 is not connected, and the message leaves no topic behind:");
    send(8, 7, "with milk");
    println!("  topics: {:?}", messages.keys());
    drop(laptop);

    let open = |user| Session::open(messages, user, "phone");
    let sessions: Vec<_> = (0..USERS).map(open).collect();
    println!("{USERS} users connected: {} topics", messages.len());
    drop(sessions);
    println!("all disconnected: {} topics", messages.len());
}
