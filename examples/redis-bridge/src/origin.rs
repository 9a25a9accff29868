//! [`Origin`]: by what a bridge recognises its own messages, when Redis sends them back.

use std::hash::{BuildHasher, RandomState};
use std::{process, str};

/// Names a bridge, as no other is named. It stands before each of its messages, and a space.
#[derive(Debug)]
pub(crate) struct Origin(String);

impl Default for Origin {
    fn default() -> Self {
        // The state is seeded by the system, and anew in each process.
        let number = RandomState::new().hash_one(process::id());
        Self(format!("{number:016x}"))
    }
}

impl Origin {
    /// The channel on which this bridge alone hears, and nobody else speaks.
    pub(crate) fn pulse(&self) -> String {
        format!("redis-bridge.pulse.{}", self.0)
    }

    /// A message as it is sent.
    pub(crate) fn seal(&self, message: &str) -> String {
        format!("{} {message}", self.0)
    }

    /// The message that was sent, if another bridge sent it.
    pub(crate) fn open<'p>(&self, payload: &'p [u8]) -> Option<&'p str> {
        let (origin, message) = str::from_utf8(payload).ok()?.split_once(' ')?;
        let is_origin =
            origin.len() == self.0.len() && origin.bytes().all(|b| b.is_ascii_hexdigit());
        (is_origin && origin != self.0).then_some(message)
    }
}
