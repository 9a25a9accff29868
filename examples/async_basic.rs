//! Async handlers, run concurrently and one after the other: the same three waits, timed.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use topic_registry::AsyncRegistry;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let saves = AsyncRegistry::<str>::new();
    for (name, millis, priority) in [("index", 120, 0), ("backup", 180, 10), ("preview", 60, 0)] {
        saves.register_with_priority(priority, move |file| {
            let file = file.to_owned();
            async move {
                println!("  {name}: starts with {file}");
                sleep(Duration::from_millis(millis)).await;
                println!("  {name}: done after {millis} ms");
            }
        });
    }

    println!("concurrently:");
    let start = Instant::now();
    let delivery = saves.notify("report.txt").await;
    let concurrent = start.elapsed();
    println!(
        "{} handlers in {concurrent:.0?}, the longest wait",
        delivery.called()
    );

    println!("one after the other:");
    let start = Instant::now();
    let delivery = saves.notify_sequential("report.txt").await;
    let sequential = start.elapsed();
    println!(
        "{} handlers in {sequential:.0?}, the sum of the waits",
        delivery.called()
    );
}
