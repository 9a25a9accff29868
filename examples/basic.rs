//! The first topic: a handler under a key, notified by a handle and by the key.

use topic_registry::TopicRegistry;

struct Reload {
    path: String,
    version: u32,
}

fn main() {
    let topics = TopicRegistry::<String, Reload>::new();

    // Components register handlers for the keys that concern them; the first handler creates the
    // topic.
    topics.register("config.reload", |reload| {
        println!("  screen: {} is now at {}", reload.path, reload.version);
    });
    let audit = topics.register("config.reload", |reload| {
        println!("  audit: version {}", reload.version);
    });

    // A producer looks its key up once ...
    let handle = topics.handle("config.reload");
    let mut reload = Reload {
        path: "app.toml".to_owned(),
        version: 1,
    };
    println!("by handle:");
    let delivery = handle.notify(&reload);
    println!("{} handlers were called", delivery.called());

    // ... or whenever it has something to say.
    println!("by key, without the audit:");
    topics.unregister("config.reload", audit);
    reload.version += 1;
    topics.notify("config.reload", &reload);

    // A key without handlers has no topic, and notifying it creates none.
    let delivery = topics.notify("config.delete", &reload);
    println!("without handlers: {} were called", delivery.called());
    println!("topics: {:?}", topics.keys());
}
