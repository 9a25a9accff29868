//! [`escape`], and what a subject may hold.

use std::fmt::Write;

/// A server closes the connection of a client that sends a longer line than 4,096 bytes, by default.
/// The line has other parts than the subject.
const LIMIT: usize = 4000;

/// Maps text to a subject of a single token, and no two texts to the same one.
///
/// Percent-encodes the characters that a subject must not contain: percent-decoding reverses it.
/// The empty text, which is not a valid subject, becomes a single `%`.
///
/// ```
/// assert_eq!(topic_registry_nats::escape("config.reload"), "config%2Ereload");
/// ```
pub fn escape(text: &str) -> String {
    let mut subject = String::from(if text.is_empty() { "%" } else { "" });
    for c in text.chars() {
        if is_foreign(c) || ".*>%".contains(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                write!(subject, "%{byte:02X}").expect("memory");
            }
        } else {
            subject.push(c);
        }
    }
    subject
}

/// Returns what is wrong with a subject.
pub(crate) fn fault(subject: &str) -> Option<&'static str> {
    let mut tokens = subject.split('.');
    if subject.len() > LIMIT {
        Some("it is longer than 4,000 bytes")
    } else if tokens.any(|token| matches!(token, "" | "*" | ">")) {
        Some("it has an empty token or a wildcard")
    } else if subject.contains(is_foreign) {
        Some("it has white space or a control character")
    } else {
        None
    }
}

/// All white space, since the client splits lines at all of it.
fn is_foreign(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}
