//! [`Stopwatch`]: times the user's code of handlers, for topics that report slow calls or count
//! all: closures and polls of futures, and nothing of the library around them.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use crate::handler::Header;
use crate::handler::delivery::Outcome;
use crate::handler::flavor::{EventRef, Flavor, HandlerArc};
use crate::report::panic::{Payload, catch};

/// Makes a handler that calls `user`, whose result `outcome` evaluates. Only `user` is timed.
///
/// Whether calls are timed is decided here and not at each call, so that a handler that is not
/// timed pays nothing.
pub(crate) fn inline<F, E, T>(
    header: Header,
    user: impl Fn(EventRef<'_, '_, F, E>) -> T + Send + Sync + 'static,
    outcome: impl Fn(T) -> Outcome + Send + Sync + 'static,
) -> HandlerArc<F, E>
where
    F: Flavor<E>,
    E: ?Sized + 'static,
{
    if header.is_timed() {
        F::inline(header, move |event, header| {
            outcome(header.time(|| user(event)))
        })
    } else {
        F::inline(header, move |event, _| outcome(user(event)))
    }
}

impl Header {
    /// Runs a call, and times it if calls are timed.
    pub(crate) fn time<R>(&self, user: impl FnOnce() -> R) -> R {
        self.time_part(true, user)
    }

    /// Runs a further poll of a call's future, and times it if calls are timed.
    #[cfg(feature = "async")]
    pub(crate) fn time_poll<R>(&self, user: impl FnOnce() -> R) -> R {
        self.time_part(false, user)
    }

    fn time_part<R>(&self, is_new: bool, user: impl FnOnce() -> R) -> R {
        if !self.is_timed() {
            return user();
        }
        let mut stopwatch = Stopwatch::<true>::new(self, is_new);
        let result = catch(|| stopwatch.run(user));
        // Before the panic goes on: the report runs user code, which must not unwind meanwhile.
        drop(stopwatch);
        propagate(result)
    }
}

/// Runs the user code of a call, and may time it. (A constant and not a flag, so that a call that
/// is not timed pays for one check only.)
///
/// When this is dropped, the time that was spent is counted, and reported if it reaches the limit.
pub(crate) struct Stopwatch<'h, const RUNS: bool> {
    header: &'h Header,
    is_new: bool,
    // `None` if no user code was run.
    spent: Option<Duration>,
}

impl<'h, const RUNS: bool> Stopwatch<'h, RUNS> {
    /// Returns a stopwatch for a new call, with the first poll of its future, or for a further
    /// poll.
    pub(crate) fn new(header: &'h Header, is_new: bool) -> Self {
        Self {
            header,
            is_new,
            spent: None,
        }
    }

    /// Returns the header of the handler that is called.
    #[cfg(feature = "async")]
    pub(crate) fn header(&self) -> &'h Header {
        self.header
    }

    /// Runs user code, and adds the time that it takes, even if it panics.
    #[inline]
    pub(crate) fn run<R>(&mut self, user: impl FnOnce() -> R) -> R {
        if !RUNS {
            return user();
        }
        let start = Instant::now();
        let result = catch(user);
        *self.spent.get_or_insert_default() += start.elapsed();
        propagate(result)
    }
}

impl<const RUNS: bool> Drop for Stopwatch<'_, RUNS> {
    fn drop(&mut self) {
        if let Some(spent) = self.spent.filter(|_| RUNS) {
            self.header.took(spent, self.is_new);
        }
    }
}

fn propagate<R>(result: Result<R, Payload>) -> R {
    result.unwrap_or_else(|payload| resume_unwind(payload))
}
