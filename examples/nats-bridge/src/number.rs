//! Numbers each message within its bridge and subject, so that those who hear it know what they
//! have missed: whatever the cause, and without asking anybody.

use std::{collections::HashMap, hash::BuildHasher, hash::RandomState};

use async_nats::{HeaderMap, HeaderName};

const NAME: &str = "Topic-Number";

/// How many bytes the header takes, which count towards what a server allows: the lines that frame
/// it, its name, and a number of 32 digits.
pub(crate) const HEADER_LEN: usize = "NATS/1.0\r\n: \r\n\r\n".len() + NAME.len() + 32;

/// How many subjects, or their senders, are remembered: those that came and went must not add up.
const LIMIT: usize = 65_536;

/// Returns the header of the subject's next message.
pub(crate) fn next(numbers: &mut HashMap<String, u128>, subject: &str) -> HeaderMap {
    if numbers.len() == LIMIT {
        numbers.clear();
    }
    // The upper half tells senders apart: the system seeds it, each time differently. So nobody
    // takes numbers that begin again for those of messages that were missed.
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
