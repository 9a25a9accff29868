//! Graceful shutdown: async handlers finish what they have begun, and start nothing more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use topic_registry::{AsyncTopicRegistry, JoinGuard};

/// A service that writes uploads to its store, which must not be closed during a write.
struct Service {
    guards: Vec<JoinGuard>,
    written: Arc<AtomicUsize>,
}

impl Service {
    fn start(topics: &AsyncTopicRegistry<String, str>) -> Self {
        let written = Arc::new(AtomicUsize::new(0));
        let guards = ["upload", "avatar"].map(|key| {
            let store = Arc::clone(&written);
            let topic = topics.handle(key);
            topic.options().joinable().register_async_fn(async move |file: &str| {
                println!("  {file}: writing");
                sleep(Duration::from_millis(50)).await;
                store.fetch_add(1, Ordering::Relaxed);
                println!("  {file}: written");
            })
        });
        let guards = guards.into();
        Self { guards, written }
    }

    /// Stops the service, and waits until no write is in progress. Events from now on find no
    /// handler.
    async fn stop(self) {
        // `join` removes the handler at once, so all are removed before the first is waited for.
        let joins: Vec<_> = self.guards.into_iter().map(JoinGuard::join_async).collect();
        for join in joins {
            join.await;
        }
    }
}

#[tokio::main]
async fn main() {
    let topics = AsyncTopicRegistry::<String, str>::new();
    let service = Service::start(&topics);
    let written = Arc::clone(&service.written);

    println!("two uploads, and the service stops:");
    let uploads = [("upload", "report.pdf"), ("avatar", "ada.png")].map(|(key, file)| {
        let topics = topics.clone();
        tokio::spawn(async move { topics.notify(key, file).await })
    });
    sleep(Duration::from_millis(10)).await;
    println!("  written so far: {}", written.load(Ordering::Relaxed));

    let stopped = timeout(Duration::from_secs(5), service.stop()).await;
    println!("  stopped in time: {}", stopped.is_ok());
    println!("  written: {}", written.load(Ordering::Relaxed));
    for upload in uploads {
        upload.await.expect("a dispatch ends by itself");
    }

    println!("an upload after the shutdown:");
    let late = topics.notify("upload", "late.txt").await;
    println!("  {} handlers were called", late.called());
}
