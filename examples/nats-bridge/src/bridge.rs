//! [`Bridge`]: events that one process publishes reach the handlers of all processes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ToServerAddrs};
use lru::LruCache;
use tokio::runtime::Handle;
use tokio::select;
use tokio::sync::{Semaphore, mpsc as queue, oneshot};
use tokio::time::{sleep, timeout};
use topic_registry::{Key, ObserverGuard, SyncRegistry, TopicRegistry};

use crate::event::{Counts, Event, Shared, lock};
use crate::inbox::{Inbox, dispatch};
use crate::network::{Network, Waiter, start};
use crate::number::{HEADER_LEN, LIMIT};
use crate::options::fault;
use crate::{Codec, Error, Options};

/// How long a bridge that was dropped tries to send the rest.
const GRACE: Duration = Duration::from_secs(2);

/// A bridge between the topics of this process and those of all others with a bridge to the same
/// server.
///
/// It keeps the topics alive. Dropping it ends it without waiting, and can be done anywhere, even
/// in a handler: once the drop has returned, no message starts to notify a topic, unless one is
/// about to. Its threads, its connection and thereby its subscriptions end by themselves, as soon
/// as the server has the queued messages; after two seconds at the latest, and usually at once
/// while the server is not connected. To be sure of the messages, await [`settled`](Self::settled)
/// before the drop.
#[derive(Debug)]
pub struct Bridge<K: Key, E: ?Sized + 'static, C> {
    // Dropped first: a handler may drop the bridge, and the drop waits for nothing else.
    _interest: ObserverGuard,
    topics: TopicRegistry<K, E>,
    codec: Arc<C>,
    subject: fn(&K) -> String,
    messages: queue::Sender<(String, Vec<u8>)>,
    calls: queue::Sender<Waiter>,
    shared: Arc<Shared>,
    client: Client,
    runtime: Handle,
    // Dropped last: it has the network look whether the channels are closed. It ends then; with it
    // the writing end of the inbox, and then the other thread.
    _open: oneshot::Sender<()>,
}

/// The state of a message to other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// The message is on its way: the connection is up. If it breaks at this moment, the message
    /// may be lost.
    Sent,
    /// The message is in the queue: the connection is down. It is sent after the reconnect.
    Queued,
    /// The message was dropped: the queue is full. Other processes never receive it.
    Dropped,
    /// The message was dropped: the key has no [valid subject](Options::subject).
    Refused,
}

/// The error for a payload that is larger than the server allows: its bytes, and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {0} bytes is larger than {1}, which the server allows")]
pub struct TooLarge(pub usize, pub usize);

