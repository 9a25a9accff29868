//! [`Options`]: the settings of a bridge, and [`escape`]: what a subject may hold.

use async_nats::ConnectOptions;
use percent_encoding::{NON_ALPHANUMERIC as ALL, utf8_percent_encode as encode};

/// Settings of a bridge, for [`Bridge::connect`](crate::Bridge::connect).
#[derive(Clone, Debug)]
pub struct Options<K> {
    /// The options of the client: TLS, credentials, names, timeouts.
    ///
    /// The bridge itself sets `no_echo`, `event_callback` and `reconnect_delay_callback`: it waits
    /// for a quarter of a second before each attempt but the first. A server that hangs without
    /// closing the connection is detected after two
    /// `ping_interval`s, of 60 s by default. After `max_reconnects`, the bridge is of no use.
    pub client: ConnectOptions,
    /// Maps keys to [subjects](escape), and no two keys to the same one. By default, it
    /// escapes what `to_string` returns.
    ///
    /// A subject has up to 4,000 bytes, and no wildcards, empty tokens, white space or control
    /// characters. Others are [refused](crate::Event::Refused), as is the subject of another topic.
    pub subject: fn(&K) -> String,
    /// How many messages may wait for the server, 1,024 by default. Messages that are published
    /// beyond that are [dropped](crate::Remote::Dropped). They wait while the connection is down,
    /// and for the answer to [`settled`](crate::Bridge::settled).
    pub queue_capacity: usize,
    /// How many bytes of messages may wait for the handlers, 64 MiB by default. For each message,
    /// they include its subject, its headers, and 512 bytes for itself. Messages that arrive beyond
    /// that are discarded, and [counted](crate::Counts::missed), as is one that alone is larger.
    ///
    /// Some more megabytes are in the client's buffers: `subscription_capacity` is how many
    /// messages of one subject it buffers.
    pub inbox_bytes: usize,
}

impl<K: ToString> Default for Options<K> {
    fn default() -> Self {
        Self {
            client: ConnectOptions::new(),
            subject: |key| escape(&key.to_string()),
            queue_capacity: 1024,
            inbox_bytes: 64 << 20,
        }
    }
}

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
            subject.extend(encode(c.encode_utf8(&mut [0; 4]), ALL));
        } else {
            subject.push(c);
        }
    }
    subject
}

/// Returns what is wrong with a subject.
pub(crate) fn fault(subject: &str) -> Option<&'static str> {
    let is_token = |text: &str| !matches!(text, "" | "*" | ">") && !text.contains(is_foreign);
    let is_valid = subject.split('.').all(is_token);
    // By default, a server hangs up on lines of more than 4,096 bytes, of which some are not for
    // the subject.
    let is_long = (subject.len() > 4000).then_some("it is longer than 4,000 bytes");
    let wrong = "it has an empty token, a wildcard, white space or a control character";
    is_long.or((!is_valid).then_some(wrong))
}

/// All white space, since the client splits lines at all of it.
fn is_foreign(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}
