//! The network: subscriptions that follow the topics, and messages that go out in order.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, atomic::Ordering};
use std::{future::ready, mem, time::Duration};

use async_nats::{Client, connection::State};
use futures_util::StreamExt;
use tokio::task::{JoinHandle, unconstrained};
use tokio::{select, sync::oneshot, time::sleep};
use topic_registry::{Interest, Key};

use crate::event::{Event, Reports};
use crate::inbox::{Inbox, guarded};
use crate::number::{self, Numbers};
use crate::options::fault;
use crate::outbox::{Outbox, Waiter};

const UNCONFIRMED: &str = "the connection broke after messages were sent that the server had not \
                           confirmed: some may be lost";

/// The subject of a topic, and the task that forwards its messages, until the sender is dropped and
/// what has arrived is forwarded.
pub(crate) type Listener = (String, oneshot::Sender<()>, JoinHandle<()>);

/// A round trip: the server answers when it has everything that was sent before.
struct Ping {
    sent_in: u64,
    /// The generation of the first message that it confirms. A message is sent in the generation in
    /// which it was passed to the client, or in a later one.
    first: Option<u64>,
    waiters: Vec<Waiter>,
}

/// The task that serves a bridge, on a runtime of its own with a single thread.
pub(crate) struct Network<K: Key> {
    pub(crate) client: Client,
    pub(crate) reports: Arc<Reports>,
    pub(crate) subject: fn(&K) -> String,
    pub(crate) outbox: Arc<Outbox<K>>,
    pub(crate) inbox: Arc<Inbox<K>>,
    /// The topics that have handlers: subscribed, or why they are not.
    pub(crate) topics: HashMap<Arc<K>, Result<Listener, String>>,
    pub(crate) work: Work,
}

#[derive(Default)]
pub(crate) struct Work {
    subjects: HashSet<String>,
    listeners: u64,
    numbers: Numbers<String>,
    /// The generation of the first message since the last ping.
    first: Option<u64>,
    /// The ping that the server is still to answer, the number of the last one, and those who wait
    /// for the next.
    ping: Option<Ping>,
    pings: u64,
    waiters: Vec<Waiter>,
    address: String,
}

