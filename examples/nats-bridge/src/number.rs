//! Numbers for the messages of each bridge and subject, so that a receiver knows how many it has
//! missed: whatever the cause, and without a request.

use std::{collections::HashMap, hash::BuildHasher, hash::RandomState};

use async_nats::{HeaderMap, HeaderName};

const NAME: &str = "Topic-Number";

/// The bytes of the header, which count towards the server's limit: the lines that frame it, its
/// name, and a number of 32 digits.
pub(crate) const HEADER_LEN: usize = "NATS/1.0\r\n: \r\n\r\n".len() + NAME.len() + 32;

/// How many subjects, or their senders, are remembered: old ones must not accumulate.
const LIMIT: usize = 65_536;

/// Returns the header of the subject's next message.
pub(crate) fn next(numbers: &mut HashMap<String, u128>, subject: &str) -> HeaderMap {
    if numbers.len() == LIMIT {
        numbers.clear();
    }
    // The upper half distinguishes senders: it is seeded randomly each time. So a sequence that
    // starts again is not mistaken for missed messages.
    let first = || u128::from(RandomState::new().hash_one(NAME)) << 64;
    let number = numbers.entry(subject.to_owned()).or_insert_with(first);
    *number += 1;
    HeaderMap::from_iter([(
        HeaderName::from_static(NAME),
        format!("{number:032x}").into(),
    )])
}

/// Returns how many messages of the same sender are missing before this one, if that is known.
pub(crate) fn missed(seen: &mut HashMap<u128, u128>, headers: Option<&HeaderMap>) -> Option<u32> {
    let number = u128::from_str_radix(headers?.get(NAME)?.as_str(), 16).ok()?;
    if seen.len() == LIMIT {
        seen.clear();
    }
    let last = seen.insert(number >> 64, number)?;
    u32::try_from(number.checked_sub(last)?.checked_sub(1)?).ok()
}
