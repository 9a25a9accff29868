//! Order: higher priorities run first, equal ones in the order of registration.

use topic_registry::SyncRegistry;

/// An application names its priorities once; they are plain numbers.
const FIRST: i32 = 100;
const LAST: i32 = -100;

fn main() {
    let shutdown = SyncRegistry::<str>::new();

    // Whatever the order in which the components start ...
    shutdown.register_with_priority(LAST, |_| println!("  close the log"));
    shutdown.register(|_| println!("  store the index"));
    shutdown.register_with_priority(FIRST, |reason| println!("  stop listening: {reason}"));
    shutdown.register(|_| println!("  store the cache"));

    // ... they shut down in this one.
    println!("shutdown:");
    shutdown.notify("asked by the user");

    println!("which is, as listed:");
    for info in shutdown.handlers() {
        let (priority, line) = (info.priority, info.registered_at.line());
        println!("  at {priority:>4}, registered on line {line}");
    }

    // There is room for more between two priorities.
    shutdown.register_with_priority(FIRST - 1, |_| println!("  wait for running requests"));
    println!("shutdown, with one more step:");
    shutdown.notify("asked by the system");
}
