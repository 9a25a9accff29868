//! [`Channels`]: which channels Redis is to send us, and which of them it knows of.
//!
//! Edges of interest come in at any time; the listener takes what has changed, tells Redis,
//! and takes again when that is confirmed. Only changes are kept, and an edge that is undone
//! before it was taken leaves nothing: topics that come and go while Redis is away cost no memory.

use std::collections::HashSet;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use topic_registry::Interest;

#[derive(Debug, Default)]
pub(crate) struct Channels {
    state: Mutex<State>,
    progress: Condvar,
}

/// What Redis is to be told.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) gained: HashSet<String>,
    pub(crate) lost: HashSet<String>,
}

#[derive(Debug, Default)]
struct State {
    /// What Redis was told to send.
    subscribed: HashSet<String>,
    /// What it was not told yet: `gained` is not in `subscribed`, and `lost` is.
    changes: Changes,
    /// How many edges there were, and how many of them had been when changes were last taken,
    /// and when those were taken that are confirmed.
    recorded: u64,
    taken: u64,
    confirmed: u64,
}

impl Channels {
    /// For one key, edges alternate, and begin with [`Interest::Gained`].
    pub(crate) fn record(&self, key: &str, interest: Interest) {
        let mut state = self.lock();
        state.recorded += 1;
        let Changes { gained, lost } = &mut state.changes;
        let (opposite, same) = match interest {
            Interest::Gained => (lost, gained),
            Interest::Lost => (gained, lost),
        };
        if !opposite.remove(key) {
            same.insert(key.to_owned());
        }
    }

    /// Takes what has changed; what was taken before is confirmed by now.
    pub(crate) fn take(&self) -> Changes {
        let mut state = self.lock();
        let changes = mem::take(&mut state.changes);
        for key in &changes.lost {
            state.subscribed.remove(key);
        }
        state.subscribed.extend(changes.gained.iter().cloned());
        state.confirmed = state.taken;
        state.taken = state.recorded;
        if changes.is_empty() {
            // There is nothing to wait for.
            state.confirmed = state.taken;
        }
        self.progress.notify_all();
        changes
    }

    /// Redis has forgotten everything, and what was taken is not confirmed.
    pub(crate) fn start_over(&self) {
        let state = &mut *self.lock();
        let lost = mem::take(&mut state.changes.lost);
        let kept = state.subscribed.drain().filter(|key| !lost.contains(key));
        state.changes.gained.extend(kept);
        state.recorded += 1;
        state.taken = state.confirmed;
    }

    /// Waits until all edges by now are confirmed; whether they are.
    pub(crate) fn settle(&self, patience: Duration) -> bool {
        let state = self.lock();
        let target = state.recorded;
        let is_pending = |state: &mut State| state.confirmed < target;
        let progress = &self.progress;
        let waited = progress.wait_timeout_while(state, patience, is_pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.gained.is_empty() && self.lost.is_empty()
    }
}
