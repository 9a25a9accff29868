//! [`Bridge`]: events that one process publishes reach the handlers of all processes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::{future::ready, io, thread, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ToServerAddrs, connection::State};
use tokio::sync::{Notify, Semaphore, mpsc as queue, oneshot};
use tokio::{runtime::Builder, runtime::Handle, select, time};
use topic_registry::{Key, ObserverGuard, SyncRegistry, TopicRegistry};

use crate::event::{Counts, Event, Reports, lock};
use crate::inbox::{Inbox, dispatch};
use crate::network::{Edges, Network, Waiter};
use crate::{Codec, Error, Options, number::HEADER_LEN, number::Numbers, options::fault};

/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// How many calls of `settled` may wait for the same answer; more wait for their turn.
const CALLS: usize = 64;

/// A bridge between the topics of this process and those of all others with a bridge to the same
/// server.
///
/// It keeps the topics alive. Dropping it ends it without waiting, and can be done anywhere, even
/// in a handler: once the drop has returned, no message starts to notify a topic, unless one is
/// about to. Its threads, its connection and thereby its subscriptions end by themselves, as soon as
/// the server has the queued messages; after two seconds at the latest, and at once while the server
/// is not connected. To be sure of the messages, await [`settled`](Self::settled) before the drop.
#[derive(Debug)]
pub struct Bridge<K: Key, E: ?Sized + 'static, C> {
    // Dropped first: a handler may drop the bridge, and the drop waits for nothing else.
    _interest: ObserverGuard,
    topics: TopicRegistry<K, E>,
    codec: Arc<C>,
    subject: fn(&K) -> String,
    messages: queue::Sender<(String, Vec<u8>)>,
    calls: queue::Sender<Waiter>,
    reports: Arc<Reports>,
    edges: Arc<Edges<K>>,
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
    /// report its events. Connect topics to a server once: a second bridge would notify them of each
    /// message again.
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
        let parsed = servers.to_server_addrs();
        let wrong = |why| ConnectError::with_source(ConnectErrorKind::ServerParse, why);
        let servers: Vec<_> = parsed.map_err(wrong)?.collect();
        let reports = Arc::<Reports>::default();
        let (told, is_again) = (Arc::clone(&reports), AtomicBool::new(false));
        // The client drops the callback when it gives up.
        let (alive, ended) = oneshot::channel::<()>();
        let client = options.client.no_echo().event_callback(move |event| {
            let _ = &alive;
            told.heed(event);
            ready(())
        });
        // A server may disconnect whoever has just connected.
        let client = client.reconnect_delay_callback(move |_| {
            PAUSE * u32::from(is_again.swap(true, Ordering::Relaxed))
        });

        let ((codec, own), told) = ((Arc::new(codec), topics.clone()), Arc::clone(&reports));
        let ((incoming, outgoing), weak) = (mpsc::channel(), Arc::downgrade(&codec));
        let run = move || dispatch(&own, &weak, &told, &outgoing);
        thread::Builder::new().name("topic-handlers".into()).spawn(run)?;
        let limit = options.inbox_bytes.min(Semaphore::MAX_PERMITS);
        let inbox = Arc::new(Inbox {
            messages: incoming,
            limit,
            room: Arc::new(Semaphore::new(limit)),
            subscriptions: AtomicU64::new(0),
            seen: Mutex::new(Numbers::default()),
            reports: Arc::clone(&reports),
        });
        let edges = Arc::new(Edges(Mutex::default(), Notify::new()));
        let (messages, queued) = queue::channel(options.queue_capacity);
        let (calls, called) = queue::channel(CALLS);
        let (told, own, subject) = (Arc::clone(&reports), Arc::clone(&edges), options.subject);
        let network = move |client| Network {
            client,
            reports: told,
            subject,
            edges: own,
            messages: queued,
            calls: called,
            inbox,
            topics: HashMap::new(),
            subjects: HashSet::new(),
            numbers: Numbers::default(),
            unconfirmed: None,
            waiters: Vec::new(),
        };
        let (mut tell, connected) = oneshot::channel();
        let (open, closed) = oneshot::channel();
        let run = async move {
            let client = select! {
                client = client.connect(servers) => client,
                () = tell.closed() => return,
            };
            let network = client.as_ref().ok().cloned().map(network);
            if let (Ok(()), Some(network)) = (tell.send(client), network) {
                network.run(closed, ended).await;
            }
        };
        // A runtime of its own, since some tasks of the client only end with it.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new().name("topic-network".into()).spawn(move || {
            runtime.block_on(run);
            // Without waiting for a look-up of a host.
            runtime.shutdown_background();
        })?;
        let client = connected.await.map_err(io::Error::other)??;
        let own = Arc::clone(&edges);
        Ok(Self {
            _interest: topics.observe_interest(move |key, _| own.toggle(key.clone())),
            topics: topics.clone(),
            codec,
            subject,
            messages,
            calls,
            reports,
            edges,
            client,
            runtime: handle,
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
        self.send(key, event)
    }

    /// Sends an event to other processes only: for callers that notify by a handle, or need the
    /// `Delivery` of the handlers here.
    ///
    /// # Errors
    ///
    /// If the event has a longer encoding than the server allows.
    #[expect(clippy::needless_pass_by_value, reason = "as `publish` takes it")]
    pub fn send(&self, key: K, event: &E) -> Result<Remote, TooLarge> {
        let payload = self.codec.encode(event);
        let limit = self.client.max_payload().saturating_sub(HEADER_LEN);
        if payload.len() > limit {
            return Err(TooLarge(payload.len(), limit));
        }
        let subject = (self.subject)(&key);
        let is_up = self.client.connection_state() == State::Connected;
        let (remote, refused) = if let Some(why) = fault(&subject) {
            (
                Remote::Refused,
                Some(Event::Refused(subject.into(), why.into())),
            )
        } else if self.messages.try_send((subject, payload)).is_err() {
            (Remote::Dropped, None)
        } else {
            self.edges.1.notify_one();
            return Ok(if is_up { Remote::Sent } else { Remote::Queued });
        };
        lock(&self.reports.counts).dropped += 1;
        if let Some(refused) = refused {
            self.reports.report(&refused);
        }
        Ok(remote)
    }

    /// Waits until the server has the subscriptions of exactly the topics that have handlers now,
    /// and all messages that were published before. In a cluster, this is the server that the
    /// bridge is connected to; the other servers follow soon after.
    ///
    /// # Errors
    ///
    /// If the server has not confirmed it within `limit`; if a topic's subject is
    /// [refused](Event::Refused); or if the connection broke after messages were sent that no earlier
    /// call has confirmed: they may be lost. The next call is not about these messages any more.
    pub async fn settled(&self, limit: Duration) -> Result<(), Error> {
        let (waiter, answer) = oneshot::channel();
        let settled = async {
            self.calls.send(waiter).await?;
            self.edges.1.notify_one();
            Ok::<_, Error>(answer.await??)
        };
        let settled = {
            let _within = self.runtime.enter();
            time::timeout(limit, settled)
        };
        settled.await?
    }

    /// Returns the counts of what has happened so far.
    pub fn counts(&self) -> Counts {
        *lock(&self.reports.counts)
    }

    /// Returns the registry for callbacks that receive events of the bridge. They are called on
    /// threads of the bridge, so they must not block.
    pub fn events(&self) -> &SyncRegistry<Event> {
        &self.reports.events
    }
}
