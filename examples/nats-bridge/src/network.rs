//! The network: subscriptions that follow the topics, and messages that go out in order.
//!
//! Nothing in here grows with time while the server is away or hangs: edges of interest cancel out
//! where they are made, messages have a limit, and a call that waits for an answer waits for room
//! first.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, iter, mem, thread};

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectOptions, ServerAddr, Subscriber};
use futures_util::StreamExt;
use lru::LruCache;
use tokio::runtime::{Builder, Handle};
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, unconstrained, yield_now};
use tokio::time::{sleep, timeout};
use topic_registry::Key;

use crate::event::{Event, NOBODY, Shared, lock};
use crate::inbox::{Inbox, guarded};
use crate::number;
use crate::options::fault;

/// How often the state of the client is looked at. It skips an event if there are very many.
const LOOK: Duration = Duration::from_millis(20);

const UNCONFIRMED: &str = "the connection broke: messages that were sent before may be lost";

/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);

/// A call of `settled`, which gets an answer when all that was left before is at the server.
pub(crate) type Waiter = oneshot::Sender<Result<(), String>>;

/// The subject of a topic, and the task that forwards its messages, until the sender is dropped and
/// what has arrived is forwarded.
pub(crate) type Listener = (String, oneshot::Sender<()>, JoinHandle<()>);

/// The address for the answers to pings, and what comes there.
type Answers = (String, Subscriber);

/// Connects, on a runtime of its own, which ends with the sender of the last argument: some tasks
/// of the client only end with their runtime.
pub(crate) async fn start(
    options: ConnectOptions,
    servers: Vec<ServerAddr>,
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
) -> Result<(Client, Handle), ConnectError> {
    let is_again = AtomicBool::new(false);
    // A server may disconnect a client that has just connected.
    let delay = move |_| PAUSE * u32::from(is_again.swap(true, Ordering::Relaxed));
    let options = options.no_echo().reconnect_delay_callback(delay);
    let options = options.event_callback(move |event| shared.heed(event));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("topic-network".into()).spawn(move || {
        let _ = runtime.block_on(ended);
        // Without waiting for a look-up of a host.
        runtime.shutdown_background();
    })?;
    let connected = handle.spawn(options.connect(servers)).await;
    Ok((connected.map_err(io::Error::other)??, handle))
}

/// The task that serves a bridge, on a runtime of its own with a single thread.
pub(crate) struct Network<K: Key> {
    pub(crate) client: Client,
    pub(crate) subject: fn(&K) -> String,
    pub(crate) edges: Arc<Mutex<HashSet<K>>>,
    /// Subjects and payloads.
    pub(crate) messages: mpsc::Receiver<(String, Vec<u8>)>,
    pub(crate) calls: mpsc::Receiver<Waiter>,
    pub(crate) inbox: Arc<Inbox<K>>,
    /// The topics that have handlers: subscribed, or why they are not.
    pub(crate) topics: HashMap<Arc<K>, Result<Listener, String>>,
    pub(crate) subjects: HashSet<String>,
    pub(crate) numbers: LruCache<String, u128>,
    /// The generation of the connection in which the first message was sent that the server has not
    /// confirmed. The client may send it in a later one.
    pub(crate) unconfirmed: Option<u64>,
    pub(crate) waiters: Vec<Waiter>,
}

impl<K: Key> Network<K> {
    /// Serves until the client gives up, or the bridge is dropped, and the server has the rest or
    /// is not connected.
    pub(crate) async fn serve(mut self) -> Option<()> {
        let address = self.client.new_inbox();
        let answers = self.client.subscribe(format!("{address}.>")).await.ok()?;
        let mut answers = (address, answers);
        loop {
            let is_closed = self.messages.is_closed();
            let is_done = self.send_all(is_closed, &mut answers).await.is_some();
            if is_closed && (is_done || self.now().is_none()) {
                return None;
            }
            select! {
                () = self.inbox.shared.bell.notified(), if is_done => {},
                () = sleep(LOOK), if !is_done => {},
                // It is late; or there is none, since the client has given up.
                answer = answers.1.next() => drop(answer?),
            }
        }
    }

    /// The generation of the connection, if there is one.
    fn now(&self) -> Option<u64> {
        let is_up = self.client.connection_state() == State::Connected;
        is_up.then(|| self.client.statistics().connects.load(Ordering::Relaxed))
    }

