//! [`Inbox`]: the messages that wait for the handlers, and the thread that takes them out.

use std::borrow::Borrow;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

use async_nats::{Message, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::{select, sync::oneshot};
use topic_registry::{Key, TopicRegistry};

use crate::event::{Event, Reports};
use crate::number::{Numbers, missed};
use crate::{Codec, unwind::guarded};

/// What a message takes beside its bytes: estimated generously, so that the limit is one.
const OVERHEAD: usize = 512;

/// A message, and the key whose subject was subscribed.
type Incoming<K> = (Arc<K>, Message);

/// The bytes that wait. Only a limit: what it counts is passed on by the channel.
pub(crate) type Waiting = Arc<AtomicUsize>;

/// The writing end, for the tasks of the subscriptions. They never wait for handlers, so what waits
/// for those is here, in order, and within one limit.
#[derive(Debug)]
pub(crate) struct Inbox<K> {
    messages: mpsc::Sender<Incoming<K>>,
    waiting: Waiting,
    limit: usize,
    seen: Mutex<Numbers<(u64, u128)>>,
    reports: Arc<Reports>,
}

impl<K: Key> Inbox<K> {
    pub(crate) fn new(
        limit: usize,
        reports: Arc<Reports>,
    ) -> (Self, mpsc::Receiver<Incoming<K>>, Waiting) {
        let (messages, incoming) = mpsc::channel();
        let waiting = Waiting::default();
        let inbox = Self {
            messages,
            waiting: waiting.clone(),
            limit,
            seen: Mutex::new(Numbers::new()),
            reports,
        };
        (inbox, incoming, waiting)
    }

    /// Forwards the messages of a subscription until it ends. If it is told to stop, it
    /// unsubscribes, and forwards what has arrived.
    pub(crate) async fn receive(
        self: Arc<Self>,
        mut from: Subscriber,
        subscription: u64,
        key: Arc<K>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let mut is_stopped = false;
        let (mut unreported, mut is_losing, mut subject) = (0, false, Subject::from(""));
        loop {
            let message = select! {
                biased;
                _ = &mut stop, if !is_stopped => {
                    is_stopped = true;
                    // If the client has ended, so has the subscription.
                    let _ = from.unsubscribe().await;
                    continue;
                },
                message = from.next() => message,
            };
            let Some(message) = message else { break };
            subject = message.subject.clone();
            // Counted before the handlers hear what came after it.
            unreported = self.lost(unreported, self.missed(subscription, &message));
            let is_lost = !self.push(&key, message);
            unreported = self.lost(unreported, u32::from(is_lost));
            if unreported > 0 && !(is_lost && is_losing) {
                self.reports.report(&Event::Missed(subject.clone(), unreported));
                unreported = 0;
            }
            is_losing = is_lost;
        }
        if unreported > 0 {
            self.reports.report(&Event::Missed(subject, unreported));
        }
    }

    /// Counts lost messages, and returns how many are to be reported.
    fn lost(&self, unreported: u32, messages: u32) -> u32 {
        if messages > 0 {
            self.reports.count(|counts| counts.missed += u64::from(messages));
        }
        unreported.saturating_add(messages)
    }

    fn missed(&self, subscription: u64, message: &Message) -> u32 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        missed(&mut seen, subscription, message.headers.as_ref()).unwrap_or(0)
    }

    /// Returns `false` if there is no room. There is room for one message, whatever its size.
    fn push(&self, key: &Arc<K>, message: Message) -> bool {
        let size = message.length + OVERHEAD;
        let waiting = self.waiting.load(Ordering::Relaxed);
        // Only the runtime's thread adds.
        if waiting != 0 && waiting.saturating_add(size) > self.limit {
            return false;
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        self.messages.send((Arc::clone(key), message)).is_ok()
    }
}

/// Notifies the topics, on a thread that handlers may block, until the bridge and with it the codec
/// are dropped.
pub(crate) fn dispatch<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    topics: &TopicRegistry<K, E>,
    codec: &Weak<C>,
    reports: &Reports,
    incoming: &mpsc::Receiver<Incoming<K>>,
    waiting: &AtomicUsize,
) {
    while let (Ok((key, message)), Some(codec)) = (incoming.recv(), codec.upgrade()) {
        waiting.fetch_sub(message.length + OVERHEAD, Ordering::Relaxed);
        let (subject, is_decoded) = (message.subject.clone(), Cell::new(false));
        let handle = || {
            let event = codec.decode(&message.payload).map_err(|why| why.to_string())?;
            is_decoded.set(true);
            // Before the handlers, so that they see it.
            reports.count(|counts| counts.received += 1);
            topics.notify(&*key, event.borrow());
            Ok(())
        };
        // Panics of handlers are caught by the topics. A panic of the codec, of its error or of an
        // event's destructor must not end this thread: an attacker may have sent the payload that
        // causes it. The last owners of the codec and the key may be here, too.
        let outcome = guarded(handle);
        guarded(move || drop((codec, key)));
        match outcome.unwrap_or_else(|| Err::<_, String>("it panicked".into())) {
            Err(why) if !is_decoded.get() => reports.report(&Event::Undecodable(subject, why)),
            _ => {}
        }
    }
}
