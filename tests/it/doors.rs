//! Handlers that wait until a test lets them go on.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use topic_registry::AsyncRegistry;

/// A future that ends once its door is opened, and counts how often it is polled.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<DoorState>);

#[derive(Default)]
struct DoorState {
    open: Mutex<bool>,
    waker: Mutex<Option<Waker>>,
    polls: AtomicUsize,
}

impl Door {
    pub(crate) fn passed(&self) -> impl Future<Output = ()> + Send + use<> {
        let state = Arc::clone(&self.0);
        poll_fn(move |context| {
            state.polls.fetch_add(1, Ordering::Relaxed);
            *state.waker.lock().unwrap() = Some(context.waker().clone());
            if *state.open.lock().unwrap() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    pub(crate) fn open(&self) {
        *self.0.open.lock().unwrap() = true;
        self.waker().wake();
    }

    /// Opens the door, and wakes who waits, if there is anyone.
    pub(crate) fn open_unheard(&self) {
        *self.0.open.lock().unwrap() = true;
        self.0.waker.lock().unwrap().take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn waker(&self) -> Waker {
        self.0.waker.lock().unwrap().clone().expect("it was polled")
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.polls.load(Ordering::Relaxed)
    }
}

/// A registry whose handlers each wait for a door of their own.
pub(crate) fn doors(count: usize) -> (AsyncRegistry<u32>, Vec<Door>) {
    let registry = AsyncRegistry::new();
    let doors: Vec<Door> = (0..count).map(|_| Door::default()).collect();
    for door in &doors {
        let door = door.clone();
        registry.register(move |_| door.passed());
    }
    (registry, doors)
}