impl<K: Key> Network<K> {
    /// Serves until the bridge is dropped, and the server has the rest or is not connected; or until
    /// the client gives up.
    pub(crate) async fn serve(mut self) -> Option<()> {
        self.work.address = self.client.new_inbox();
        let answers = format!("{}.*", self.work.address);
        let mut answers = self.client.subscribe(answers).await.ok()?;
        loop {
            // While the connection is down, everything stays in the outbox. The client would accept
            // it too, but would not report when its buffer is full.
            let (is_up, is_waiting) = (self.is_up(), self.work.ping.is_some());
            let is_closed = self.outbox.is_closed();
            if is_closed && !(is_up && (is_waiting || !self.outbox.is_empty())) {
                return Some(());
            }
            select! {
                biased;
                answer = answers.next() => self.confirm(&answer?.subject).await,
                () = self.outbox.news(), if is_up => self.send_all().await,
                // The client may skip an event, but always knows its state.
                () = sleep(Duration::from_millis(20)), if !is_up || is_waiting => self.look().await,
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

    /// Sends what is in the outbox now: first the edges, so that who asks is subscribed to the
    /// answer. What comes in meanwhile has to wait, so neither starves the other.
    async fn send_all(&mut self) {
        let (edges, due, mut waiters) = self.outbox.change(|it| {
            (
                mem::take(&mut it.edges),
                it.messages.len(),
                mem::take(&mut it.waiters),
            )
        });
        for (key, interest) in edges {
            self.follow(key, interest).await;
        }
        for _ in 0..due {
            if !self.is_up() {
                return self.outbox.change(|it| it.waiters.append(&mut waiters));
            }
            if let Some((subject, body)) = self.outbox.change(|it| it.messages.pop_front()) {
                self.publish(subject, body).await;
            }
        }
        self.work.waiters.retain(|waiter| !waiter.is_closed());
        self.work.waiters.append(&mut waiters);
        self.ping().await;
    }

    /// Has the subscriptions follow a topic that has gained or lost its handlers.
    async fn follow(&mut self, key: K, interest: Interest) {
        if interest == Interest::Gained {
            let key = Arc::new(key);
            let subject = guarded(|| (self.subject)(&key)).unwrap_or_default();
            let topic = self.listen(&key, &subject).await;
            if let Err(why) = &topic {
                self.reports.report(&Event::Refused(subject.into(), why.clone()));
            }
            self.topics.insert(key, topic);
        } else if let Some(Ok((subject, stop, listener))) = self.topics.remove(&key) {
            drop(stop);
            // It waits for the client at most.
            let _ = listener.await;
            self.work.subjects.remove(&subject);
            self.reports.refused(|refused| refused.remove(&subject));
        }
    }

    async fn listen(&mut self, key: &Arc<K>, subject: &str) -> Result<Listener, String> {
        let taken = self.work.subjects.contains(subject).then_some("another topic has it");
        if let Some(why) = fault(subject).or(taken) {
            return Err(format!("{subject:?} is not subscribed: {why}"));
        }
        let from = self.client.subscribe(subject.to_owned()).await;
        let from = from.map_err(|why| why.to_string())?;
        self.work.subjects.insert(subject.to_owned());
        self.work.listeners += 1;
        let (stop, stopped) = oneshot::channel();
        let (inbox, key) = (Arc::clone(&self.inbox), Arc::clone(key));
        // In one turn, the client's task reads far more messages than a task may usually take.
        let receive = unconstrained(inbox.receive(from, self.work.listeners, key, stopped));
        Ok((subject.to_owned(), stop, tokio::spawn(receive)))
    }

    async fn publish(&mut self, subject: String, body: Vec<u8>) {
        let now = self.now();
        self.work.first.get_or_insert(now);
        let last = self.work.numbers.last(subject.clone());
        let (number, header) = number::next(*last);
        let to = subject.clone();
        if let Err(why) = self.client.publish_with_headers(to, header, body.into()).await {
            // A new server may allow less.
            self.reports.count(|counts| counts.dropped += 1);
            return self.reports.report(&Event::Refused(subject.into(), why.to_string()));
        }
        *last = Some(number);
        self.reports.count(|counts| counts.sent += 1);
    }

    /// Asks the server to answer, unless it is still to do so on this connection.
    ///
    /// Nobody can be subscribed to a subject with an empty token, so the server itself answers that
    /// nobody is, whoever else listens to what; or that the bridge must not publish there.
    async fn ping(&mut self) {
        let (now, work) = (self.now(), &mut self.work);
        if work.ping.is_none() && !work.waiters.is_empty() {
            let (first, waiters) = (work.first.take(), mem::take(&mut work.waiters));
            work.ping = Some(Ping {
                sent_in: 0,
                first,
                waiters,
            });
        }
        if let Some(ping) = work.ping.as_mut().filter(|ping| ping.sent_in != now) {
            ping.sent_in = now;
            work.pings += 1;
            let (nobody, reply) = (work.name(".."), work.name("."));
            // If the client has ended, so does this task.
            let _ = self.client.publish_with_reply(nobody, reply, "".into()).await;
        }
    }

    /// Pings again if the connection broke; looks whether the answer is a refusal.
    async fn look(&mut self) {
        let nobody = self.work.name("..");
        if self.reports.refused(|refused| refused.remove(&nobody)).is_some() {
            self.confirm(&self.work.name(".")).await;
        }
        if self.is_up() {
            self.ping().await;
        }
    }

    /// Takes an answer of the server. That to an earlier ping is of an earlier connection.
    async fn confirm(&mut self, answer: &str) {
        // Refusals came before the answer on the same connection, and have woken the client's task
        // for events before this one. This waits for one turn of each task that was woken.
        let _ = tokio::spawn(ready(())).await;
        let (now, is_last) = (self.now(), answer == self.work.name("."));
        let Some(ping) = self.work.ping.take_if(|ping| is_last && ping.sent_in == now) else {
            return;
        };
        let own = self.topics.values().find_map(|topic| topic.as_ref().err().cloned());
        let refused = own.or_else(|| self.reports.refused(|it| it.values().next().cloned()));
        let is_broken = ping.first.is_some_and(|first| first != now);
        let error = if is_broken {
            Some(UNCONFIRMED.to_owned())
        } else {
            refused
        };
        let answers = ping.waiters.into_iter().map(|it| it.send(error.clone().map_or(Ok(()), Err)));
        let told = answers.flatten().count();
        // Somebody has to be told of what may be lost.
        if is_broken && told == 0 {
            self.work.first = ping.first;
        }
        self.ping().await;
    }
}

impl Work {
    /// A name for the last ping.
    fn name(&self, separator: &str) -> String {
        format!("{}{separator}{}", self.address, self.pings)
    }
}

impl<K: Key> Drop for Network<K> {
    fn drop(&mut self) {
        let rest = self.outbox.change(|it| {
            it.is_closed = true;
            (mem::take(&mut it.edges), mem::take(&mut it.waiters))
        });
        drop(rest);
    }
}
