//! [`Bridge`]: what one process publishes, the handlers of all hear.

use std::{future::ready, sync::Arc, time::Duration};

use async_nats::{Client, ConnectError, ToServerAddrs, connection::State};
use futures_util::StreamExt;
use tokio::{sync::mpsc, time::timeout};
use topic_registry::{Key, ObserverGuard, SyncRegistry, TopicRegistry};

use crate::event::{Counts, Event, Reports};
use crate::network::{Outgoing, dispatch, serve};
use crate::{Codec, Error, Options, number::HEADER_LEN};

/// Joins the topics of this process to those of all others that have a bridge to the same server.
///
/// It keeps the topics alive. Dropping it ends it, without waiting, and can be done anywhere, also
/// by a handler: once that has returned, no message starts to notify a topic, unless one is about
/// to. Its thread, its tasks, its connection and with that its subscriptions end by themselves;
/// what is queued is still sent if the server is there and the runtime goes on. To be sure of that,
/// wait for [`settled`](Self::settled) before.
#[derive(Debug)]
pub struct Bridge<K: Key, E: ?Sized + 'static, C> {
    // Nothing else is joined when the bridge is dropped: it may be a handler that drops it, and others
    // may block. The task ends when it has emptied the queue, and then the inbox does, and the thread.
    _interest: ObserverGuard,
    topics: TopicRegistry<K, E>,
    codec: Arc<C>,
    reports: Arc<Reports>,
    queue: mpsc::Sender<Outgoing<K>>,
    client: Client,
}

/// Where a message to other processes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// On its way: the connection is up. If that breaks just now, the message may be lost.
    Sent,
    /// In the queue: the connection is down. It is sent when that is back.
    Queued,
    /// Nowhere: the queue is full. Other processes never hear of it.
    Dropped,
}

/// The payload of an event has so many bytes, which are more than the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a payload of {0} bytes is larger than {1}, which the server allows")]
pub struct TooLarge(pub usize, pub usize);

impl<K: Key, E: ?Sized + 'static, C: Codec<E>> Bridge<K, E, C> {
    /// Connects the topics, those that have handlers already and those to come.
    ///
    /// A server is an address such as `"nats://host:4222"`, or `tls://` for an encrypted connection;
    /// several go in a `Vec`. The current `tokio` runtime serves the connection.
    ///
    /// A client that is connected already is not accepted: it does not tell whether it echoes, nor
    /// what happens to it.
    ///
    /// # Errors
    ///
    /// If there is no server at this time, or it will not have us. Later it may come and go.
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
        // Enough that neither the tasks nor the thread of the handlers waits at each message.
        let (inbox, incoming) = mpsc::channel(256);

        let (own, alive, told) = (topics.clone(), Arc::downgrade(&codec), reports.clone());
        std::thread::spawn(move || dispatch(&own, &alive, &told, incoming));
        let (own, told) = (client.clone(), reports.clone());
        tokio::spawn(serve(own, told, options.subject, inbox, edges, outgoing));

        let interest = topics.observe_interest(move |key, interest| {
            // Nobody takes it when the bridge is over.
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

    /// Notifies the handlers in this process, then [sends](Self::send) the event to the others.
    ///
    /// Does not wait for the network. When others hear, all handlers here have; and what those
    /// published in turn on this thread, others hear before, if it has the same subject.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send). The handlers in this process have been called all the same.
    pub fn publish(&self, key: impl Into<K>, event: &E) -> Result<Remote, TooLarge> {
        let key = key.into();
        self.topics.notify(&key, event);
        self.send(key, event)
    }

    /// Sends an event to other processes only: for those who notify by a handle, or want to know
    /// what the handlers here made of it.
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

    /// Waits until the server has the subscriptions of all topics that have handlers by now, no
    /// others, and what was published before. In a cluster, that is the server that the bridge is
    /// connected to; the others have it soon after.
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

    /// Returns what has happened so far, and how often.
    pub fn counts(&self) -> Counts {
        self.reports.count(|counts| *counts)
    }

    /// Returns where to register callbacks for what happens. They are called on threads of the
    /// runtime, so they must not block.
    pub fn events(&self) -> &SyncRegistry<Event> {
        &self.reports.events
    }
}
