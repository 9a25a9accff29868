//! Reports topics that have more handlers than they should.

use crate::report::panic::Payload;
use crate::topics::observers::Observers;

/// A limit, and the callback for topics that grow past a multiple of it.
pub(super) struct HandlerLimit<K> {
    pub(super) limit: usize,
    pub(super) callback: Box<dyn Fn(&K, usize) + Send + Sync>,
}

impl<K> Observers<HandlerLimit<K>> {
    /// Calls the observers for which a topic that grew `from` one number of handlers `to` another
    /// has passed a multiple of their limit.
    pub(super) fn tell(&self, key: &K, from: usize, to: usize, thrown: &dyn Fn(Payload)) {
        if to <= from || !self.are_concerned(to) {
            return;
        }
        let tell = |HandlerLimit { limit, callback }: &HandlerLimit<K>| {
            if is_past_another(*limit, from, to) {
                callback(key, to);
            }
        };
        self.for_each(|observer| observer.call(tell, thrown), thrown);
    }
}

/// Returns whether `to` is past a multiple of the limit that `from` is not past.
fn is_past_another(limit: usize, from: usize, to: usize) -> bool {
    let multiples = |count: usize| count.saturating_sub(1).checked_div(limit);
    multiples(to) > multiples(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_is_passed_once_on_the_way_up() {
        let passed: Vec<_> = (0..12).filter(|n| is_past_another(3, *n, n + 1)).collect();
        assert_eq!(passed, [3, 6, 9]);
        assert!(!(0..12).any(|n| is_past_another(3, n + 1, n)));
        assert!(is_past_another(3, 0, 100) && !is_past_another(3, 0, 3));
        assert!(!is_past_another(0, 0, 100), "no limit");
    }
}
