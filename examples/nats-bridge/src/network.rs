//! The network: subscriptions that follow the topics, and messages that go out in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{borrow::Borrow, collections::HashMap, future::ready, sync::Arc, time::Duration};

use async_nats::{Client, Message, Subscriber, connection::State};
use futures_util::StreamExt;
use tokio::{select, sync::mpsc, task::JoinSet, time};
use topic_registry::{Interest, Key, TopicRegistry};

use crate::{Codec, Error, event::Event, event::Reports, number};

/// A key and a payload; or where the server is to answer when it has seen all before.
pub(crate) type Outgoing<K> = Result<(K, Vec<u8>), String>;

/// A message, and the key that its subject was subscribed for.
pub(crate) type Incoming<K> = (Arc<K>, Message);
type Inbox<K> = mpsc::Sender<Incoming<K>>;

/// Serves until the bridge is dropped, and what it left in the queue is sent or cannot be.
pub(crate) async fn serve<K: Key>(
    client: Client,
    reports: Arc<Reports>,
    subject: fn(&K) -> String,
    inbox: Inbox<K>,
    mut edges: mpsc::UnboundedReceiver<(K, Interest)>,
    mut queue: mpsc::Receiver<Outgoing<K>>,
) {
    let (mut due, mut numbers) = (HashMap::new(), HashMap::new());
    let (mut subscriptions, mut tasks) = (HashMap::new(), JoinSet::new());
    loop {
        // While the connection is down, everything waits here. The client would take it too,
        // without saying when it has had too much.
        let is_up = client.connection_state() == State::Connected;
        select! {
            biased;
            // For one key edges alternate, so a second one undoes the first: topics that come and
            // go while the server is away cost no memory.
            Some(it) = edges.recv() => if due.remove(&it.0).is_none() { due.insert(it.0, it.1); },
            () = ready(()), if is_up && !due.is_empty() => for (key, interest) in due.drain() {
                if interest == Interest::Gained {
                    let Ok(from) = client.subscribe(subject(&key)).await else { continue };
                    let task = receive(from, Arc::new(key.clone()), inbox.clone(), reports.clone());
                    subscriptions.insert(key, tasks.spawn(task));
                } else if let Some(task) = subscriptions.remove(&key) {
                    // What is dropped with the task ends the subscription, if the client has room
                    // for the command. It has when it is flushed.
                    let _ = client.flush().await;
                    task.abort();
                    tasks.join_next().await;
                }
            },
            outgoing = queue.recv(), if is_up => match outgoing {
                Some(Ok((key, body))) => {
                    let to = subject(&key);
                    let header = number::next(&mut numbers, &to);
                    // The client refuses what is no subject, or longer than a new server allows.
                    let sent = client.publish_with_headers(to, header, body.into()).await.is_ok();
                    reports.count(|it| *if sent { &mut it.sent } else { &mut it.dropped } += 1);
                }
                // Nobody listens to a new subject, which the server says when it comes to that.
                Some(Err(to)) =>
                    _ = client.publish_with_reply(client.new_inbox(), to, "".into()).await,
                None => break,
            },
            // The client may skip an event, but always knows its state.
            () = time::sleep(Duration::from_millis(20)), if !is_up => if queue.is_closed() { break },
        }
    }
    let _ = time::timeout(Duration::from_secs(2), client.flush()).await;
}

/// Passes on the messages of a subscription. While the inbox is full they wait in the subscription,
/// which holds as many as the options allow.
async fn receive<K>(mut from: Subscriber, key: Arc<K>, inbox: Inbox<K>, reports: Arc<Reports>) {
    let mut seen = HashMap::new();
    while let Some(message) = from.next().await {
        if let Some(messages @ 1..) = number::missed(&mut seen, message.headers.as_ref()) {
            reports.report(&Event::Missed(message.subject.clone(), messages));
        }
        // It fails when the bridge is over, and then this is aborted.
        let _ = inbox.send((key.clone(), message)).await;
    }
}

/// Notifies the topics, on a thread that handlers may block, until the bridge is dropped and with
/// it the codec.
pub(crate) fn dispatch<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    topics: &TopicRegistry<K, E>,
    codec: &std::sync::Weak<C>,
    reports: &Reports,
    mut inbox: mpsc::Receiver<Incoming<K>>,
) {
    while let (Some((key, message)), Some(codec)) = (inbox.blocking_recv(), codec.upgrade()) {
        let notify = || Ok(topics.notify(&*key, codec.decode(&message.payload)?.borrow()));
        // What handlers throw ends in the topics. What a codec or an event's destructor throws
        // must not end this thread: a stranger may have sent the payload that brings it about.
        let outcome = catch_unwind(AssertUnwindSafe(notify));
        match outcome.unwrap_or_else(|_| Err::<_, Error>("it panicked".into())) {
            Ok(_) => reports.count(|counts| counts.received += 1),
            Err(why) => reports.report(&Event::Undecodable(message.subject, why.to_string())),
        }
    }
}
