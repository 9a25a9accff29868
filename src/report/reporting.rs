//! What this thread is reporting. A report runs user code, which may cause further reports: those
//! of the same kind are not made, or user code that reports to itself would recurse without end.

use std::cell::Cell;

use crate::primitive::thread_local_const;

/// A kind of report. The numbers are bits.
#[derive(Clone, Copy)]
pub(crate) enum Report {
    Panic = 1,
    SlowCall = 2,
    /// An event for `tracing`: a topic was created or removed.
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "nobody is told"))]
    Topic = 4,
}

/// A report that this thread makes, until dropped.
pub(crate) struct Reporting(Report);

thread_local_const!(REPORTS: Cell<u8> = Cell::new(0));

impl Reporting {
    /// Begins a report, unless this thread is inside a report of the same kind.
    pub(crate) fn begin(report: Report) -> Option<Self> {
        REPORTS.with(|reports| {
            let others = reports.get();
            reports.set(others | report as u8);
            (others & report as u8 == 0).then(|| Self(report))
        })
    }
}

/// Ends this report only: stackful coroutines may end their reports in any order.
impl Drop for Reporting {
    fn drop(&mut self) {
        REPORTS.with(|reports| reports.set(reports.get() & !(self.0 as u8)));
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn reports_of_one_kind_do_not_nest() {
        let outer = Reporting::begin(Report::Panic);
        assert!(outer.is_some());
        for _ in 0..2 {
            assert!(Reporting::begin(Report::Panic).is_none());
        }
        assert!(Reporting::begin(Report::SlowCall).is_some());
        drop(outer);
        assert!(Reporting::begin(Report::Panic).is_some());
    }

    #[test]
    fn reports_that_end_in_another_order_leave_nothing_behind() {
        let [panic, slow] = [Report::Panic, Report::SlowCall].map(Reporting::begin);
        drop(panic);
        drop(slow);
        for report in [Report::Panic, Report::SlowCall] {
            assert!(Reporting::begin(report).is_some());
        }
    }
}
