//! [`Delivery`]: the result of a dispatch, as numbers that can be added up.

use std::ops::{Add, AddAssign};
use std::{fmt, iter};

/// The outcome of starting a handler.
///
/// Outcomes are numbers that can be added up: a sum has 1 for each handler that was called, 2^32
/// for each that panicked, and 2^63 if one stopped the dispatch. So a dispatch need neither branch
/// on each outcome nor count.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(crate) enum Outcome {
    Skipped = 0,
    Called = CALLED,
    Panicked = CALLED + PANICKED,
    /// Only from handlers that are known to be able to stop a dispatch; the last outcome of the
    /// dispatch.
    Stopped = CALLED + STOPPED,
    /// Like `Stopped`.
    StoppedByPanic = CALLED + PANICKED + STOPPED,
}

const CALLED: u64 = 1;
const PANICKED: u64 = 1 << 32;
const STOPPED: u64 = 1 << 63;

/// A sum of the outcomes of fewer than 2^31 handlers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    #[inline]
    pub(crate) fn and(self, outcome: Outcome) -> Self {
        Self(self.0 + outcome as u64)
    }

    pub(crate) fn is_stopped(self) -> bool {
        self.0 >= STOPPED
    }
}

/// The result of a dispatch: how many handlers it called, how many of them panicked, and whether
/// one stopped it.
///
/// ```
/// use topic_registry::{Delivery, SyncRegistry};
///
/// let orders = SyncRegistry::<u32>::new();
/// orders.register(|count| assert_ne!(*count, 0));
/// let all: Delivery = [3, 0].iter().map(|count| orders.notify(count)).sum();
/// assert_eq!((all.called(), all.panicked(), all.stopped()), (2, 1, false));
/// ```
// Two numbers, because they are returned in registers; three would be returned in memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Delivery {
    called: usize,
    /// The upper half of the sum: how many handlers panicked, and above that, `STOPPED`.
    rest: u64,
}

impl Delivery {
    /// Returns how many handlers were called, those that panicked included.
    #[must_use]
    #[inline]
    pub fn called(self) -> usize {
        self.called
    }

    /// Returns how many of these calls panicked. In a sum of deliveries, this is at most 2^31 - 1.
    #[must_use]
    #[inline]
    pub fn panicked(self) -> usize {
        (self.rest % Self::STOPPED) as usize
    }

    /// Returns whether an [interceptor](crate::RegisterOptions::register_interceptor) stopped the
    /// dispatch.
    #[must_use]
    #[inline]
    pub fn stopped(self) -> bool {
        self.rest >= Self::STOPPED
    }

    /// Panics if a handler panicked, and returns the delivery otherwise. For tests: an `assert!` in
    /// a handler does not fail a test by itself, because its panic is caught.
    ///
    /// ```should_panic
    /// use topic_registry::SyncRegistry;
    ///
    /// let orders = SyncRegistry::<u32>::new();
    /// orders.register(|count| assert_ne!(*count, 0));
    /// orders.notify(&0).assert_no_panics();
    /// ```
    ///
    /// # Panics
    ///
    /// If a handler panicked.
    #[track_caller]
    #[expect(
        clippy::return_self_not_must_use,
        reason = "it is called for its panic"
    )]
    pub fn assert_no_panics(self) -> Self {
        let (called, panicked) = (self.called(), self.panicked());
        assert_eq!(
            panicked, 0,
            "{panicked} of {called} handlers panicked; `on_panic` tells which"
        );
        self
    }

    const STOPPED: u64 = STOPPED / PANICKED;
}

/// Decodes a sum of outcomes.
impl From<Sum> for Delivery {
    #[inline]
    fn from(Sum(sum): Sum) -> Self {
        Self {
            called: (sum % PANICKED) as usize,
            rest: sum / PANICKED,
        }
    }
}

/// Adds up several deliveries: the sum counts as stopped if one of them was.
impl Add for Delivery {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let panicked = self.panicked() as u64 + other.panicked() as u64;
        let stopped = (self.rest | other.rest) & Self::STOPPED;
        Self {
            called: self.called.saturating_add(other.called),
            rest: panicked.min(Self::STOPPED - 1) | stopped,
        }
    }
}

impl AddAssign for Delivery {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl iter::Sum for Delivery {
    fn sum<I: Iterator<Item = Self>>(deliveries: I) -> Self {
        deliveries.fold(Self::default(), Self::add)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("called", &self.called())
            .field("panicked", &self.panicked())
            .field("stopped", &self.stopped())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{Called, Panicked, Skipped, Stopped, StoppedByPanic};
    use super::*;

    fn delivery(outcomes: &[Outcome]) -> Delivery {
        let mut sum = Sum::default();
        for outcome in outcomes {
            sum = sum.and(*outcome);
        }
        sum.into()
    }

    fn decoded(delivery: Delivery) -> (usize, usize, bool) {
        (delivery.called(), delivery.panicked(), delivery.stopped())
    }

    #[test]
    fn each_outcome_is_decoded_by_itself() {
        let of = |outcomes: &[Outcome]| decoded(delivery(outcomes));
        assert_eq!(of(&[]), (0, 0, false));
        assert_eq!(of(&[Called, Skipped, Called]), (2, 0, false));
        assert_eq!(of(&[Panicked, Skipped, Panicked]), (2, 2, false));
        assert_eq!(of(&[Panicked, Called, Stopped]), (3, 1, true));
        assert_eq!(of(&[Panicked, StoppedByPanic]), (2, 2, true));
    }

    #[test]
    fn a_sum_says_what_all_did_and_does_not_overflow() {
        let both = [
            delivery(&[Stopped]),
            delivery(&[Panicked, Skipped, Stopped]),
        ];
        assert_eq!(decoded(both.into_iter().sum()), (3, 1, true));
        let most = (1 << 31) - 1;
        let mut many = Delivery {
            called: 5,
            rest: most as u64,
        };
        many += delivery(&[Panicked, Called]);
        assert_eq!(decoded(many), (7, most, false));
    }
}
