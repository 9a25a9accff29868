//! [`Origin`]: the scope that a handler belongs to, its name, and the counts of its calls. A
//! handler that has only the scope takes no more memory for the rest.

use std::sync::Arc;
use std::time::Duration;

use crate::primitive::atomic::{AtomicU64, Ordering};
use crate::report::id::Calls;
use crate::report::scope::Scope;

/// Both variants fit into the two words of the first one: its pointers are never null.
#[derive(Clone)]
pub(crate) enum Origin {
    /// Of a handler that has neither a name nor counts.
    Scope(Arc<Scope>),
    Described(Arc<Described>),
}

/// A scope, with what describes one of its handlers.
pub(crate) struct Described {
    scope: Arc<Scope>,
    name: Option<Arc<str>>,
    counts: Option<Counts>,
}

/// They are read in the opposite order of that in which they are written, each write a release for
/// the acquire of the read: so what was read last includes what was read before.
#[derive(Default)]
pub(crate) struct Counts {
    calls: AtomicU64,
    total_nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

impl Origin {
    pub(crate) fn new(scope: &Arc<Scope>, name: Option<Arc<str>>) -> Self {
        let (scope, counts) = (Arc::clone(scope), scope.parent.counts_calls());
        if name.is_none() && !counts {
            return Self::Scope(scope);
        }
        let counts = counts.then(Counts::default);
        Self::Described(Arc::new(Described {
            scope,
            name,
            counts,
        }))
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        match self {
            Self::Scope(scope) => scope,
            Self::Described(described) => &described.scope,
        }
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Scope(_) => None,
            Self::Described(described) => described.name.as_ref(),
        }
    }

    pub(crate) fn counts(&self) -> Option<&Counts> {
        match self {
            Self::Scope(_) => None,
            Self::Described(described) => described.counts.as_ref(),
        }
    }
}

impl Counts {
    /// Counts a call that took `time`, or if it is not a new one, a further poll of its future.
    pub(crate) fn add(&self, time: Duration, is_new: bool) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.calls.fetch_add(is_new.into(), Ordering::Relaxed);
        self.total_nanos.fetch_add(nanos, Ordering::Release);
        self.longest_nanos.fetch_max(nanos, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Calls {
        let nanos = |number: &AtomicU64| Duration::from_nanos(number.load(Ordering::Acquire));
        let longest = nanos(&self.longest_nanos);
        let total = nanos(&self.total_nanos);
        Calls {
            count: self.calls.load(Ordering::Relaxed),
            total,
            longest,
        }
    }
}
