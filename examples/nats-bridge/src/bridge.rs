//! [`Bridge`]: events that one process publishes reach the handlers of all processes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::{future::poll_fn, future::ready, pin::pin, thread, time::Duration};

use async_nats::{Client, ConnectError, ToServerAddrs, connection::State};
use tokio::{runtime::Builder, runtime::Handle, select, sync::oneshot, time};
use topic_registry::{Key, ObserverGuard, SyncRegistry, TopicRegistry};

use crate::event::{Counts, Event, Reports};
use crate::inbox::{Inbox, dispatch};
use crate::{Codec, Error, Options, network::Network, number::HEADER_LEN, options::fault};
use crate::{network::Work, number::Numbers, outbox::Outbox};

/// How long a bridge that was dropped tries to send the rest.
const GRACE: Duration = Duration::from_secs(2);

/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

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
    capacity: usize,
    reports: Arc<Reports>,
    outbox: Arc<Outbox<K>>,
    client: Client,
    runtime: Handle,
    _open: oneshot::Sender<()>,
}

impl<K: Key, E: ?Sized + 'static, C> Drop for Bridge<K, E, C> {
    fn drop(&mut self) {
        // The network task ends then; with it the writing end of the inbox, and then the other
        // thread.
        self.outbox.close();
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
        assert_ne!(options.queue_capacity, 0, "a queue of no messages");
        let (codec, reports) = (Arc::new(codec), Arc::<Reports>::default());
        let (told, is_first) = (Arc::clone(&reports), AtomicBool::new(true));
        let client = options.client.no_echo().event_callback(move |event| {
            told.heed(event);
            ready(())
        });
        // A server may disconnect whoever has just connected.
        let client = client.reconnect_delay_callback(move |_| {
            let is_first = is_first.swap(false, Ordering::Relaxed);
            if is_first { Duration::ZERO } else { PAUSE }
        });

        // A runtime of its own, since some tasks of the client only end with it.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (alive, ended)) = (runtime.handle().clone(), oneshot::channel::<()>());
        thread::Builder::new().name("topic-network".into()).spawn(move || {
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

        let ((messages, incoming), waiting) = (mpsc::channel(), Arc::<AtomicUsize>::default());
        let (limit, seen) = (options.inbox_bytes, Numbers::default().into());
        let (own, bytes, told) = (topics.clone(), Arc::clone(&waiting), Arc::clone(&reports));
        let inbox = Inbox {
            messages,
            waiting,
            limit,
            seen,
            reports: Arc::clone(&reports),
        };
        let weak = Arc::downgrade(&codec);
        let run = move || dispatch(&own, &weak, &told, &incoming, &bytes);
        thread::Builder::new().name("topic-handlers".into()).spawn(run)?;

        let (outbox, subject) = (Arc::new(Outbox::new()), options.subject);
        let network = Network {
            client: client.clone(),
            reports: Arc::clone(&reports),
            subject,
            outbox: Arc::clone(&outbox),
            inbox: Arc::new(inbox),
            topics: HashMap::new(),
            work: Work::default(),
        };
        let (open, closed) = oneshot::channel::<()>();
        handle.spawn(async move {
            let _alive = alive;
            select! {
                _ = network.serve() => {},
                () = async { let _ = closed.await; time::sleep(GRACE).await } => {},
            }
        });
        let own = Arc::clone(&outbox);
        let interest = topics.observe_interest(move |key, it| own.note(key.clone(), it));
        Ok(Self {
            _interest: interest,
            topics: topics.clone(),
            codec,
            subject,
            capacity: options.queue_capacity,
            reports,
            outbox,
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
        let fault = fault(&subject).map(|why| Event::Refused(subject.as_str().into(), why.into()));
        let is_up = self.client.connection_state() == State::Connected;
        let is_taken = fault.is_none()
            && self.outbox.change(|it| {
                let has_room = !it.is_closed && it.messages.len() < self.capacity;
                has_room.then(|| it.messages.push_back((subject, payload))).is_some()
            });
        self.reports.count(|counts| counts.dropped += u64::from(!is_taken));
        Ok(match fault {
            Some(fault) => {
                self.reports.report(&fault);
                Remote::Refused
            }
            None if !is_taken => Remote::Dropped,
            None if is_up => Remote::Sent,
            None => Remote::Queued,
        })
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
        self.outbox.change(|it| {
            it.waiters.retain(|waiter| !waiter.is_closed());
            let is_open = !it.is_closed;
            it.waiters.extend(is_open.then_some(waiter));
        });
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
