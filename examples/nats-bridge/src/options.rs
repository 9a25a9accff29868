//! [`Options`]: what can be set for a bridge.

use async_nats::ConnectOptions;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Settings of a bridge, for [`Bridge::connect`](crate::Bridge::connect).
#[derive(Clone, Debug)]
pub struct Options<K> {
    /// The options of the client: TLS, credentials, names, timeouts, and `subscription_capacity`.
    ///
    /// So many messages of one subject may wait for the handlers, 65,536 by default. Those that come
    /// while so many wait are lost, and [counted](crate::Counts::missed).
    ///
    /// The bridge itself sets `no_echo` and `event_callback`. By default it attempts to reconnect
    /// four times a second; options that replace these pause for up to 4 s, unless they set
    /// `reconnect_delay_callback`. A server that hangs without closing the connection is noticed
    /// after two `ping_interval`s, of 60 s by default.
    pub client: ConnectOptions,
    /// Maps keys to subjects without wildcards, no two keys to the same one. By default it
    /// [escapes](escape) what `to_string` returns.
    ///
    /// It is called by a task of the bridge, which ends if it panics.
    pub subject: fn(&K) -> String,
    /// How many messages may wait for the server, 1,024 by default. Those that are published
    /// while so many wait are [dropped](crate::Remote::Dropped).
    pub queue_capacity: usize,
}

impl<K: ToString> Default for Options<K> {
    fn default() -> Self {
        // The first attempt of each connection does not wait.
        let delay = |attempt| std::time::Duration::from_millis(if attempt > 1 { 250 } else { 0 });
        Self {
            client: ConnectOptions::new().reconnect_delay_callback(delay),
            subject: |key| escape(&key.to_string()),
            queue_capacity: 1024,
        }
    }
}

/// What separates or matches the tokens of subjects, what ends them in the protocol, and what escapes.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'.').add(b'*').add(b'>').add(b'%');

/// Maps text to a subject of a single token, and no two texts to the same one.
///
/// Percent-encodes what a subject may not hold, and all that is not ASCII: percent-decoding
/// reverses it. The empty text, which would be no subject, becomes a single `%`.
///
/// ```
/// assert_eq!(topic_registry_nats::escape("config.reload"), "config%2Ereload");
/// ```
pub fn escape(text: &str) -> String {
    let empty = if text.is_empty() { "%" } else { "" };
    format!("{empty}{}", utf8_percent_encode(text, ESCAPED))
}
