//! Times the user's code of handlers, for topics that report slow calls: closures and polls of
//! futures, and nothing of the library around them.

use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use crate::handler::Header;
use crate::handler::delivery::Outcome;
use crate::handler::flavor::{EventRef, Flavor, HandlerArc};
use crate::report::panic::catch;

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
    /// Runs a whole call, and reports it if it is slow.
    pub(crate) fn time<R>(&self, user: impl FnOnce() -> R) -> R {
        if !self.is_timed() {
            return user();
        }
        let mut stopwatch = self.stopwatch();
        let result = catch(|| stopwatch.run(user));
        // Before the panic goes on: the report runs user code, which must not unwind meanwhile.
        drop(stopwatch);
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Returns a stopwatch for a call, or for one poll of its future.
    pub(crate) fn stopwatch(&self) -> Stopwatch<'_> {
        Stopwatch {
            header: self,
            spent: None,
        }
    }
}

/// What runs the user code of a call, and may time it. (A type and not a flag, so that a call that
/// is not timed pays for one check only.)
pub(crate) trait Timer<'h> {
    /// Returns the header of the handler that is called.
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "only futures need it")
    )]
    fn header(&self) -> &'h Header;

    /// Runs user code, and adds the time that it takes, even if it panics.
    fn run<R>(&mut self, user: impl FnOnce() -> R) -> R;
}

/// The timer of an async handler that is not timed.
#[cfg(feature = "async")]
pub(crate) struct Untimed<'h>(pub(crate) &'h Header);

#[cfg(feature = "async")]
impl<'h> Timer<'h> for Untimed<'h> {
    #[inline]
    fn header(&self) -> &'h Header {
        self.0
    }

    #[inline]
    fn run<R>(&mut self, user: impl FnOnce() -> R) -> R {
        user()
    }
}

/// The time spent in user code. When this is dropped, it is reported if it reaches the limit.
pub(crate) struct Stopwatch<'h> {
    header: &'h Header,
    // `None` if no user code was run.
    spent: Option<Duration>,
}

impl<'h> Timer<'h> for Stopwatch<'h> {
    fn header(&self) -> &'h Header {
        self.header
    }

    fn run<R>(&mut self, user: impl FnOnce() -> R) -> R {
        let _lap = Lap {
            spent: self.spent.get_or_insert_default(),
            start: Instant::now(),
        };
        user()
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        if let Some(spent) = self.spent {
            self.header.report_if_slow(spent);
        }
    }
}

struct Lap<'s> {
    spent: &'s mut Duration,
    start: Instant,
}

impl Drop for Lap<'_> {
    fn drop(&mut self) {
        *self.spent += self.start.elapsed();
    }
}
