//! The network: subscriptions that follow the topics, and messages that go out in order.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;

use async_nats::client::Statistics;
use async_nats::{Client, Subscriber, connection::State};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, unconstrained};
use tokio::{select, time::sleep};
use topic_registry::{Interest, Key};

use crate::event::Reports;
use crate::inbox::Inbox;
use crate::number::{self, Numbers};
use crate::outbox::{Outbox, Outgoing, Waiter};
use crate::{subject, unwind::guarded};

/// How often the state of the client is looked at, while that matters. It may skip an event, but
/// always knows its state.
const TICK: Duration = Duration::from_millis(20);

/// What is refused here stays refused, whatever the connection.
const ALWAYS: u64 = u64::MAX;

const UNCONFIRMED: &str = "the connection broke after messages were sent that the server had not \
                           confirmed: some may be lost";

/// Why something is refused, and in which generation of the connection.
type Refusal = Option<(u64, String)>;

/// A topic that has handlers.
struct Topic {
    subject: String,
    refusal: Refusal,
    /// Forwards its messages, until the sender is dropped and what has arrived is forwarded.
    listener: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// A round trip under way: the server answers when it has everything that was sent before.
struct Ping {
    number: u64,
    /// The generation of the first message that it confirms. A message is sent in the generation in
    /// which it was passed to the client, or in a later one.
    first: Option<u64>,
    waiters: Vec<Waiter>,
}

/// The task that serves a bridge, on a runtime of its own with a single thread.
pub(crate) struct Network<K: Key> {
    client: Client,
    /// Its number of connects is the generation of the connection.
    statistics: Arc<Statistics>,
    reports: Arc<Reports>,
    subject: fn(&K) -> String,
    outbox: Arc<Outbox<K>>,
    inbox: Arc<Inbox<K>>,
    /// What the server complains about.
    errors: mpsc::Receiver<String>,
    topics: HashMap<Arc<K>, Topic>,
    /// The topics whose subjects are subscribed.
    subjects: HashMap<String, Arc<K>>,
    listeners: u64,
    /// A refusal of the server that names none of the subjects.
    refusal: Refusal,
    numbers: Numbers<String>,
    /// The generation of the first message since the last ping.
    first: Option<u64>,
    /// Those whose ping has to wait for the rest of the queue.
    waiters: Vec<Waiter>,
    pings: VecDeque<Ping>,
    last_ping: u64,
    pinged_in: u64,
}

impl<K: Key> Network<K> {
    pub(crate) fn new(
        client: Client,
        reports: Arc<Reports>,
        subject: fn(&K) -> String,
        outbox: Arc<Outbox<K>>,
        inbox: Inbox<K>,
        errors: mpsc::Receiver<String>,
    ) -> Self {
        Self {
            statistics: client.statistics(),
            client,
            reports,
            subject,
            outbox,
            inbox: Arc::new(inbox),
            errors,
            topics: HashMap::new(),
            subjects: HashMap::new(),
            listeners: 0,
            refusal: None,
            numbers: Numbers::new(),
            first: None,
            waiters: Vec::new(),
            pings: VecDeque::new(),
            last_ping: 0,
            pinged_in: 0,
        }
    }

    /// Serves until the bridge is dropped, and the server has the rest or is not connected; or until
    /// the client gives up.
    pub(crate) async fn serve(mut self) {
        let answers = format!("{}.>", self.reports.address());
        let Ok(mut answers) = self.client.subscribe(answers).await else {
            return;
        };
        loop {
            // While the connection is down, everything stays in the outbox. The client would accept
            // it too, but would not report when its buffer is full.
            let is_up = self.is_up();
            let is_waiting = !self.pings.is_empty() || !self.waiters.is_empty();
            if self.outbox.is_closed() && !(is_up && (is_waiting || !self.outbox.is_empty())) {
                return;
            }
            select! {
                biased;
                answer = answers.next() => match answer {
                    Some(answer) => self.confirm(&answer.subject).await,
                    // The client has ended, and reported why.
                    None => return,
                },
                Some(error) = self.errors.recv() => self.heed(&error),
                () = self.outbox.news(), if is_up => self.send_all().await,
                () = sleep(TICK), if !is_up || is_waiting => self.look().await,
            }
        }
    }

    fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn generation(&self) -> u64 {
        self.statistics.connects.load(Ordering::Relaxed)
    }

    /// Sends what is in the outbox now: first the edges, so that who asks is subscribed to the
    /// answer. What comes in meanwhile has to wait, so neither starves the other.
    async fn send_all(&mut self) {
        let (edges, mut messages, waiters) = self.outbox.take();
        self.waiters.extend(waiters);
        for (key, interest) in edges {
            match interest {
                Interest::Gained => self.enter(key).await,
                Interest::Lost => self.leave(&key).await,
            }
        }
        while messages > 0 && self.is_up() {
            let Some(message) = self.outbox.pop() else {
                break;
            };
            self.publish(message).await;
            messages -= 1;
        }
        if messages == 0 && !self.waiters.is_empty() {
            self.last_ping += 1;
            let (mut first, waiters) = (self.first.take(), std::mem::take(&mut self.waiters));
            // Pings that nobody waits for any more leave what they would confirm to this one.
            self.pings.retain_mut(|ping| {
                ping.waiters.retain(|waiter| !waiter.is_closed());
                if ping.waiters.is_empty() {
                    first = ping.first.into_iter().chain(first).min();
                }
                !ping.waiters.is_empty()
            });
            let number = self.last_ping;
            self.pings.push_back(Ping {
                number,
                first,
                waiters,
            });
            self.ping().await;
        }
    }

    /// Subscribes to the subject of a topic that has gained handlers.
    async fn enter(&mut self, key: K) {
        let key = Arc::new(key);
        let subject = guarded(|| (self.subject)(&key));
        let outcome = match &subject {
            Some(subject) => self.subscribe(&key, subject).await,
            None => Err("the function for subjects panicked".into()),
        };
        let (subject, mut refusal) = (subject.unwrap_or_default(), None);
        let listener = outcome.map_err(|why| {
            self.reports.refuse(&subject, &why);
            refusal = Some((ALWAYS, why));
        });
        let topic = Topic {
            subject,
            refusal,
            listener: listener.ok(),
        };
        self.topics.insert(key, topic);
    }

    async fn subscribe(
        &mut self,
        key: &Arc<K>,
        subject: &str,
    ) -> Result<(oneshot::Sender<()>, JoinHandle<()>), String> {
        if let Some(fault) = subject::fault(subject) {
            return Err(fault.into());
        }
        if self.subjects.contains_key(subject) {
            return Err("another topic has the same subject".into());
        }
        let from = self.client.subscribe(subject.to_owned()).await;
        let from: Subscriber = from.map_err(|why| why.to_string())?;
        self.subjects.insert(subject.into(), Arc::clone(key));
        self.listeners += 1;
        let (stop, stopped) = oneshot::channel();
        let inbox = Arc::clone(&self.inbox);
        let receive = inbox.receive(from, self.listeners, Arc::clone(key), stopped);
        // In one turn, the client's task reads far more messages than a task may usually take.
        Ok((stop, tokio::spawn(unconstrained(receive))))
    }

    /// Unsubscribes from the subject of a topic that has lost its handlers.
    async fn leave(&mut self, key: &K) {
        let Some(topic) = self.topics.remove(key) else {
            return;
        };
        if let Some((stop, listener)) = topic.listener {
            self.subjects.remove(&topic.subject);
            drop(stop);
            // It waits for the client at most. It does not panic, as nothing of the user is in it.
            let _ = listener.await;
        }
    }

    async fn publish(&mut self, (subject, payload): Outgoing) {
        let generation = self.generation();
        self.first.get_or_insert(generation);
        let last = self.numbers.last(subject.clone());
        let number = number::next(*last);
        let (to, header) = (subject.clone(), number::header(number));
        match self.client.publish_with_headers(to, header, payload.into()).await {
            Ok(()) => {
                *last = Some(number);
                self.reports.count(|counts| counts.sent += 1);
            }
            // A new server may allow less.
            Err(why) => {
                self.reports.count(|counts| counts.dropped += 1);
                self.reports.refuse(&subject, &why.to_string());
            }
        }
    }