impl<K: Key, E: ?Sized + 'static, C: Codec<E>> Bridge<K, E, C> {
    /// Connects the topics, including those that already have handlers.
    ///
    /// A server is an address such as `"nats://host:4222"`, or `tls://` for an encrypted
    /// connection; pass several in a `Vec`. The bridge has two threads: one serves the connection,
    /// the other calls the handlers.
    ///
    /// An already connected client is not accepted: it does not reveal whether it echoes, nor
    /// report its events. Connect topics to a server once: a second bridge would notify them of
    /// each message again.
    ///
    /// # Errors
    ///
    /// If the server is not reachable now, or refuses the connection. Later, it may disconnect and
    /// reconnect.
    ///
    /// # Panics
    ///
    /// If `queue_capacity` is 0.
    pub async fn connect(
        servers: impl ToServerAddrs,
        topics: &TopicRegistry<K, E>,
        codec: C,
        options: Options<K>,
    ) -> Result<Self, ConnectError> {
        let (servers, shared) = (
            servers.to_server_addrs()?.collect(),
            Arc::<Shared>::default(),
        );
        let (alive, ended) = oneshot::channel();
        let (client, runtime) = start(options.client, servers, Arc::clone(&shared), ended).await?;

        let (codec, (incoming, outgoing)) = (Arc::new(codec), mpsc::channel());
        let (own, weak, told) = (topics.clone(), Arc::downgrade(&codec), Arc::clone(&shared));
        runtime.spawn_blocking(move || dispatch(&own, &weak, &told, &outgoing));
        let inbox = Arc::new(Inbox {
            messages: incoming,
            room: Semaphore::new(options.inbox_bytes.min(Semaphore::MAX_PERMITS)).into(),
            subscriptions: AtomicU64::new(0),
            seen: LruCache::new(LIMIT).into(),
            shared: Arc::clone(&shared),
        });
        let (subject, edges) = (options.subject, Arc::<Mutex<HashSet<K>>>::default());
        let (messages, queued) = queue::channel(options.queue_capacity);
        // So many calls may wait for the same answer; more wait for their turn.
        let (calls, called) = queue::channel(64);
        let network = Network {
            client: client.clone(),
            subject,
            edges: Arc::clone(&edges),
            messages: queued,
            calls: called,
            inbox,
            topics: HashMap::new(),
            subjects: HashSet::new(),
            numbers: LruCache::new(LIMIT),
            unconfirmed: None,
            waiters: Vec::new(),
        };
        let (open, closed) = oneshot::channel();
        let (told, own) = (Arc::clone(&shared), Arc::clone(&shared));
        runtime.spawn(async move {
            let _alive = alive;
            select! {
                _ = network.serve() => {},
                () = async { let _ = closed.await; own.bell.notify_one(); sleep(GRACE).await } => {}
            }
        });
        let interest = topics.observe_interest(move |key, _| {
            // For one key, gains and losses alternate and do not overlap, so a second edge cancels
            // the first: topics that come and go while nobody takes their edges cost no memory.
            // Keys are cloned and dropped without the lock.
            let (key, cancelled) = (key.clone(), lock(&edges).take(key));
            if cancelled.is_none() {
                lock(&edges).insert(key);
            }
            told.bell.notify_one();
        });
        Ok(Self {
            _interest: interest,
            topics: topics.clone(),
            codec,
            subject,
            messages,
            calls,
            shared,
            client,
            runtime,
            _open: open,
        })
    }

    /// Notifies the handlers in this process, then [sends](Self::send) the event to other
    /// processes.
    ///
    /// Does not wait for the network. All handlers here have run before other processes receive the
    /// event. Events that these handlers publish on this thread under the same subject are received
    /// before it.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). The handlers in this process have been called all the same.
    pub fn publish(&self, key: impl Into<K>, event: &E) -> Result<Remote, TooLarge> {
        let key = key.into();
        self.topics.notify(&key, event);
        self.send(&key, event)
    }

    /// Sends an event to other processes only: for callers that notify by a handle, or need the
    /// `Delivery` of the handlers here.
    ///
    /// # Errors
    ///
    /// If the event has a longer encoding than the server allows.
    pub fn send(&self, key: &K, event: &E) -> Result<Remote, TooLarge> {
        let payload = self.codec.encode(event);
        let limit = self.client.max_payload().saturating_sub(HEADER_LEN);
        if payload.len() > limit {
            return Err(TooLarge(payload.len(), limit));
        }
        let subject = (self.subject)(key);
        let is_up = self.client.connection_state() == State::Connected;
        let remote = match fault(&subject) {
            Some(why) => {
                self.shared.report(&Event::Refused(subject.into(), why.into()));
                Remote::Refused
            }
            None if self.messages.try_send((subject, payload)).is_err() => Remote::Dropped,
            None if is_up => Remote::Sent,
            None => Remote::Queued,
        };
        let is_lost = matches!(remote, Remote::Dropped | Remote::Refused);
        lock(&self.shared.counts).dropped += u64::from(is_lost);
        self.shared.bell.notify_one();
        Ok(remote)
    }

    /// Waits until the server has the subscriptions of exactly the topics that have handlers now,
    /// and all messages that were published before. In a cluster, this is the server that the
    /// bridge is connected to; the other servers follow soon after.
    ///
    /// # Errors
    ///
    /// If the server has not confirmed it within `limit`; if a topic's subject is
    /// [refused](Event::Refused); or if the connection broke after messages were sent that no
    /// earlier call has confirmed: they may be lost. The next call is not about these messages any
    /// more.
    pub fn settled(&self, limit: Duration) -> impl Future<Output = Result<(), Error>> {
        // For the timer, so that any runtime will do.
        let _within = self.runtime.enter();
        let (waiter, answer) = oneshot::channel();
        let settled = timeout(limit, async {
            self.calls.send(waiter).await?;
            self.shared.bell.notify_one();
            Ok(answer.await??)
        });
        async { settled.await? }
    }

    /// Returns the counts of what has happened so far.
    pub fn counts(&self) -> Counts {
        *lock(&self.shared.counts)
    }

    /// Returns the registry for callbacks that receive events of the bridge. They are called on
    /// threads of the bridge, so they must not block.
    pub fn events(&self) -> &SyncRegistry<Event> {
        &self.shared.events
    }
}
