//! [`Inbox`]: the messages that wait for the handlers, and the thread that takes them out.

use std::borrow::Borrow;
use std::future::ready;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use topic_registry::{Key, TopicRegistry};

use crate::Codec;
use crate::event::{Event, Shared, lock};
use crate::number::{Seen, missed};

/// What a message takes beside its bytes: estimated generously, so that the limit is one.
const OVERHEAD: usize = 512;

/// A message, the key whose subject was subscribed, and its share of the limit.
pub(crate) type Incoming<K> = (Arc<K>, Message, OwnedSemaphorePermit);

/// Has a task unsubscribe when its other end is dropped.
pub(crate) type Stop = oneshot::Receiver<()>;

/// The writing end, for the tasks of the subscriptions. They never wait for handlers, so what waits
/// for those is here, in order, and within one limit.
pub(crate) struct Inbox<K> {
    pub(crate) messages: mpsc::Sender<Incoming<K>>,
    /// The bytes that may be added.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) subscriptions: AtomicU64,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) shared: Arc<Shared>,
}

impl<K: Key> Inbox<K> {
    /// Forwards the messages of a subscription until it ends. When it is told to stop, it
    /// unsubscribes, and forwards what has arrived.
    pub(crate) async fn receive(self: Arc<Self>, mut from: Subscriber, key: Arc<K>, stop: Stop) {
        let subscription = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let mut lost = 0;
        let mut forward = |message: Message| {
            if let Some(room) = self.admit(subscription, &message, &mut lost) {
                // If the other thread has ended, so has the bridge.
                let _ = self.messages.send((Arc::clone(&key), message, room));
            }
            ready(())
        };
        from.by_ref().take_until(stop).for_each(&mut forward).await;
        // If the client has ended, so has the subscription.
        let _ = from.unsubscribe().await;
        from.for_each(forward).await;
    }

    /// Takes room for a message, if there is enough. Counts and reports what is lost before the
    /// handlers hear what came after it.
    fn admit(&self, from: u64, message: &Message, lost: &mut u32) -> Option<OwnedSemaphorePermit> {
        let gap = missed(&mut lock(&self.seen), from, message).unwrap_or(0);
        let size = u32::try_from(message.length + OVERHEAD).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).ok();
        let missed = gap.saturating_add(u32::from(room.is_none()));
        lock(&self.shared.counts).missed += u64::from(missed);
        *lost = lost.saturating_add(missed);
        if room.is_some() && *lost > 0 {
            self.shared.report(&Event::Missed(message.subject.clone(), mem::take(lost)));
        }
        room
    }
}

/// Notifies the topics, on a thread that handlers may block, until the bridge and with it the codec
/// are dropped.
pub(crate) fn dispatch<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    topics: &TopicRegistry<K, E>,
    codec: &Weak<C>,
    shared: &Shared,
    incoming: &mpsc::Receiver<Incoming<K>>,
) {
    while let (Ok((key, message, room)), Some(codec)) = (incoming.recv(), codec.upgrade()) {
        drop(room);
        // A panic of the codec, of its error or of an event's destructor must not end this thread:
        // an attacker may have sent the payload that causes it. The last owners of the codec and
        // the key may be here, too. Panics of handlers are caught by the topics.
        let decode = || {
            let event = codec.decode(&message.payload).map_err(|why| why.to_string())?;
            // Before the handlers, so that they see it.
            lock(&shared.counts).received += 1;
            guarded(|| topics.notify(&*key, { event }.borrow()));
            Ok(())
        };
        let outcome = guarded(decode).unwrap_or_else(|| Err::<_, String>("it panicked".into()));
        guarded(|| drop((codec, key)));
        if let Err(why) = outcome {
            shared.report(&Event::Undecodable(message.subject, why));
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
