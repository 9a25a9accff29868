//! A key whose destructor does anything.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use super::owned::Owned;

pub(super) struct Key {
    pub(super) number: usize,
    pub(super) owned: Option<Owned>,
}

/// A clone is for the caller's own frames: it means no harm.
impl Clone for Key {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            owned: None,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl Borrow<usize> for Key {
    fn borrow(&self) -> &usize {
        &self.number
    }
}