    /// Asks the server to answer. Nobody can be subscribed to a subject with an empty token, so the
    /// server itself answers that nobody is, whoever else listens to what. Or it answers that the
    /// bridge must not publish there.
    async fn ping(&mut self) {
        self.pinged_in = self.generation();
        let name = format!("{}.{}", self.pinged_in, self.last_ping);
        let address = self.reports.address();
        let (nobody, reply) = (format!("{address}..{name}"), format!("{address}.{name}"));
        // If the client has ended, the waiters learn of it by their time-outs.
        let _ = self.client.publish_with_reply(nobody, reply, "".into()).await;
    }

    /// Pings again if the connection broke meanwhile; answers pings that the server will not.
    async fn look(&mut self) {
        if current(&self.refusal, self.generation()).is_some() {
            self.answer(ALWAYS);
        }
        if self.is_up() && self.pinged_in != self.generation() && !self.pings.is_empty() {
            self.ping().await;
        }
    }

    /// Takes an answer of the server.
    async fn confirm(&mut self, answer: &str) {
        // Complaints came before the answer on the same connection, and have woken the client's
        // task for events before this one. This waits for one turn of each task that was woken.
        let _ = tokio::spawn(ready(())).await;
        while let Ok(error) = self.errors.try_recv() {
            self.heed(&error);
        }
        self.answer_as(answer);
    }

    /// Looks whether a complaint of the server is about a subscription, or is the answer to a ping.
    fn heed(&mut self, error: &str) {
        if self.reports.is_own(error) {
            return self.answer_as(error.trim_end_matches('"'));
        }
        let is_about = |what| error.to_ascii_lowercase().contains(what);
        if is_about("publish") || !(is_about("subscription") || is_about("subject")) {
            return;
        }
        let refusal = Some((self.generation(), error.to_owned()));
        let subject = error.split('"').nth(1).unwrap_or_default();
        let topic = self.subjects.get(subject).and_then(|key| self.topics.get_mut(key));
        *topic.map_or(&mut self.refusal, |topic| &mut topic.refusal) = refusal;
        self.reports.refuse(subject, error);
    }

    /// Answers the waiters of the pings up to that of an answer, which ends with its generation and
    /// number. An answer of an earlier generation says nothing about the current one.
    fn answer_as(&mut self, answer: &str) {
        let mut tokens = answer.rsplit('.').map(str::parse);
        if let (Some(Ok(number)), Some(Ok(generation))) = (tokens.next(), tokens.next()) {
            if generation == self.generation() {
                self.answer(number);
            }
        }
    }

    fn answer(&mut self, number: u64) {
        let now = self.generation();
        let refusals = self.topics.values().find_map(|topic| {
            let why = current(&topic.refusal, now)?;
            Some(format!("{:?} is not subscribed: {why}", topic.subject))
        });
        let refusal = current(&self.refusal, now).map(ToOwned::to_owned).or(refusals);
        while self.pings.front().is_some_and(|ping| ping.number <= number) {
            let Some(ping) = self.pings.pop_front() else {
                break;
            };
            let is_broken = ping.first.is_some_and(|first| first != now);
            let why = is_broken.then(|| UNCONFIRMED.to_owned()).or_else(|| refusal.clone());
            let answer = why.map_or(Ok(()), Err);
            let mut told = 0;
            for waiter in ping.waiters {
                told += u32::from(waiter.send(answer.clone()).is_ok());
            }
            // Somebody has to be told of what may be lost.
            if answer.is_err() && (told == 0 || !is_broken) {
                self.first = ping.first.or(self.first);
            }
        }
    }
}

impl<K: Key> Drop for Network<K> {
    fn drop(&mut self) {
        self.outbox.close();
        let (edges, _, waiters) = self.outbox.take();
        drop((edges, waiters));
    }
}

/// Returns why something is refused in a generation.
fn current(refusal: &Refusal, now: u64) -> Option<&str> {
    let (generation, why) = refusal.as_ref()?;
    [now, ALWAYS].contains(generation).then_some(why)
}
