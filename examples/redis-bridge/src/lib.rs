//! One event registry over many processes: a bridge from topics to Redis channels.
//!
//! ```sh
//! redis-server &
//! cargo run --release -p redis-bridge # two processes talk, at REDIS_URL if it is set
//! ```
//!
//! A [`Bridge`] gives each topic that has a handler in this process the Redis channel of the same
//! name, for as long as it has one. What is [published](Bridge::publish) on one bridge, the
//! handlers of all bridges hear, each once: those of its own process at once and on the
//! publishing thread, the others on the thread of their bridge that listens.
//!
//! # What is lost
//!
//! Redis delivers a message at most once, and keeps none. So does the bridge: it never sends
//! anything twice. Handlers in the publishing process always hear. The others miss
//!
//! * what is published while Redis is away, or while 1,024 messages wait for it already: that is
//!   refused at once ([`Published::is_queued`]);
//! * what is on its way when the connection breaks: nobody knows whether it arrived. What still
//!   waits is sent when Redis is back ([`Bridge::lost`] counts what is refused or breaks off);
//! * what others publish while *they* are not connected, or not subscribed yet
//!   ([`Bridge::settle`] waits for that). The sender cannot know;
//! * what piles up for a process whose handlers are too slow: Redis cuts it off
//!   (`client-output-buffer-limit pubsub`), and it connects anew.
//!
//! Messages that no bridge sent are ignored.
//!
//! When Redis is back, so is the bridge, within a second or two, and with all its channels.
//!
//! # Why two threads and blocking connections
//!
//! The `ConnectionManager` of `redis` 1.2 reconnects by itself, but it gives up after so many
//! attempts, forgets what is subscribed while the server is away, ignores it if subscribing anew
//! fails, and queues what handlers are too slow for without bound. Here, the channels that are
//! wanted are kept by the bridge, and a handler that is slow lets the socket fill up.

#![forbid(unsafe_code)]

mod bridge;
mod channels;
mod link;
mod listener;
mod origin;
pub mod peer;
mod speaker;

pub use bridge::{Bridge, Published, Topics};
