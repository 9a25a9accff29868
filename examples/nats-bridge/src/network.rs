//! The network: subscriptions that follow the topics, and messages that go out in order.
//!
//! Nothing in here grows with time while the server is away or hangs: edges of interest cancel out
//! where they are made, messages have a limit, and whoever waits for an answer waits for room first.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, atomic::Ordering};
use std::{mem, time::Duration};

use async_nats::{Client, client::Request, connection::State};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, unconstrained, yield_now};
use tokio::{select, time::sleep};
use topic_registry::Key;

use crate::event::{Event, NOBODY, Reports, lock};
use crate::inbox::{Inbox, guarded};
use crate::number::{self, Numbers};
use crate::options::fault;

/// How long a bridge that was dropped tries to send the rest.
const GRACE: Duration = Duration::from_secs(2);

/// How often the state of the client is looked at. It skips an event if there are very many.
const LOOK: Duration = Duration::from_millis(20);

const UNCONFIRMED: &str = "the connection broke after messages were sent that the server had not \
                           confirmed: some may be lost";

/// A call of `settled`, which gets an answer when all that was left before is at the server.
pub(crate) type Waiter = oneshot::Sender<Result<(), String>>;

/// The subject of a topic, and the task that forwards its messages, until the sender is dropped and
/// what has arrived is forwarded.
type Listener = (String, oneshot::Sender<()>, JoinHandle<()>);

/// The topics that have gained or lost their handlers since the network looked, and a bell that is
/// rung when there is something to do.
#[derive(Debug)]
pub(crate) struct Edges<K>(pub(crate) Mutex<HashSet<K>>, pub(crate) Notify);

impl<K: Key> Edges<K> {
    /// Leaves an edge. For one key, gains and losses alternate and do not overlap, so a second edge
    /// cancels the first: topics that come and go while nobody takes their edges cost no memory.
    pub(crate) fn toggle(&self, key: K) {
        // Keys are dropped after the unlock.
        let cancelled = lock(&self.0).take(&key);
        if cancelled.is_none() {
            lock(&self.0).insert(key);
        }
        self.1.notify_one();
    }
}

/// The task that serves a bridge, on a runtime of its own with a single thread.
pub(crate) struct Network<K: Key> {
    pub(crate) client: Client,
    pub(crate) reports: Arc<Reports>,
    pub(crate) subject: fn(&K) -> String,
    pub(crate) edges: Arc<Edges<K>>,
    /// Subjects and payloads.
    pub(crate) messages: mpsc::Receiver<(String, Vec<u8>)>,
    pub(crate) calls: mpsc::Receiver<Waiter>,
    pub(crate) inbox: Arc<Inbox<K>>,
    /// The topics that have handlers: subscribed, or why they are not.
    pub(crate) topics: HashMap<Arc<K>, Result<Listener, String>>,
    pub(crate) subjects: HashSet<String>,
    pub(crate) numbers: Numbers<String>,
    /// The generation of the connection in which the first message was sent that the server has not
    /// confirmed. The client may send it in a later one.
    pub(crate) unconfirmed: Option<u64>,
    pub(crate) waiters: Vec<Waiter>,
}

impl<K: Key> Network<K> {
    /// Serves until the bridge is dropped, and for a moment longer, or until the client gives up.
    pub(crate) async fn run(self, closed: oneshot::Receiver<()>, ended: oneshot::Receiver<()>) {
        let edges = Arc::clone(&self.edges);
        let grace = async {
            let _ = closed.await;
            edges.1.notify_one();
            sleep(GRACE).await;
        };
        select! { () = self.serve() => {}, () = grace => {}, _ = ended => {} }
    }

    /// Serves until the bridge is dropped, and the server has the rest or is not connected.
    async fn serve(mut self) {
        loop {
            let is_closed = self.messages.is_closed();
            // While the connection is down, everything stays where it is. The client would accept
            // it too, but would not report when its buffer is full.
            let is_up = self.is_up();
            let is_done = is_up && self.send_all(is_closed).await;
            if is_closed && (is_done || !is_up) {
                return;
            }
            if is_done {
                self.edges.1.notified().await;
            } else {
                sleep(LOOK).await;
            }
        }
    }

    fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// The generation of the connection.
    fn now(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Sends what is there now: what comes in meanwhile has to wait, so nothing starves anything.
    /// Returns `false` if the connection broke.
    async fn send_all(&mut self, is_last: bool) -> bool {
        // Taken in this order, since whoever calls has published before, and whoever asks by a
        // message has registered before.
        self.waiters.retain(|waiter| !waiter.is_closed());
        while let Ok(waiter) = self.calls.try_recv() {
            self.waiters.push(waiter);
        }
        let messages = self.messages.len();
        let edges = mem::take(&mut *lock(&self.edges.0));
        for key in edges {
            self.follow(key).await;
        }
        for _ in 0..messages {
            if !self.is_up() {
                return false;
            }
            if let Ok((subject, body)) = self.messages.try_recv() {
                self.publish(subject, body).await;
            }
        }
        (self.waiters.is_empty() && !is_last) || self.confirm().await
    }

    /// Has the subscriptions follow a topic that has gained or lost its handlers.
    async fn follow(&mut self, key: K) {
        let Some(topic) = self.topics.remove(&key) else {
            let key = Arc::new(key);
            let subject = guarded(|| (self.subject)(&key)).unwrap_or_default();
            let topic = self.listen(&key, &subject).await;
            if let Err(why) = &topic {
                self.reports.report(&Event::Refused(subject.into(), why.clone()));
            }
            self.topics.insert(key, topic);
            return;
        };
        if let Ok((subject, stop, listener)) = topic {
            drop(stop);
            // It waits for the client at most.
            let _ = listener.await;
            self.subjects.remove(&subject);
            lock(&self.reports.refused).remove(&subject);
        }
    }

    async fn listen(&mut self, key: &Arc<K>, subject: &str) -> Result<Listener, String> {
        let taken = self.subjects.contains(subject).then_some("another topic has it");
        if let Some(why) = fault(subject).or(taken) {
            return Err(format!("{subject:?} is not subscribed: {why}"));
        }
        let from = self.client.subscribe(subject.to_owned()).await;
        let from = from.map_err(|why| why.to_string())?;
        self.subjects.insert(subject.to_owned());
        let (stop, stopped) = oneshot::channel();
        let receive = Arc::clone(&self.inbox).receive(from, Arc::clone(key), stopped);
        // In one turn, the client's task reads far more messages than a task may usually take.
        Ok((
            subject.to_owned(),
            stop,
            tokio::spawn(unconstrained(receive)),
        ))
    }

    async fn publish(&mut self, subject: String, body: Vec<u8>) {
        let now = self.now();
        self.unconfirmed.get_or_insert(now);
        let last = self.numbers.last(subject.clone());
        let (number, header) = number::next(*last);
        let sent = self.client.publish_with_headers(subject.clone(), header, body.into()).await;
        if let Err(why) = sent {
            // A new server may allow less.
            lock(&self.reports.counts).dropped += 1;
            return self.reports.report(&Event::Refused(subject.into(), why.to_string()));
        }
        *last = Some(number);
        lock(&self.reports.counts).sent += 1;
    }

    /// Has the server confirm what was sent, and tells those who wait for that. Returns `false` if
    /// the connection broke.
    ///
    /// Nobody can be subscribed to the subject, so the server itself answers that nobody is, whoever
    /// else listens to what; or that the bridge must not publish there.
    async fn confirm(&mut self) -> bool {
        let (client, now) = (self.client.clone(), self.now());
        let request = Request::new().inbox(client.new_inbox()).timeout(None);
        let is_refused = || lock(&self.reports.refused).contains_key(NOBODY);
        select! {
            _ = client.send_request(NOBODY, request) => {},
            () = async { while self.is_up() && !is_refused() { sleep(LOOK).await } } => {},
        }
        // Refusals came before the answer on the same connection, and have woken the client's task
        // for events before this one: it has its turn now.
        yield_now().await;
        if !self.is_up() || self.now() != now {
            return false;
        }
        lock(&self.reports.refused).remove(NOBODY);
        let own = self.topics.values().find_map(|topic| topic.as_ref().err().cloned());
        let refused = own.or_else(|| lock(&self.reports.refused).values().next().cloned());
        let is_broken = self.unconfirmed.is_some_and(|first| first != now);
        let error = if is_broken {
            Some(UNCONFIRMED.into())
        } else {
            refused
        };
        let answers = self.waiters.drain(..).map(|it| it.send(error.clone().map_or(Ok(()), Err)));
        // Somebody has to be told of what may be lost.
        if answers.flatten().count() > 0 || !is_broken {
            self.unconfirmed = None;
        }
        true
    }
}
