//! Isolation: a handler that panics does not affect the others, and `on_panic` reports which it
//! was.

use std::collections::HashSet;
use std::panic;
use std::sync::Mutex;

use topic_registry::TopicRegistry;

struct Order {
    item: &'static str,
    count: u32,
}

fn main() {
    // `on_panic` prints one line instead.
    panic::set_hook(Box::new(|_| {}));

    let topics = TopicRegistry::<String, Order>::new();
    let told = Mutex::new(HashSet::new());
    let same = topics.clone();
    topics.on_panic(move |topic, info| {
        let (message, location) = (info.message().unwrap_or("?"), info.registered_at());
        let line = location.line();
        println!("  panic in {topic}: {message} (registered on line {line})");
        // A handler that panics for the second time is removed.
        if let Some(id) = info.handler_id().filter(|id| !told.lock().unwrap().insert(*id)) {
            println!("  removed: {}", same.unregister(topic, id));
        }
    });

    topics.register_with_priority("orders", 10, |order| {
        let each = 100_u32.checked_div(order.count).expect("an order of nothing");
        println!("  price: {each} each");
    });
    topics.register("orders", |order| {
        println!("  store: {} of {}", order.count, order.item);
    });

    let orders = topics.handle("orders");
    for count in [4, 0, 0, 2] {
        println!("an order of {count}:");
        let order = Order { item: "tea", count };
        let delivery = orders.notify(&order);
        println!(
            "  {} called, {} panicked",
            delivery.called(),
            delivery.panicked()
        );
    }
    println!("panics so far: {}", topics.panic_count());

    // The callback owns the topics, and they own the callback.
    topics.clear_panic_callback();
}
