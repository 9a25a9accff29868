//! Helpers that the tests share: bombs, logs, and waits with a time limit. What the shared tests run
//! over is in `subjects.rs`.

use std::marker;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

pub(crate) use crate::subjects::*;

/// A task's waker that counts its wakes.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    /// Returns how often it was woken since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Polls as a task with this waker does.
pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>, task: &Arc<Wakes>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(task));
    future.poll(&mut Context::from_waker(&waker))
}

/// A value whose destructor panics with its text.
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// A payload whose destructor throws another such payload, without end.
pub(crate) struct EndlessBomb;

impl Drop for EndlessBomb {
    fn drop(&mut self) {
        panic::panic_any(EndlessBomb);
    }
}

/// Runs a closure when dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Makes a handler that does nothing but own `what`.
pub(crate) fn owning<T: Send + marker::Sync + 'static>(
    what: T,
) -> impl Fn(&u32) + Send + marker::Sync + 'static {
    move |_| {
        let _ = &what;
    }
}

/// A log to write to from several places, and to read back.
pub(crate) struct Log<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, entry: T) {
        self.0.lock().unwrap().push(entry);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Returns a log of the messages of all panics that a subject reports.
pub(crate) fn log_of_panics(subject: &impl Subject) -> Log<String> {
    let log = Log::new();
    let reports = log.clone();
    subject.on_panic(move |info| reports.push(info.message().unwrap_or("?").to_owned()));
    log
}

/// Runs `f` on a separate thread. Fails, naming `what`, if it does not end.
pub(crate) fn within<R: Send + 'static>(what: &str, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let runner = thread::spawn(move || {
        let result = panic::catch_unwind(AssertUnwindSafe(f));
        let _ = sender.send(result);
    });
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(result)) => {
            runner.join().expect("it has ended");
            result
        }
        Ok(Err(payload)) => panic::resume_unwind(payload),
        Err(RecvTimeoutError::Timeout) => panic!("hung: {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("lost: {what}"),
    }
}

/// Makes a gate at which one side waits until the other opens it.
pub(crate) fn gate(
    what: &'static str,
) -> (
    impl Fn() + Send + marker::Sync,
    impl Fn() + Send + marker::Sync,
) {
    let (open, opened) = mpsc::channel();
    let opened = Mutex::new(opened);
    (
        move || open.send(()).expect("somebody waits"),
        move || {
            let opened = opened.lock().unwrap();
            let outcome = opened.recv_timeout(Duration::from_secs(60));
            outcome.unwrap_or_else(|_| panic!("hung: waiting for {what}"));
        },
    )
}
