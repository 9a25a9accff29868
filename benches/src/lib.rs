//! What is measured, of ours and of the peers, for the criterion benches and for `compare`.
//!
//! Everything is called with the same event and runs the same handlers. Who cannot do
//! something is left out there: a `Vec` of closures cannot remove by id, a channel has no
//! priorities, and only ours and the hand-made map have keys.

pub mod cases;
pub mod futures;
pub mod hooks;
pub mod instrumented;
pub mod keys;
pub mod maps;
pub mod measure;
pub mod mix;
pub mod ours;
pub mod peers;
pub mod protocol;
pub mod threads;
pub mod work;
pub mod worker;

use std::hint::black_box;

pub use work::Work;

/// Whatever calls its handlers when it is told to.
pub trait Notify {
    /// What a call returns. It is returned here too, so that the compiler cannot leave it out.
    type Answer;

    /// Calls them once.
    fn call(&mut self, event: &u64) -> Self::Answer;
}

/// Whatever can be notified by several threads at once.
pub trait Shared: Send + Sync {
    /// As [`Notify::Answer`].
    type Answer;

    /// As [`Notify::call`].
    fn call_shared(&self, event: &u64) -> Self::Answer;
}

impl<S: Shared> Notify for S {
    type Answer = S::Answer;

    #[inline(always)]
    fn call(&mut self, event: &u64) -> S::Answer {
        self.call_shared(event)
    }
}

impl<S: Shared> Shared for &S {
    type Answer = S::Answer;

    #[inline(always)]
    fn call_shared(&self, event: &u64) -> S::Answer {
        S::call_shared(self, event)
    }
}

/// Whatever can be made with so many handlers.
pub trait Subject: Notify + 'static {
    /// Makes one.
    fn with_handlers(handlers: u64) -> Self;
}

/// Whatever handlers can be registered on and removed from, at a priority.
pub trait Churn: Subject {
    /// Registers a handler and removes it again.
    fn churn(&mut self, priority: i32);
}

/// Where a handler is registered beside those of [`Subject::with_handlers`].
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Behind half of them.
    Middle,
    /// Behind all of them.
    End,
}

impl Place {
    /// The priority that puts it there.
    #[must_use]
    pub fn priority(self) -> i32 {
        match self {
            Self::Middle => 0,
            Self::End => -1,
        }
    }
}

/// The handler that all of them run.
#[inline]
pub fn handler(n: u64) -> impl Fn(&u64) + Send + Sync + 'static {
    move |event| {
        black_box(*event + n);
    }
}

/// Registers handlers: half of them above priority 0, the rest below, to leave a middle.
pub(crate) fn fill(handlers: u64, mut register: impl FnMut(i32, u64)) {
    for n in 0..handlers {
        register(if n < handlers / 2 { 1 } else { -1 }, n);
    }
}

/// One call, compiled into the loop around it as it would be at a user's. What it returns is
/// used where it is: to move it would be a cost of this program's.
#[inline(always)]
pub fn notify_once<N: Notify>(subject: &mut N, event: &u64) {
    black_box(&subject.call(event));
}
