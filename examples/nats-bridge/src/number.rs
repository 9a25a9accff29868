//! Numbers for the messages of each bridge and subject, so that a receiver knows how many it has
//! missed: whatever the cause, and without a request.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::mem;

use async_nats::{HeaderMap, Message};

const NAME: &str = "Topic-Number";

/// The bytes of the header, which count towards the server's limit: the lines that frame it, its
/// name, and a number of 32 digits.
pub(crate) const HEADER_LEN: usize = "NATS/1.0\r\n: \r\n\r\n".len() + NAME.len() + 32;

/// How many of the keys that were used last are remembered at least; twice as many at most.
const LIMIT: usize = 65_536;

/// The last numbers of subjects, or of their senders: of those used lately, and of older ones. What
/// was not used for long is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Numbers<K>(HashMap<K, Option<u128>>, HashMap<K, Option<u128>>);

impl<K: Hash + Eq> Numbers<K> {
    /// Returns the last number of a key: `None` if it is not known.
    pub(crate) fn last(&mut self, key: K) -> &mut Option<u128> {
        let known = self.0.remove(&key).or_else(|| self.1.remove(&key)).flatten();
        if self.0.len() == LIMIT {
            self.1 = mem::take(&mut self.0);
        }
        self.0.entry(key).or_insert(known)
    }
}

/// Returns the number after the last one, and its header.
pub(crate) fn next(last: Option<u128>) -> (u128, HeaderMap) {
    // The upper half distinguishes senders: it is seeded randomly each time. So a sequence that
    // starts again is not mistaken for missed messages.
    let first = || u128::from(RandomState::new().hash_one(NAME)) << 64;
    let number = last.unwrap_or_else(first) + 1;
    let mut header = HeaderMap::new();
    header.insert(NAME, format!("{number:032x}"));
    (number, header)
}

/// Returns how many messages of the same sender are missing before this one, if that is known.
pub(crate) fn missed(
    seen: &mut Numbers<(u64, u128)>,
    subscription: u64,
    message: &Message,
) -> Option<u32> {
    let number = message.headers.as_ref()?.get(NAME)?;
    let number = u128::from_str_radix(number.as_str(), 16).ok()?;
    let last = seen.last((subscription, number >> 64)).replace(number)?;
    let gap = number.checked_sub(last)?.checked_sub(1)?;
    Some(u32::try_from(gap).unwrap_or(u32::MAX))
}
