//! [`Options`]: the settings of a bridge.

use async_nats::ConnectOptions;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Settings of a bridge, for [`Bridge::connect`](crate::Bridge::connect).
#[derive(Clone, Debug)]
pub struct Options<K> {
    /// The options of the client: TLS, credentials, names, timeouts, and `subscription_capacity`.
    ///
    /// `subscription_capacity` is how many messages of one subject may wait for the handlers,
    /// 65,536 by default. Messages that arrive beyond that are lost, and
    /// [counted](crate::Counts::missed).
    ///
    /// The bridge itself sets `no_echo` and `event_callback`. By default, it attempts to reconnect
    /// four times a second; if you replace the default options, it pauses for up to 4 s between
    /// attempts, unless you set `reconnect_delay_callback`. A server that hangs without closing the
    /// connection is detected after two `ping_interval`s, of 60 s by default.
    pub client: ConnectOptions,
    /// Maps keys to subjects without wildcards, and no two keys to the same one. By default, it
    /// [escapes](escape) what `to_string` returns.
    ///
    /// It is called by a task of the bridge, which ends if this function panics.
    pub subject: fn(&K) -> String,
    /// How many messages may wait for the server, 1,024 by default. Messages that are published
    /// beyond that are [dropped](crate::Remote::Dropped).
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

/// The characters that separate or match tokens of subjects, end them in the protocol, or escape.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'.').add(b'*').add(b'>').add(b'%');

/// Maps text to a subject of a single token, and no two texts to the same one.
///
/// Percent-encodes characters that a subject must not contain, and all non-ASCII ones:
/// percent-decoding reverses it. The empty text, which is not a valid subject, becomes a single
/// `%`.
///
/// ```
/// assert_eq!(topic_registry_nats::escape("config.reload"), "config%2Ereload");
/// ```
pub fn escape(text: &str) -> String {
    let empty = if text.is_empty() { "%" } else { "" };
    format!("{empty}{}", utf8_percent_encode(text, ESCAPED))
}
