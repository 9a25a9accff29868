//! What is counted by those who do it and by those to whom it is done, and what is wrong.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::mem;
use std::panic::resume_unwind;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

use super::dice::once_in;

#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, SeqCst);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

#[derive(Default)]
pub(super) struct Ledger {
    /// Panics that the topics have to count.
    pub(super) thrown: Count,
    /// Of these, the ones that came back to the caller, who owns the waker that threw them.
    pub(super) came_out: Count,
    /// Panics that nothing can count any more, or by the documentation nothing does.
    pub(super) thrown_uncounted: Count,
    /// Calls of sync handlers, as the handlers and as the dispatches count them.
    pub(super) called: Count,
    pub(super) delivered: Count,
    pub(super) created: Count,
    pub(super) dropped: Count,
    pub(super) acts: Count,
    throws_bombs: bool,
    /// What is not as it must be, and how often.
    wrong: Mutex<BTreeMap<String, u64>>,
}

/// The payload of a panic that means no harm.
struct Planned;

/// A payload whose destructor panics.
struct Bomb {
    /// `None` once it is defused.
    ledger: Option<Arc<Ledger>>,
    counts: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.count_throw(self.counts);
            drop(ledger);
            resume_unwind(Box::new(Planned));
        }
    }
}

impl Ledger {
    /// `throws_bombs` is whether payloads are hostile.
    pub(super) fn new(throws_bombs: bool) -> Self {
        Self {
            throws_bombs,
            ..Self::default()
        }
    }

    /// Panics, without the panic hook. `counts` is whether the topics have to count it.
    pub(super) fn throw(self: &Arc<Self>, counts: bool) -> ! {
        self.count_throw(counts);
        if self.throws_bombs && once_in(4) {
            let ledger = Some(Arc::clone(self));
            resume_unwind(Box::new(Bomb { ledger, counts }));
        }
        resume_unwind(Box::new(Planned))
    }

    fn count_throw(&self, counts: bool) {
        let thrown = [&self.thrown_uncounted, &self.thrown][usize::from(counts)];
        thrown.add(1);
    }

    /// A panic that reached this program's own frames.
    pub(super) fn unwound(&self, out_of: &str, payload: Box<dyn Any + Send>) {
        let message = payload.downcast_ref::<String>().cloned();
        let message = message.or_else(|| Some((*payload.downcast_ref::<&str>()?).to_owned()));
        self.expect(
            &format!("a panic out of {out_of}: {message:?}"),
            false,
            true,
        );
        defuse(payload);
    }

    /// A panic of a waker that came back to who gave it.
    pub(super) fn comes_out(&self, payload: Box<dyn Any + Send>) {
        self.came_out.add(1);
        defuse(payload);
    }

    /// Notes what is not as it must be.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it reads as `assert_eq!` does"
    )]
    pub(super) fn expect<T: PartialEq + Debug>(&self, what: &str, expected: T, found: T) {
        if expected != found {
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            *wrong
                .entry(format!("{what}: expected {expected:?}, found {found:?}"))
                .or_default() += 1;
        }
    }

    pub(super) fn take_wrong(&self) -> BTreeMap<String, u64> {
        mem::take(&mut *self.wrong.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn defuse(payload: Box<dyn Any + Send>) {
    if let Ok(mut bomb) = payload.downcast::<Bomb>() {
        bomb.ledger = None;
    }
}
