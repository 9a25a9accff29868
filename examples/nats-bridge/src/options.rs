//! [`Options`]: the settings of a bridge.

use async_nats::ConnectOptions;

use crate::escape;

/// Settings of a bridge, for [`Bridge::connect`](crate::Bridge::connect).
#[derive(Clone, Debug)]
pub struct Options<K> {
    /// The options of the client: TLS, credentials, names, timeouts.
    ///
    /// The bridge itself sets `no_echo`, `event_callback` and `reconnect_delay_callback`: it
    /// attempts to connect at most four times a second, and at once if the last attempt is longer
    /// ago. A server that hangs without closing the connection is detected after two
    /// `ping_interval`s, of 60 s by default. After `max_reconnects`, the bridge is of no use.
    pub client: ConnectOptions,
    /// Maps keys to [subjects](escape), and no two keys to the same one. By default, it
    /// escapes what `to_string` returns.
    ///
    /// A subject has up to 4,000 bytes, and no wildcards, empty tokens, white space or control
    /// characters. Others are [refused](crate::Event::Refused), as is the subject of another topic.
    pub subject: fn(&K) -> String,
    /// How many messages may wait for the server, 1,024 by default. Messages that are published
    /// beyond that are [dropped](crate::Remote::Dropped).
    pub queue_capacity: usize,
    /// How many bytes of messages may wait for the handlers, 64 MiB by default. For each message,
    /// they include its subject, its headers, and 512 bytes for itself. Messages that arrive beyond
    /// that are discarded, and [counted](crate::Counts::missed).
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
