//! Tells of topics that gather more handlers than they should.

use crate::callback::CallbackCell;
use crate::panic::Payload;
use crate::primitive::atomic::{AtomicUsize, Ordering};

/// A limit, and what is called when a topic has grown past a multiple of it.
pub(crate) type LimitCallback<K> = (usize, Box<dyn Fn(&K, usize) + Send + Sync>);

pub(crate) struct HandlerLimit<K> {
    // The limit, once more, so that topics that nobody watches take no lock in common; 0 if
    // there is none. It is set under the callback's lock, so that the two stay together. Relaxed:
    // who is told in the end follows that lock.
    limit: AtomicUsize,
    callback: CallbackCell<LimitCallback<K>>,
}

impl<K> HandlerLimit<K> {
    pub(crate) fn new() -> Self {
        Self {
            limit: AtomicUsize::new(0),
            callback: CallbackCell::new(),
        }
    }

    /// Replaces the callback; returns what the destructor of the old one threw.
    pub(crate) fn set(&self, callback: Option<LimitCallback<K>>) -> Result<(), Payload> {
        let limit = callback.as_ref().map_or(0, |(limit, _)| *limit);
        let store = || self.limit.store(limit, Ordering::Relaxed);
        self.callback.set_with(callback, store)
    }

    /// Whether a topic is crowded, and was not, that went from so many handlers to so many.
    pub(crate) fn is_past(&self, from: usize, to: usize) -> bool {
        is_past_another(self.limit.load(Ordering::Relaxed), from, to)
    }

    /// Tells of such a topic; returns what the callback threw.
    pub(crate) fn tell(&self, key: &K, from: usize, to: usize) -> Vec<Payload> {
        self.callback.call(|(limit, callback)| {
            // The limit may have been replaced meanwhile.
            if is_past_another(*limit, from, to) {
                callback(key, to);
            }
        })
    }
}

/// Whether there is a multiple of the limit that `to` is past and `from` is not.
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
