//! The network: subscriptions that follow the topics, and messages that go out in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{borrow::Borrow, collections::HashMap, future::ready, sync::Arc, time::Duration};

use async_nats::{Client, Message, Subscriber, connection::State};
use futures_util::StreamExt;
use tokio::{select, sync::mpsc, task::JoinSet, time};
use topic_registry::{Interest, Key, TopicRegistry};

use crate::{Codec, Error, event::Event, event::Reports, number};

/// A key and a payload; or the subject on which the server is to answer when it has everything sent
/// before.
pub(crate) type Outgoing<K> = Result<(K, Vec<u8>), String>;

/// A message, and the key whose subject was subscribed.
pub(crate) type Incoming<K> = (Arc<K>, Message);
type Inbox<K> = mpsc::Sender<Incoming<K>>;

/// Serves until the bridge is dropped, and the rest of the queue is sent or cannot be sent.
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
        // While the connection is down, everything waits here. The client would accept it too, but
        // would not report when its buffer is full.
        let is_up = client.connection_state() == State::Connected;
        select! {
            biased;
            // For one key, edges alternate, so a second one cancels the first: topics that are
            // created and removed while the server is down cost no memory.
            Some(it) = edges.recv() => if due.remove(&it.0).is_none() { due.insert(it.0, it.1); },
            () = ready(()), if is_up && !due.is_empty() => for (key, interest) in due.drain() {
                if interest == Interest::Gained {
                    let Ok(from) = client.subscribe(subject(&key)).await else { continue };
                    let task = receive(from, Arc::new(key.clone()), inbox.clone(), reports.clone());
                    subscriptions.insert(key, tasks.spawn(task));
                } else if let Some(task) = subscriptions.remove(&key) {
                    // Dropping the task's subscriber unsubscribes, if the client has room for the
                    // command. It has room after a flush.
                    let _ = client.flush().await;
                    task.abort();
                    tasks.join_next().await;
                }
            },
            outgoing = queue.recv(), if is_up => match outgoing {
                Some(Ok((key, body))) => {
                    let to = subject(&key);
                    let header = number::next(&mut numbers, &to);
                    // The client refuses invalid subjects, and payloads that are larger than a new
                    // server allows.
                    let sent = client.publish_with_headers(to, header, body.into()).await.is_ok();
                    reports.count(|it| *if sent { &mut it.sent } else { &mut it.dropped } += 1);
                }
                // A new subject has no subscriber, which the server reports when it gets to this
                // message.
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

/// Forwards the messages of a subscription. While the inbox is full, they wait in the subscription,
/// which holds as many as the options allow.
async fn receive<K>(mut from: Subscriber, key: Arc<K>, inbox: Inbox<K>, reports: Arc<Reports>) {
    let mut seen = HashMap::new();
    while let Some(message) = from.next().await {
        if let Some(messages @ 1..) = number::missed(&mut seen, message.headers.as_ref()) {
            reports.report(&Event::Missed(message.subject.clone(), messages));
        }
        // It fails when the bridge has ended, and then this task is aborted.
        let _ = inbox.send((key.clone(), message)).await;
    }
}

/// Notifies the topics, on a thread that handlers may block, until the bridge and with it the codec
/// are dropped.
pub(crate) fn dispatch<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    topics: &TopicRegistry<K, E>,
    codec: &std::sync::Weak<C>,
    reports: &Reports,
    mut inbox: mpsc::Receiver<Incoming<K>>,
) {
    while let (Some((key, message)), Some(codec)) = (inbox.blocking_recv(), codec.upgrade()) {
        let notify = || Ok(topics.notify(&*key, codec.decode(&message.payload)?.borrow()));
        // Panics of handlers are caught by the topics. A panic of the codec or of an event's
        // destructor must not end this thread: an attacker may have sent the payload that causes
        // it.
        let outcome = catch_unwind(AssertUnwindSafe(notify));
        match outcome.unwrap_or_else(|_| Err::<_, Error>("it panicked".into())) {
            Ok(_) => reports.count(|counts| counts.received += 1),
            Err(why) => reports.report(&Event::Undecodable(message.subject, why.to_string())),
        }
    }
}
