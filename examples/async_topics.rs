//! Async topics by key, with handlers that borrow the event instead of cloning it.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use topic_registry::AsyncTopicRegistry;

struct Message {
    from: String,
    text: String,
}

/// Stores a message, and borrows it for as long as that takes.
async fn store(message: &Message) {
    sleep(Duration::from_millis(20)).await;
    println!("  stored {:?} of {}", message.text, message.from);
}

async fn push(message: &Message) {
    println!("  pushed a note to the phone: {} wrote", message.from);
}

#[tokio::main]
async fn main() {
    let rooms = AsyncTopicRegistry::<String, Message>::new();
    rooms.register_async_fn("kitchen", store);
    let phone = rooms.options("kitchen").priority(10).guard().register_async_fn(push);
    let message = |text: &str| Message {
        from: "Ada".to_owned(),
        text: text.to_owned(),
    };

    println!("to the kitchen, twice at once:");
    let kitchen = rooms.handle("kitchen");
    let (one, two) = (message("tea?"), message("with milk"));
    tokio::join!(kitchen.notify(&one), rooms.notify("kitchen", &two));

    println!("to the kitchen, with the phone away:");
    drop(phone);
    kitchen.notify(&message("anybody?")).await;

    println!("to an empty room: nothing happens, and no topic is created");
    rooms.notify("cellar", &message("hello?")).await;
    println!("  topics: {:?}", rooms.keys());

    println!("to the kitchen, but not for longer than 5 ms:");
    let late = timeout(Duration::from_millis(5), kitchen.notify(&message("quick!"))).await;
    println!("  in time: {}", late.is_ok());
}
