//! Handlers that return futures, polled by hand: no runtime takes part.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Work;

/// Ours without keys.
pub type Ours = topic_registry::AsyncRegistry<u64>;

/// That of `registry-io`.
pub type RegistryIo = registry_io::r#async::AsyncRegistry<u64>;

/// Whatever runs handlers that return futures.
pub trait AsyncSubject: Default + 'static {
    /// Registers one.
    fn add<F, Fut>(&self, handler: F)
    where
        F: Fn(&u64) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static;

    /// Runs all of them at once.
    fn notify_all(&self, event: &u64) -> impl Future;

    /// Runs one after the other.
    fn notify_each(&self, event: &u64) -> impl Future;
}

impl AsyncSubject for Ours {
    fn add<F, Fut>(&self, handler: F)
    where
        F: Fn(&u64) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.register(handler);
    }

    fn notify_all(&self, event: &u64) -> impl Future {
        self.notify(event)
    }

    fn notify_each(&self, event: &u64) -> impl Future {
        self.notify_sequential(event)
    }
}

impl AsyncSubject for RegistryIo {
    fn add<F, Fut>(&self, handler: F)
    where
        F: Fn(&u64) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.register(handler);
    }

    fn notify_all(&self, event: &u64) -> impl Future {
        self.notify(event)
    }

    fn notify_each(&self, event: &u64) -> impl Future {
        self.notify_sequential(event)
    }
}

/// Runs handlers that are ready at once, all together.
#[must_use]
pub fn ready<A: AsyncSubject>(handlers: u64) -> Work {
    let subject = with_ready_handlers::<A>(handlers);
    Work::new(move |times| {
        for event in 0..times {
            poll_all(&subject, black_box(&event));
        }
    })
}

/// Runs handlers that are ready at once, one after the other.
#[must_use]
pub fn sequential<A: AsyncSubject>(handlers: u64) -> Work {
    let subject = with_ready_handlers::<A>(handlers);
    Work::new(move |times| {
        for event in 0..times {
            poll_each(&subject, black_box(&event));
        }
    })
}

/// Runs handlers that all wait, and are woken one by one.
///
/// # Panics
///
/// If a dispatch ends with another handler than the last.
#[must_use]
pub fn woken<A: AsyncSubject>(handlers: u64) -> Work {
    let subject = A::default();
    let gates: Vec<Arc<Gate>> = (0..handlers).map(|_| Arc::default()).collect();
    for gate in &gates {
        let gate = Arc::clone(gate);
        subject.add(move |_| pass(Arc::clone(&gate)));
    }
    Work::new(move |times| {
        for event in 0..times {
            let mut dispatch = pin!(subject.notify_all(black_box(&event)));
            assert!(!poll(dispatch.as_mut()), "nobody is let through yet");
            let ready = gates.iter().filter(|gate| {
                gate.open();
                poll(dispatch.as_mut())
            });
            assert_eq!(ready.count(), 1, "it ends with the last");
        }
    })
}

fn with_ready_handlers<A: AsyncSubject>(handlers: u64) -> A {
    let subject = A::default();
    for n in 0..handlers {
        subject.add(move |event| {
            let event = *event;
            async move {
                black_box(event + n);
            }
        });
    }
    subject
}

#[inline(never)]
fn poll_all<A: AsyncSubject>(subject: &A, event: &u64) {
    assert!(poll(pin!(subject.notify_all(event))));
}

#[inline(never)]
fn poll_each<A: AsyncSubject>(subject: &A, event: &u64) {
    assert!(poll(pin!(subject.notify_each(event))));
}

/// Polls once; whether it is ready.
fn poll(future: Pin<&mut impl Future>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    future.poll(&mut context).is_ready()
}

/// Where a handler waits. It lets one through each time that it is opened.
#[derive(Default)]
struct Gate {
    is_open: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
        if let Some(waker) = self.wait_for(None) {
            waker.wake();
        }
    }

    fn wait_for(&self, waker: Option<Waker>) -> Option<Waker> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *waiting, waker)
    }
}

async fn pass(gate: Arc<Gate>) {
    poll_fn(|context| {
        if gate.is_open.swap(false, Ordering::Relaxed) {
            return Poll::Ready(());
        }
        gate.wait_for(Some(context.waker().clone()));
        Poll::Pending
    })
    .await;
}
