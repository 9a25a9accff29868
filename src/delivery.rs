//! [`Delivery`]: what a dispatch did, as numbers that can be added up.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::AddAssign;

/// What came of starting a handler.
///
/// As numbers, outcomes can be added up: a sum is the number of handlers that were skipped, 2^32
/// for each that panicked, and 2^63 if one stopped the dispatch. So a dispatch need not branch on
/// each.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub enum Outcome {
    Called = 0,
    Skipped = 1,
    Panicked = PANICKED,
    /// Only from handlers of which it is known that they may stop a dispatch; the last of its
    /// dispatch.
    Stopped = STOPPED,
}

const PANICKED: u64 = 1 << 32;
const STOPPED: u64 = 1 << 63;
const MOST_PANICS: u64 = STOPPED / PANICKED - 1;

/// What a dispatch did: how many handlers it called, how many of them panicked, and whether one
/// stopped it.
///
/// ```
/// use topic_registry::{Delivery, SyncRegistry};
///
/// let orders = SyncRegistry::<u32>::new();
/// orders.register(|count| assert_ne!(*count, 0));
/// let mut all = Delivery::default();
/// for count in [3, 0] {
///     all += orders.notify(&count);
/// }
/// assert_eq!((all.called(), all.panicked(), all.stopped()), (2, 1, false));
/// ```
// Two numbers, because they come back in registers; three would go through memory.
#[derive(Clone, Copy, Default)]
pub struct Delivery {
    handlers: usize,
    sum: u64,
}

impl Delivery {
    /// Decodes the sum of the outcomes of that many handlers, which are fewer than 2^32.
    #[inline]
    pub(crate) fn of(handlers: usize, sum: u64) -> Self {
        Self { handlers, sum }
    }

    /// Counts one more handler of a dispatch.
    #[inline]
    pub(crate) fn count(&mut self, outcome: Outcome) {
        self.handlers += 1;
        self.sum += outcome as u64;
    }

    /// Adds a later part of the same dispatch.
    #[inline]
    pub(crate) fn followed_by(self, later: Self) -> Self {
        Self::of(self.handlers + later.handlers, self.sum + later.sum)
    }

    /// Returns how many handlers were called, those that panicked included.
    #[must_use]
    #[inline]
    pub fn called(self) -> usize {
        self.handlers - (self.sum % PANICKED) as usize
    }

    /// Returns how many of these calls panicked. A sum of deliveries counts up to 2^31 - 1.
    #[must_use]
    #[inline]
    pub fn panicked(self) -> usize {
        (self.sum % STOPPED / PANICKED) as usize
    }

    /// Returns whether an [interceptor](crate::Registry::register_interceptor) stopped the
    /// dispatch.
    #[must_use]
    #[inline]
    pub fn stopped(self) -> bool {
        self.sum >= STOPPED
    }

    fn fields(self) -> (usize, usize, bool) {
        (self.called(), self.panicked(), self.stopped())
    }
}

/// Adds up what several dispatches did: a sum was stopped if one of them was.
impl AddAssign for Delivery {
    fn add_assign(&mut self, other: Self) {
        let panicked = self.sum % STOPPED / PANICKED + other.sum % STOPPED / PANICKED;
        let stopped = (self.sum | other.sum) & STOPPED;
        *self = Self {
            handlers: self.called() + other.called(),
            sum: panicked.min(MOST_PANICS) * PANICKED + stopped,
        };
    }
}

// By what it says: handlers that were skipped make no difference.
impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }
}

impl Eq for Delivery {}

impl Hash for Delivery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields().hash(state);
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
    use super::*;

    fn delivery(outcomes: &[Outcome]) -> Delivery {
        let mut delivery = Delivery::default();
        for outcome in outcomes {
            delivery.count(*outcome);
        }
        delivery
    }

    #[test]
    fn each_outcome_is_decoded_by_itself() {
        use Outcome::{Called, Panicked, Skipped, Stopped};
        assert_eq!(delivery(&[]).fields(), (0, 0, false));
        assert_eq!(delivery(&[Called, Skipped, Called]).fields(), (2, 0, false));
        assert_eq!(
            delivery(&[Panicked, Skipped, Panicked]).fields(),
            (2, 2, false)
        );
        assert_eq!(
            delivery(&[Panicked, Called, Stopped]).fields(),
            (3, 1, true)
        );
        assert_eq!(delivery(&[Called, Skipped]), delivery(&[Called]));
        assert_ne!(delivery(&[Panicked]), delivery(&[Called]));
    }

    #[test]
    fn a_sum_says_what_all_did_and_does_not_overflow() {
        use Outcome::{Panicked, Skipped, Stopped};
        let mut sum = delivery(&[Stopped]);
        sum += delivery(&[Stopped, Skipped, Panicked]);
        assert_eq!(sum.fields(), (3, 1, true));
        let mut many = Delivery::of(5, MOST_PANICS * PANICKED);
        many += delivery(&[Panicked]);
        assert_eq!(many.fields(), (6, (1 << 31) - 1, false));
    }
}
