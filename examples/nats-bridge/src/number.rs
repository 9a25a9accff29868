//! Numbers for the messages of each bridge and subject, so that a receiver knows how many it has
//! missed: whatever the cause, and without a request.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;

use async_nats::{HeaderMap, Message};
use lru::LruCache;

const NAME: &str = "Topic-Number";

/// The bytes of the header, which count towards the server's limit: the lines that frame it, its
/// name, and a number of 32 digits.
pub(crate) const HEADER_LEN: usize = "NATS/1.0\r\n: \r\n\r\n".len() + NAME.len() + 32;

/// How many of the last numbers are remembered: those that were used last.
pub(crate) const LIMIT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// The last numbers, by subscription and sender.
pub(crate) type Seen = LruCache<(u64, u128), u128>;

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
pub(crate) fn missed(seen: &mut Seen, subscription: u64, message: &Message) -> Option<u32> {
    let number = message.headers.as_ref()?.get(NAME)?;
    let number = u128::from_str_radix(number.as_str(), 16).ok()?;
    let last = seen.put((subscription, number >> 64), number)?;
    let gap = number.checked_sub(last)?.checked_sub(1)?;
    Some(u32::try_from(gap).unwrap_or(u32::MAX))
}
