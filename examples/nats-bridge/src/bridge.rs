//! [`Bridge`]: events that one process publishes reach the handlers of all processes.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectError, Event as ClientEvent, ServerError, ToServerAddrs, connection::State,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::{select, time};
use topic_registry::{Key, ObserverGuard, SyncRegistry, TopicRegistry};

use crate::event::{Counts, Event, Reports};
use crate::{Codec, Error, Options, number::HEADER_LEN, subject::fault};
use crate::{inbox::Inbox, inbox::dispatch, network::Network, outbox::Outbox};

/// How long a bridge that was dropped tries to send the rest.
const GRACE: Duration = Duration::from_secs(2);

/// The shortest time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// The name of the threads.
const NAME: &str = "topic-nats";

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
    // The drop waits for nothing else: a handler may drop the bridge, and other handlers may block.
    _interest: ObserverGuard,
    topics: TopicRegistry<K, E>,
    codec: Arc<C>,
    subject: fn(&K) -> String,
    reports: Arc<Reports>,
    outbox: Closing<K>,
    client: Client,
    runtime: Handle,
}

/// The outbox, closed when the bridge is dropped. The network task ends then; with it the writing
/// end of the inbox, and then the other thread.
#[derive(Debug)]
struct Closing<K: Key>(Arc<Outbox<K>>);

impl<K: Key> Drop for Closing<K> {
    fn drop(&mut self) {
        self.0.close();
    }
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
    /// If a capacity is 0.
    pub async fn connect(
        servers: impl ToServerAddrs,
        topics: &TopicRegistry<K, E>,
        codec: C,
        options: Options<K>,
    ) -> Result<Self, ConnectError> {
        let (outbox, codec) = (
            Arc::new(Outbox::new(options.queue_capacity)),
            Arc::new(codec),
        );
        let reports = Arc::<Reports>::default();
        let (complaint, errors) = mpsc::channel(1024);
        let told = Arc::clone(&reports);
        let on_event = move |event| {
            if let ClientEvent::ServerError(ServerError::Other(text)) = &event {
                // If there are many, some are enough.
                let _ = complaint.try_send(text.clone());
            }
            if !matches!(&event, ClientEvent::ServerError(why) if told.is_own(&why.to_string())) {
                told.report(&Event::Client(event));
            }
            ready(())
        };
        let client = options.client.no_echo().event_callback(on_event);
        let client = client.reconnect_delay_callback(paced());

        // A runtime of its own, since some tasks of the client only end with it.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (alive, ended)) = (runtime.handle().clone(), oneshot::channel::<()>());
        thread::Builder::new().name(NAME.into()).spawn(move || {
            let _ = runtime.block_on(ended);
            // Without waiting for a look-up of a host.
            runtime.shutdown_background();
        })?;
        let mut connecting = pin!(client.connect(servers));
        let connected = poll_fn(|context| {
            let _within = handle.enter();
            connecting.as_mut().poll(context)
        });
        let client = connected.await?;
        reports.set_address(client.new_inbox());

        let (inbox, incoming, waiting) = Inbox::new(options.inbox_bytes, Arc::clone(&reports));
        let (own, weak, told) = (topics.clone(), Arc::downgrade(&codec), Arc::clone(&reports));
        let run = move || dispatch(&own, &weak, &told, &incoming, &waiting);
        thread::Builder::new().name(NAME.into()).spawn(run)?;

        let (subject, own) = (options.subject, Arc::clone(&outbox));
        let (connection, told) = (client.clone(), Arc::clone(&reports));
        let network = Network::new(connection, told, subject, Arc::clone(&own), inbox, errors);
        handle.spawn(async move {
            let _alive = alive;
            let closed = async {
                own.closed().await;
                time::sleep(GRACE).await;
            };
            select! {
                () = network.serve() => {},
                () = closed => {},
            }
        });

        let own = Arc::clone(&outbox);
        let interest = topics.observe_interest(move |key, interest| {
            own.note(key.clone(), interest);
        });
        Ok(Self {
            _interest: interest,
            topics: topics.clone(),
            codec,
            subject,
            reports,
            outbox: Closing(outbox),
            client,
            runtime: handle,
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
    pub fn send(&self, key: K, event: &E) -> Result<Remote, TooLarge> {
        let payload = self.codec.encode(event);
        let limit = self.client.max_payload().saturating_sub(HEADER_LEN);
        if payload.len() > limit {
            return Err(TooLarge(payload.len(), limit));
        }
        let subject = (self.subject)(&key);
        if let Some(why) = fault(&subject) {
            self.reports.count(|counts| counts.dropped += 1);
            self.reports.refuse(&subject, why);
            return Ok(Remote::Refused);
        }
        let is_up = self.client.connection_state() == State::Connected;
        if !self.outbox.0.push((subject, payload)) {
            self.reports.count(|counts| counts.dropped += 1);
            return Ok(Remote::Dropped);
        }
        Ok(if is_up { Remote::Sent } else { Remote::Queued })
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
        self.outbox.0.ask(waiter);
        let answer = {
            let _within = self.runtime.enter();
            time::timeout(limit, answer)
        };
        Ok(answer.await???)
    }

    /// Returns the counts of what has happened so far.
    pub fn counts(&self) -> Counts {
        self.reports.count(|counts| *counts)
    }

    /// Returns the registry for callbacks that receive events of the bridge. They are called on
    /// threads of the bridge, so they must not block.
    pub fn events(&self) -> &SyncRegistry<Event> {
        &self.reports.events
    }
}

/// Returns a callback for the delays of a client that may be disconnected as soon as it is
/// connected.
fn paced() -> impl Fn(usize) -> Duration + Send + Sync + 'static {
    let next = Mutex::new(Instant::now());
    move |_| {
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let start = now.max(*next);
        *next = start + PAUSE;
        start - now
    }
}
