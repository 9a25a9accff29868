//! [`Bridge`]: events that one process publishes reach the handlers of all processes.

use std::{future::ready, sync::Arc, time::Duration};

use async_nats::{Client, ConnectError, ToServerAddrs, connection::State};
use futures_util::StreamExt;
use tokio::{sync::mpsc, time::timeout};
use topic_registry::{Key, ObserverGuard, SyncRegistry, TopicRegistry};

use crate::event::{Counts, Event, Reports};
use crate::network::{Outgoing, dispatch, serve};
use crate::{Codec, Error, Options, number::HEADER_LEN};

/// A bridge between the topics of this process and those of all others with a bridge to the same
/// server.
///
/// It keeps the topics alive. Dropping it ends it without waiting, and can be done anywhere, even
/// in a handler: once the drop has returned, no message starts to notify a topic, unless one is
/// about to. Its thread, its tasks, its connection and thereby its subscriptions end by themselves;
/// queued messages are still sent if the server is reachable and the runtime keeps running. To be
/// sure of that, await [`settled`](Self::settled) before the drop.
#[derive(Debug)]
pub struct Bridge<K: Key, E: ?Sized + 'static, C> {
    // The drop waits for nothing else: a handler may drop the bridge, and other handlers may block.
    // The task ends when it has emptied the queue; then the inbox ends, and then the thread.
    _interest: ObserverGuard,
    topics: TopicRegistry<K, E>,
    codec: Arc<C>,
    reports: Arc<Reports>,
    queue: mpsc::Sender<Outgoing<K>>,
    client: Client,
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
}

/// The error for a payload that is larger than the server allows: its bytes, and the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {0} bytes is larger than {1}, which the server allows")]
pub struct TooLarge(pub usize, pub usize);

impl<K: Key, E: ?Sized + 'static, C: Codec<E>> Bridge<K, E, C> {
    /// Connects the topics, including those that already have handlers.
    ///
    /// A server is an address such as `"nats://host:4222"`, or `tls://` for an encrypted
    /// connection; pass several in a `Vec`. The current `tokio` runtime serves the connection.
    ///
    /// An already connected client is not accepted: it does not reveal whether it echoes, nor
    /// report its events.
    ///
    /// # Errors
    ///
    /// If the server is not reachable now, or refuses the connection. Later, it may disconnect and
    /// reconnect.
    ///
    /// # Panics
    ///
    /// If a capacity is 0, or there is no runtime.
    pub async fn connect(
        servers: impl ToServerAddrs,
        topics: &TopicRegistry<K, E>,
        codec: C,
        options: Options<K>,
    ) -> Result<Self, ConnectError> {
        let (codec, reports) = (Arc::new(codec), Arc::<Reports>::default());
        let told = reports.clone();
        let on_event = move |event| {
            told.report(&Event::Client(event));
            ready(())
        };
        let client = options.client.no_echo().event_callback(on_event);
        let client = client.connect(servers).await?;
        let (queue, outgoing) = mpsc::channel(options.queue_capacity);
        let (record, edges) = mpsc::unbounded_channel();
        // Enough so that neither the tasks nor the thread of the handlers waits at each message.
        let (inbox, incoming) = mpsc::channel(256);

        let (own, alive, told) = (topics.clone(), Arc::downgrade(&codec), reports.clone());
        std::thread::spawn(move || dispatch(&own, &alive, &told, incoming));
        let (own, told) = (client.clone(), reports.clone());
        tokio::spawn(serve(own, told, options.subject, inbox, edges, outgoing));

        let interest = topics.observe_interest(move |key, interest| {
            // It has no receiver any more when the bridge has ended.
            let _ = record.send((key.clone(), interest));
        });
        Ok(Self {
            _interest: interest,
            topics: topics.clone(),
            codec,
            reports,
            queue,
            client,
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
        let is_up = self.client.connection_state() == State::Connected;
        if self.queue.try_send(Ok((key, payload))).is_err() {
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
    /// If the server has not confirmed it within `limit`, or the connection breaks meanwhile.
    pub async fn settled(&self, limit: Duration) -> Result<(), Error> {
        let confirmed = async {
            let inbox = self.client.new_inbox();
            let mut answer = self.client.subscribe(inbox.clone()).await?;
            self.queue.send(Err(inbox)).await?;
            let answer = answer.next().await.map(drop);
            answer.ok_or_else(|| "the client has ended".into())
        };
        timeout(limit, confirmed).await?
    }

    /// Returns the counts of what has happened so far.
    pub fn counts(&self) -> Counts {
        self.reports.count(|counts| *counts)
    }

    /// Returns the registry for callbacks that receive events of the bridge. They are called on
    /// threads of the runtime, so they must not block.
    pub fn events(&self) -> &SyncRegistry<Event> {
        &self.reports.events
    }
}