    /// Sends what is there now: what comes in meanwhile has to wait, so nothing starves anything.
    /// Returns `None` if the connection is down, or breaks: then everything stays where it is. The
    /// client would accept it too, but would not report when its buffer is full.
    async fn send_all(&mut self, is_last: bool, answers: &mut Answers) -> Option<()> {
        self.now()?;
        // Calls before messages: what a caller published before its call is in the queue by now.
        // And messages before edges: a handler that was registered before a message was queued is
        // subscribed before it is sent.
        self.waiters.retain(|waiter| !waiter.is_closed());
        self.waiters.extend(iter::from_fn(|| self.calls.try_recv().ok()));
        let messages = self.messages.len();
        let edges = mem::take(&mut *lock(&self.edges));
        for key in edges {
            self.follow(key).await;
        }
        for _ in 0..messages {
            self.unconfirmed = self.unconfirmed.or(Some(self.now()?));
            let (subject, body) = self.messages.try_recv().ok()?;
            self.publish(subject, body).await;
        }
        if is_last || !self.waiters.is_empty() {
            return self.confirm(answers).await;
        }
        Some(())
    }

    /// Has the subscriptions follow a topic that has gained or lost its handlers.
    async fn follow(&mut self, key: K) {
        match self.topics.remove(&key) {
            None => {
                let key = Arc::new(key);
                let topic = self.listen(&key).await;
                self.topics.insert(key, topic);
            }
            Some(Err(_)) => {}
            Some(Ok((subject, stop, task))) => {
                drop(stop);
                // It waits for the client at most.
                let _ = task.await;
                self.subjects.remove(&subject);
                lock(&self.inbox.shared.refused).remove(&subject);
            }
        }
    }

    async fn listen(&mut self, key: &Arc<K>) -> Result<Listener, String> {
        let subject = guarded(|| (self.subject)(key)).unwrap_or_default();
        let taken = self.subjects.contains(&subject).then_some("another topic has it");
        let from = match fault(&subject).or(taken) {
            Some(why) => Err(format!("{subject:?} is not subscribed: {why}")),
            None => self.client.subscribe(subject.clone()).await.map_err(|why| why.to_string()),
        };
        let refused = |why: &String| Event::Refused(subject.as_str().into(), why.clone());
        let from = from.inspect_err(|why| self.inbox.shared.report(&refused(why)))?;
        self.subjects.insert(subject.clone());
        let (stop, stopped) = oneshot::channel();
        let receive = Arc::clone(&self.inbox).receive(from, Arc::clone(key), stopped);
        // In one turn, the client's task reads far more messages than a task may usually take.
        Ok((subject, stop, tokio::spawn(unconstrained(receive))))
    }

    async fn publish(&mut self, subject: String, body: Vec<u8>) {
        let (number, header) = number::next(self.numbers.get(&subject).copied());
        let sent = self.client.publish_with_headers(subject.clone(), header, body.into()).await;
        if let Err(why) = sent {
            // A new server may allow less.
            lock(&self.inbox.shared.counts).dropped += 1;
            return self.inbox.shared.report(&Event::Refused(subject.into(), why.to_string()));
        }
        self.numbers.put(subject, number);
        lock(&self.inbox.shared.counts).sent += 1;
    }

    /// Has the server confirm what was sent, and tells those who wait for that. Returns `None` if
    /// the connection broke.
    ///
    /// Nobody can be subscribed to the subject. So the server itself answers, whatever others
    /// subscribe to: that nobody is, or that the bridge must not publish there.
    async fn confirm(&mut self, (address, answers): &mut Answers) -> Option<()> {
        let now = self.now()?;
        let reply = format!("{address}.{}", self.client.new_inbox());
        self.client.publish_with_reply(NOBODY, reply.clone(), "".into()).await.ok()?;
        while lock(&self.inbox.shared.refused).remove(NOBODY).is_none() {
            let answer = timeout(LOOK, answers.next()).await;
            self.now().filter(|it| *it == now)?;
            // Refusals came before the answer on the same connection, and have woken the client's
            // task for events before this one. It has its turn now.
            yield_now().await;
            if answer.is_ok_and(|it| it.is_some_and(|it| *it.subject == reply)) {
                break;
            }
        }
        let is_broken = self.unconfirmed.is_some_and(|first| first != now);
        let own = || self.topics.values().find_map(|topic| topic.as_ref().err().cloned());
        let theirs = || lock(&self.inbox.shared.refused).values().next().cloned();
        let error = is_broken.then(|| UNCONFIRMED.to_owned()).or_else(own).or_else(theirs);
        let answers = self.waiters.drain(..).map(|it| it.send(error.clone().map_or(Ok(()), Err)));
        // Somebody has to be told of what may be lost.
        let told = answers.flatten().count();
        self.unconfirmed = self.unconfirmed.filter(|_| is_broken && told == 0);
        Some(())
    }
}
