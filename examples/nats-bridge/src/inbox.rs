//! [`Inbox`]: the messages that wait for the handlers, and the thread that takes them out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::{borrow::Borrow, cell::Cell, mem};

use async_nats::{Message, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::{select, sync::oneshot};
use topic_registry::{Key, TopicRegistry};

use crate::event::{Event, Reports};
use crate::{Codec, number::Numbers, number::missed};

/// What a message takes beside its bytes: estimated generously, so that the limit is one.
const OVERHEAD: usize = 512;

/// The writing end, for the tasks of the subscriptions. They never wait for handlers, so what waits
/// for those is here, in order, and within one limit.
#[derive(Debug)]
pub(crate) struct Inbox<K> {
    /// Messages, and the keys whose subjects were subscribed.
    pub(crate) messages: mpsc::Sender<(Arc<K>, Message)>,
    /// The bytes that wait, and their limit.
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) limit: usize,
    pub(crate) seen: Mutex<Numbers<(u64, u128)>>,
    pub(crate) reports: Arc<Reports>,
}

impl<K: Key> Inbox<K> {
    /// Forwards the messages of a subscription until it ends. If it is told to stop, it
    /// unsubscribes, and forwards what has arrived.
    pub(crate) async fn receive(
        self: Arc<Self>,
        mut from: Subscriber,
        subscription: u64,
        key: Arc<K>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let (mut is_stopped, mut unreported, mut subject) = (false, 0, Subject::from(""));
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
            let is_end = message.is_none();
            if let Some(message) = message {
                subject = message.subject.clone();
                // Counted before the handlers hear what came after it.
                self.lose(&mut unreported, self.missed(subscription, &message));
                if !self.push(&key, message) {
                    self.lose(&mut unreported, 1);
                    continue;
                }
            }
            if unreported > 0 {
                self.reports.report(&Event::Missed(subject.clone(), mem::take(&mut unreported)));
            }
            if is_end {
                return;
            }
        }
    }

    fn missed(&self, subscription: u64, message: &Message) -> u32 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        missed(&mut seen, subscription, message.headers.as_ref()).unwrap_or(0)
    }

    fn lose(&self, unreported: &mut u32, messages: u32) {
        *unreported = unreported.saturating_add(messages);
        self.reports.count(|counts| counts.missed += u64::from(messages));
    }

    /// Returns `false` if there is no room. There is room for one message, whatever its size.
    fn push(&self, key: &Arc<K>, message: Message) -> bool {
        // Only the thread of the network adds.
        let (size, waiting) = (
            message.length + OVERHEAD,
            self.waiting.load(Ordering::Relaxed),
        );
        let has_room = waiting == 0 || waiting.saturating_add(size) <= self.limit;
        if has_room {
            self.waiting.fetch_add(size, Ordering::Relaxed);
        }
        has_room && self.messages.send((Arc::clone(key), message)).is_ok()
    }
}

/// Notifies the topics, on a thread that handlers may block, until the bridge and with it the codec
/// are dropped.
pub(crate) fn dispatch<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    topics: &TopicRegistry<K, E>,
    codec: &Weak<C>,
    reports: &Reports,
    incoming: &mpsc::Receiver<(Arc<K>, Message)>,
    waiting: &AtomicUsize,
) {
    while let (Ok((key, message)), Some(codec)) = (incoming.recv(), codec.upgrade()) {
        waiting.fetch_sub(message.length + OVERHEAD, Ordering::Relaxed);
        let is_decoded = Cell::new(false);
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
        let outcome = guarded(handle).unwrap_or_else(|| Err::<_, String>("it panicked".into()));
        guarded(move || drop((codec, key)));
        if let (Err(why), false) = (outcome, is_decoded.get()) {
            reports.report(&Event::Undecodable(message.subject, why));
        }
    }
}

/// Runs code of the user. Returns `None` if it panics.
pub(crate) fn guarded<R>(code: impl FnOnce() -> R) -> Option<R> {
    let outcome = catch_unwind(AssertUnwindSafe(code));
    // The destructor of a payload may panic, too; that of its payload is not run.
    let discard = |payload| catch_unwind(AssertUnwindSafe(|| drop(payload)));
    outcome.map_err(|payload| discard(payload).unwrap_or_else(mem::forget)).ok()
}
