//! [`Bridge`]: what one process publishes, the handlers of all hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use redis::{Client, RedisResult};
use topic_registry::{Delivery, TopicRegistry};

use crate::channels::Channels;
use crate::link::{self, Link};
use crate::listener::listen;
use crate::origin::Origin;
use crate::speaker::{self, Outgoing, speak};

/// Topics by the names of their Redis channels; the events are text.
pub type Topics = TopicRegistry<String, str>;

/// Joins the topics of this process to those of all others that have a bridge to the same Redis.
///
/// Topics have one bridge at most: it sets their [`on_interest`](Topics::on_interest) callback, and
/// clears it when it is dropped. It keeps the topics alive. Dropping it ends it, without waiting;
/// what is queued is still sent if Redis is there.
#[derive(Debug)]
pub struct Bridge {
    topics: Topics,
    queue: SyncSender<Outgoing>,
    shared: Arc<Shared>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug)]
#[must_use = "other processes may not hear of it"]
pub struct Published {
    /// What the handlers in this process made of it.
    pub local: Delivery,
    /// Whether it is on its way to Redis. If not, the other processes never hear of it.
    pub is_queued: bool,
}

/// What the threads of a bridge have in common.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) origin: Origin,
    pub(crate) channels: Channels,
    pub(crate) lost: AtomicU64,
    pub(crate) is_over: AtomicBool,
    speaking: Link,
    listening: Link,
}

impl Bridge {
    /// Connects the topics, those that have handlers already and those to come.
    ///
    /// # Errors
    ///
    /// If Redis is not there at this time, or will not have us; the message says where it was
    /// looked for. Later it may come and go.
    pub fn connect(client: &Client, topics: &Topics) -> Result<Self, String> {
        let address = client.get_connection_info().addr();
        let why = |why| format!("no Redis at {address}: {}", link::describe(&why));
        Self::start(client, topics).map_err(why)
    }

    /// Delivers a message to the handlers in this process, and sends it to the others.
    ///
    /// Does not wait for the network. When the others hear, all handlers here have; and what
    /// those published in turn on this thread, the others have heard before.
    pub fn publish(&self, key: &str, message: &str) -> Published {
        let local = self.topics.notify(key, message);
        let is_queued = self.shared.speaking.is_up() && self.enqueue(key, message);
        if !is_queued {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        Published { local, is_queued }
    }

    /// Waits until Redis has confirmed the channels of all topics that have handlers by now.
    ///
    /// # Errors
    ///
    /// If it has not within `patience`; the message says what is wrong.
    pub fn settle(&self, patience: Duration) -> Result<(), String> {
        if self.shared.channels.settle(patience) {
            return Ok(());
        }
        let fault = self.fault().unwrap_or_else(|| "it is too slow".to_owned());
        Err(format!("not subscribed within {patience:?}: {fault}"))
    }

    /// How many messages other processes did not hear of: those that were not queued, and those
    /// on their way when the connection broke. Of the latter, some may have arrived. What is still
    /// queued when the bridge is dropped while Redis is away is not counted.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// What is wrong with the connection to Redis, unless all is well.
    pub fn fault(&self) -> Option<String> {
        let mut links = [&self.shared.speaking, &self.shared.listening].into_iter();
        links.find_map(Link::fault)
    }

    fn start(client: &Client, topics: &Topics) -> RedisResult<Self> {
        let speaker = link::connect(client)?;
        let listener = link::connect(client)?;
        let (queue, outgoing) = mpsc::sync_channel(speaker::QUEUE);
        let shared = Arc::new(Shared::default());

        spawn("bridge-speaker", client, &shared, move |shared, client| {
            let (link, is_over) = (&shared.speaking, &shared.is_over);
            link.keep(client, speaker, is_over, |it| speak(shared, &outgoing, it));
        })?;
        let own = topics.clone();
        spawn("bridge-listener", client, &shared, move |shared, client| {
            let (link, is_over) = (&shared.listening, &shared.is_over);
            link.keep(client, listener, is_over, |it| {
                // Before the fault shows: nobody shall take for confirmed what Redis forgot.
                listen(shared, &own, it).inspect_err(|_| shared.channels.start_over())
            });
        })?;

        let (told, waker) = (Arc::clone(&shared), queue.clone());
        topics.on_interest(move |key, interest| {
            told.channels.record(key, interest);
            // Whoever registers a handler shall not wait for the network. If the queue is full
            // or Redis is away, the next pulse does it.
            if told.speaking.is_up() {
                let _ = waker.try_send(Outgoing::Wake);
            }
        });
        Ok(Self {
            topics: topics.clone(),
            queue,
            shared,
        })
    }

    fn enqueue(&self, key: &str, message: &str) -> bool {
        let (channel, payload) = (key.to_owned(), self.shared.origin.seal(message));
        let message = Outgoing::Message { channel, payload };
        self.queue.try_send(message).is_ok()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Nothing is joined: a handler may be what drops the bridge, on the listener's thread.
        // The speaker ends when the queue does, which the callback has a share of; and its last
        // pulse wakes the listener.
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.topics.clear_interest_callback();
    }
}

fn spawn(
    name: &str,
    client: &Client,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Shared, &Client) + Send + 'static,
) -> RedisResult<()> {
    let (client, shared) = (client.clone(), Arc::clone(shared));
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(move || run(&shared, &client))?;
    Ok(())
}
