//! [`Inbox`]: the messages that wait for the handlers, and the thread that takes them out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::{borrow::Borrow, cell::Cell, future::ready, mem};

use async_nats::{Message, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use topic_registry::{Key, TopicRegistry};

use crate::event::{Event, Reports, lock};
use crate::{Codec, number::Numbers, number::missed};

/// What a message takes beside its bytes: estimated generously, so that the limit is one.
const OVERHEAD: usize = 512;

/// A message, the key whose subject was subscribed, and its share of the limit.
pub(crate) type Incoming<K> = (Arc<K>, Message, OwnedSemaphorePermit);

/// The writing end, for the tasks of the subscriptions. They never wait for handlers, so what waits
/// for those is here, in order, and within one limit.
pub(crate) struct Inbox<K> {
    pub(crate) messages: mpsc::Sender<Incoming<K>>,
    /// The bytes that may wait, and those that may be added now.
    pub(crate) limit: usize,
    pub(crate) room: Arc<Semaphore>,
    pub(crate) subscriptions: AtomicU64,
    /// By subscription and sender.
    pub(crate) seen: Mutex<Numbers<(u64, u128)>>,
    pub(crate) reports: Arc<Reports>,
}

impl<K: Key> Inbox<K> {
    /// Forwards the messages of a subscription until it ends. When it is told to stop, it
    /// unsubscribes, and forwards what has arrived.
    pub(crate) async fn receive(
        self: Arc<Self>,
        mut from: Subscriber,
        key: Arc<K>,
        stop: oneshot::Receiver<()>,
    ) {
        let subscription = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let mut lost = (Subject::from(""), 0);
        let mut forward = |message: Message| {
            lost.0 = message.subject.clone();
            if let Some(room) = self.admit(subscription, &message, &mut lost.1) {
                self.report(&mut lost);
                // If the other thread has ended, so has the bridge.
                let _ = self.messages.send((Arc::clone(&key), message, room));
            }
            ready(())
        };
        from.by_ref().take_until(stop).for_each(&mut forward).await;
        // If the client has ended, so has the subscription.
        let _ = from.unsubscribe().await;
        from.for_each(&mut forward).await;
        self.report(&mut lost);
    }

    /// Takes room for a message, of which there is enough for one, whatever its size. Counts what is
    /// lost before the handlers hear what came after it.
    fn admit(&self, from: u64, message: &Message, lost: &mut u32) -> Option<OwnedSemaphorePermit> {
        let gap = missed(&mut lock(&self.seen), from, message).unwrap_or(0);
        let size = u32::try_from((message.length + OVERHEAD).min(self.limit)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(size).ok();
        let missed = gap.saturating_add(u32::from(room.is_none()));
        lock(&self.reports.counts).missed += u64::from(missed);
        *lost = lost.saturating_add(missed);
        room
    }

    fn report(&self, (subject, lost): &mut (Subject, u32)) {
        if let lost @ 1.. = mem::take(lost) {
            self.reports.report(&Event::Missed(subject.clone(), lost));
        }
    }
}

/// Notifies the topics, on a thread that handlers may block, until the bridge and with it the codec
/// are dropped.
pub(crate) fn dispatch<K: Key, E: ?Sized + 'static, C: Codec<E>>(
    topics: &TopicRegistry<K, E>,
    codec: &Weak<C>,
    reports: &Reports,
    incoming: &mpsc::Receiver<Incoming<K>>,
) {
    while let (Ok((key, message, room)), Some(codec)) = (incoming.recv(), codec.upgrade()) {
        drop(room);
        let is_decoded = Cell::new(false);
        let handle = || {
            let event = codec.decode(&message.payload).map_err(|why| why.to_string())?;
            is_decoded.set(true);
            // Before the handlers, so that they see it.
            lock(&reports.counts).received += 1;
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
