//! What is counted by those who do it and by those to whom it is done, and what is said when
//! the two differ.

use std::fmt::{self, Debug};
use std::panic;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds so many; how many there are then.
    pub(crate) fn add(&self, more: u64) -> u64 {
        self.0.fetch_add(more, SeqCst) + more
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

/// Of one run, sync and async together where nothing else is said.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) notifications: Count,
    pub(crate) registrations: Count,
    /// Closures, and the futures that they return.
    pub(crate) created: Count,
    pub(crate) dropped: Count,
    pub(crate) thrown: Count,
    /// Of these, the ones that callbacks threw, which are counted only.
    pub(crate) unreported: Count,
    /// To `on_panic`.
    pub(crate) reported: Count,
    /// Calls of sync handlers, as the handlers and as the dispatches count them.
    pub(crate) called: Count,
    pub(crate) delivered: Count,
    /// Of these, the ones that threw.
    pub(crate) called_in_vain: Count,
    pub(crate) delivered_in_vain: Count,
    /// Dispatches that an interceptor stopped, as they and as interceptors count them.
    pub(crate) stopped: Count,
    pub(crate) delivered_stopped: Count,
    /// Calls of timed handlers, as they, the dispatches and `on_slow` count them.
    pub(crate) slow_called: Count,
    pub(crate) timed_delivered: Count,
    pub(crate) slow_reported: Count,
    /// Sync handlers for once, where nobody clears.
    pub(crate) once: Count,
    pub(crate) once_called: Count,
    pub(crate) once_removed: Count,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [&self.notifications, &self.registrations, &self.reported];
        let [notifications, registrations, panics] = counts.map(Count::get);
        write!(
            f,
            "{notifications} notifications, {registrations} registrations, {panics} panics"
        )
    }
}

static VIOLATIONS: Count = Count::new();

/// Says what is not as it must be; only so often, because the rest is the same.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it reads as `assert_eq!` does"
)]
pub(crate) fn expect<T: PartialEq + Debug>(what: &str, expected: T, found: T) {
    const SAID: u64 = 20;
    if expected != found && VIOLATIONS.add(1) <= SAID {
        eprintln!("violation: {what}: expected {expected:?}, found {found:?}");
    }
}

pub(crate) fn violations() -> u64 {
    VIOLATIONS.get()
}

/// What is thrown on purpose.
struct Planned;

impl Ledger {
    pub(crate) fn throw(&self) -> ! {
        self.thrown.add(1);
        panic::panic_any(Planned)
    }
}

/// Keeps the planned panics, and only them, out of the output.
pub(crate) fn silence_planned_panics() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !info.payload().is::<Planned>() {
            told(info);
        }
    }));
}
