//! [`HandlerId`]: identifies one registration, and knows its place in the order. [`HandlerInfo`]:
//! its description in listings and reports, with the [`Calls`] that it had.

use std::cmp::Reverse;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::primitive::Serials;
use crate::snapshot::list::Rank;

/// The identity of one registration.
///
/// Unique in the process: no other registry, topic or flavor ever returns an equal id, so an id
/// given to the wrong registry matches nothing there. Ids are ordered by registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// 12 bytes instead of 16: every handler has an id, and its flags fit behind it.
#[repr(C, packed(4))]
pub struct HandlerId {
    serial: u64,
    // Part of the id so that a list ordered by priority can be searched by id.
    priority: i32,
}

/// A registered handler, as [`Registry::handlers`](crate::Registry::handlers) lists it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HandlerInfo {
    /// Its id, for [`unregister`](crate::Registry::unregister) and
    /// [`guard`](crate::Registry::guard).
    pub id: HandlerId,
    /// Its priority: handlers with a higher one run first.
    pub priority: i32,
    /// The caller of the `register` method.
    pub registered_at: &'static Location<'static>,
    /// Whether it is [paused](crate::Registry::pause).
    pub paused: bool,
    /// The [name](crate::RegisterOptions::name) that it was given.
    pub name: Option<Arc<str>>,
    /// Its calls, if they are [counted](crate::TopicsBuilder::count_calls).
    pub calls: Option<Calls>,
}

/// The calls of a handler since it was registered, as
/// [`count_calls`](crate::TopicsBuilder::count_calls) counts them.
///
/// Beside calls that end meanwhile, `total` includes `longest`, and `count` the calls of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Calls {
    /// How many calls there were. A call is counted when it has ended, or if it is async, when it
    /// is pending for the first time.
    pub count: u64,
    /// The time that all of them took together.
    pub total: Duration,
    /// The longest time that one of them took; of an async handler, one of its polls.
    pub longest: Duration,
}

impl HandlerId {
    /// Returns the id as a number that is unique in the process.
    ///
    /// ```
    /// use topic_registry::SyncRegistry;
    ///
    /// let saves = SyncRegistry::<str>::new();
    /// let id = saves.register_with_priority(5, |path| println!("{path} was saved"));
    /// assert_eq!(id.as_u64().to_string(), id.to_string());
    /// assert_eq!(id.priority(), 5);
    /// ```
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.serial
    }

    /// Returns the priority of the handler.
    #[must_use]
    pub fn priority(self) -> i32 {
        self.priority
    }

    pub(crate) fn next(priority: i32) -> Self {
        static SERIALS: Serials = Serials::new();
        Self {
            serial: SERIALS.next(),
            priority,
        }
    }

    pub(crate) fn rank(self) -> Rank {
        (Reverse(self.priority), self.serial)
    }
}

/// The number that [`HandlerId::as_u64`] returns.
impl fmt::Display for HandlerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_u64().fmt(f)
    }
}

impl fmt::Debug for HandlerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerId({})", self.as_u64())
    }
}
