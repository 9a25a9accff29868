//! What `compare` asks of a worker, as its only argument, and what it answers, line by line:
//! both in JSON.

use serde::{Deserialize, Serialize};

/// What a worker is to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Request {
    /// Sets ours beside the peers. Answered by [`Pair`]s.
    Rows {
        /// Only the rows whose [name](row_name) contains this.
        only: String,
        /// Also the rows that are costly to measure.
        costly: bool,
        /// Roughly, in no time.
        quick: bool,
    },
    /// Weighs ours and a peer. Answered by [`Pair`]s.
    Bytes {
        /// Only the rows whose [name](row_name) contains this.
        only: String,
        /// How many topics come and go.
        topics: u64,
    },
    /// Measures each line of a plot. Answered by [`Point`]s.
    Curve(Curve),
}

/// A plot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Curve {
    /// Nanoseconds a notification against handlers, of everybody.
    Notify,
    /// Nanoseconds of a change against handlers.
    Churn,
    /// Notifications against threads.
    Threads,
    /// Bytes a topic against handlers.
    Bytes,
}

/// Ours beside a peer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Pair {
    /// What was measured.
    pub what: String,
    /// Who the peer is.
    pub against: String,
    /// Of [`ours`](Self::ours) and [`theirs`](Self::theirs).
    pub unit: String,
    /// What the ratio must not exceed.
    pub at_most: Option<f64>,
    /// The median of ours.
    pub ours: f64,
    /// The median of the peer.
    pub theirs: f64,
    /// The median of what ours took, divided by what the peer took right before or after it.
    pub ratio: f64,
}

/// A point of a plot.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Point {
    /// The name of its line.
    pub line: String,
    /// How many handlers, or threads.
    pub at: u32,
    /// The median of what was measured.
    pub value: f64,
}

/// The name of a row, by which it can be asked for.
#[must_use]
pub fn row_name(what: &str, against: &str) -> String {
    format!("{what} | {against}")
}
