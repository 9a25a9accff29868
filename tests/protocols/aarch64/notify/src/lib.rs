//! What `order` compiles, to look at the instructions of a notification by handle.
use topic_registry::{SyncRegistry, TopicRegistry};

/// Notifies a topic's handlers.
#[unsafe(no_mangle)]
pub fn notify(registry: &SyncRegistry<u64>, event: &u64) -> usize {
    registry.notify(event).called()
}

/// Looks the topic up, and notifies its handlers.
#[unsafe(no_mangle)]
pub fn notify_by_key(topics: &TopicRegistry<u64, u64>, key: &u64, event: &u64) -> usize {
    topics.notify(key, event).called()
}
