//! Times the calls of handlers, for topics that report slow ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handler::{Handler, Header};
use crate::wrapper::{Call, Wrapper};

/// A handler whose calls are timed, or the polls of its futures.
pub(crate) struct Timed<H: ?Sized> {
    handler: Arc<H>,
    limit: Duration,
}

impl<H: Handler + ?Sized> Timed<H> {
    pub(crate) fn new(handler: Arc<H>, limit: Duration) -> Self {
        Self { handler, limit }
    }
}

impl<H: Handler + ?Sized + 'static> Wrapper for Timed<H> {
    type Handler = H;
    type Call = Self;

    fn begin(&self) -> Option<Self> {
        Some(Self::new(Arc::clone(&self.handler), self.limit))
    }

    fn removed(&self) {
        self.handler.removed();
    }
}

impl<H: Handler + ?Sized + 'static> Call<H> for Timed<H> {
    fn handler(&self) -> &H {
        &self.handler
    }

    fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        let _clock = Clock {
            header: self.handler.header(),
            limit: self.limit,
            start: Instant::now(),
        };
        run()
    }
}

/// The clock of a call. It reports a slow call when it is dropped, so even if the poll of a future
/// panics.
struct Clock<'h> {
    header: &'h Header,
    limit: Duration,
    start: Instant,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        let time = self.start.elapsed();
        if time >= self.limit {
            self.header.report_slow(time);
        }
    }
}
