//! The document that `/topics.json` answers with.
//!
//! It is there for the page, the program and scripts. Fields may be added to version 1; a reader
//! ignores those that it does not know. Numbers of the past (`grown`, `per_second`) are `null`
//! where there is nothing to compare with.

use serde::{Deserialize, Serialize};

/// The version of the document that this crate writes and reads.
pub const VERSION: u32 = 1;

/// Everything that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Document {
    /// [`VERSION`].
    pub version: u32,
    /// The file name of the program, and its process id.
    pub program: String,
    /// The id of its process.
    pub pid: u32,
    /// When the numbers were taken, in milliseconds since 1970.
    pub taken: u64,
    /// What `grown` compares with: the numbers that were taken then. `null` unless `since` was
    /// asked for.
    pub since: Option<u64>,
    /// All that is watched, in the order in which it was added.
    pub registries: Vec<Registry>,
    /// Where handlers come from, the place with the most handlers first: of all topics of the
    /// registries asked for, whatever the filter. At most 100.
    pub places: Vec<Group>,
    /// How many places there are.
    pub places_found: usize,
    /// How many topics there are in the registries asked for, by what is wrong with them.
    pub counts: Counts,
    /// How many topics the filter has found.
    pub found: usize,
    /// Of these, the topics from `offset` on, at most `limit`.
    pub topics: Vec<Topic>,
    /// The topics asked for by `open`, with their handlers, whatever the filter.
    pub open: Vec<OpenTopic>,
    /// The last panics and slow calls that [`Reports`](crate::Reports) were told of, the newest
    /// first.
    pub reports: Vec<Report>,
}

/// Something that is watched.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Registry {
    /// The name that it is watched under.
    pub name: String,
    /// Whether it can be read. The numbers of what cannot are 0.
    pub state: State,
    /// The number of topics.
    pub topics: usize,
    /// The number of handles, and of what else keeps topics.
    pub handles: usize,
    /// The number of panics since it exists.
    pub panics: u64,
    /// Its handlers.
    #[serde(flatten)]
    pub sum: Sum,
}

/// Whether a registry can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It is in use.
    Live,
    /// The program has dropped it.
    Dropped,
    /// The `Clone`, `Hash` or `Eq` of one of its keys panics.
    Unreadable,
}

/// How many topics the page offers to look at.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// All topics.
    pub all: usize,
    /// Topics without a handler that would be called.
    pub unheard: usize,
    /// Topics with more handlers than before.
    pub grown: usize,
    /// Topics with panics.
    pub panicked: usize,
}

/// A topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Topic {
    /// What `open` takes: the same for the same key, as long as the program runs.
    pub id: String,
    /// The name of its registry.
    pub registry: String,
    /// Its key, shortened to some hundred characters. Untrusted text.
    pub key: String,
    /// The number of handles, and of what else keeps the topic.
    pub handles: usize,
    /// The number of panics since it exists.
    pub panics: u64,
    /// Whether a notification would call no handler: there is none, or all are paused.
    pub unheard: bool,
    /// Its handlers.
    #[serde(flatten)]
    pub sum: Sum,
}

/// A topic with its handlers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenTopic {
    /// Its id, as it was asked for.
    pub id: String,
    /// Whether there still is such a topic. If not, it has no groups.
    pub exists: bool,
    /// Its handlers by place or name, the largest group first. At most 100.
    pub groups: Vec<Group>,
    /// How many groups there are.
    pub groups_found: usize,
}

/// Handlers that were registered by the same line of code, or have the same name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// Where they were registered: `src/main.rs:12:5`. `null` if handlers of that name come from
    /// several places.
    pub place: Option<String>,
    /// Their name, unless they have none, or several. Untrusted text.
    pub name: Option<String>,
    /// The number of topics that they are in.
    pub topics: usize,
    /// The lowest of their priorities.
    pub lowest_priority: i32,
    /// The highest of their priorities.
    pub highest_priority: i32,
    /// The handlers.
    #[serde(flatten)]
    pub sum: Sum,
}

/// Numbers of handlers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sum {
    /// How many there are.
    pub handlers: usize,
    /// How many of them are paused.
    pub paused: usize,
    /// How many more there are than at `since`. `null` for groups of a topic.
    pub grown: Option<i64>,
    /// `null` if calls are not counted: that takes topics of a builder with `count_calls`.
    pub calls: Option<Calls>,
}

/// Calls of handlers that are registered now.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calls {
    /// How many there were.
    pub count: u64,
    /// How many there were lately, for each second. `null` if nobody has looked in the last ten
    /// seconds.
    pub per_second: Option<f64>,
    /// The mean time of a call, in nanoseconds. `null` without calls.
    pub mean_nanos: Option<u64>,
    /// The longest time of a call, in nanoseconds.
    pub longest_nanos: u64,
}

/// A panic, or a slow call. The same one again is one report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Which of the two.
    pub kind: Kind,
    /// The name that the reports are shown under.
    pub registry: String,
    /// The key of the topic. Untrusted text.
    pub key: String,
    /// Where the handler was registered.
    pub place: String,
    /// The name of the handler.
    pub name: Option<String>,
    /// What the panic said last; `null` for a slow call. Untrusted text.
    pub message: Option<String>,
    /// The time of the slowest of the calls, in nanoseconds; `null` for a panic.
    pub nanos: Option<u64>,
    /// How often it was reported.
    pub times: u64,
    /// When it was reported last, in milliseconds since 1970.
    pub last: u64,
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A panic.
    Panic,
    /// A slow call.
    SlowCall,
}

/// What is said instead if there is an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// [`VERSION`].
    pub version: u32,
    /// What is wrong.
    pub error: String,
}
