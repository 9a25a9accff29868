//! [`Sample`]: what all registries said of themselves at one moment, and what has changed since the
//! sample before.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::json::State;
use crate::watched::{ReadCalls, ReadHandler, ReadTopic, Source, Unread};

/// The longest text that is shown.
const SHOWN: usize = 300;

pub(crate) struct Sample {
    /// Milliseconds since 1970. Later samples have higher ones.
    pub(crate) taken: u64,
    pub(crate) registries: Vec<RegistrySample>,
    at: Instant,
    /// The time since the sample before, if there was one.
    pub(crate) gap: Option<Duration>,
}

pub(crate) struct RegistrySample {
    pub(crate) state: State,
    pub(crate) panics: u64,
    /// Sorted by key, of which there are no two.
    pub(crate) topics: Vec<TopicSample>,
}

pub(crate) struct TopicSample {
    pub(crate) id: u64,
    pub(crate) key: String,
    pub(crate) handles: usize,
    pub(crate) panics: u64,
    /// Sorted by id.
    pub(crate) handlers: Vec<ReadHandler>,
    pub(crate) tally: Tally,
}

/// A sum over handlers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) handlers: usize,
    pub(crate) paused: usize,
    /// `None` if none of them counts its calls.
    pub(crate) calls: Option<ReadCalls>,
    pub(crate) fresh: u64,
}

/// What groups have in common: where their handlers were registered, or their name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum GroupKey {
    Place(&'static str, u32, u32),
    Name(Arc<str>),
}

/// How handlers are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum By {
    Place,
    /// Those without a name by their place.
    Name,
}

/// The numbers of handlers at a moment that later samples are compared with.
pub(crate) struct Base {
    pub(crate) taken: u64,
    pub(crate) registries: Vec<RegistryBase>,
}

pub(crate) struct RegistryBase {
    pub(crate) handlers: usize,
    /// By id: their keys may be large, and this is kept for long.
    pub(crate) topics: HashMap<u64, usize>,
    /// By name, a place has only its handlers without a name.
    pub(crate) groups: HashMap<(By, GroupKey), usize>,
}

impl Sample {
    /// Reads all sources, which runs code of the program.
    pub(crate) fn take<'a>(
        sources: impl Iterator<Item = &'a Source>,
        before: Option<&Self>,
    ) -> Self {
        let before_of = |at: usize| before.map(|before| &before.registries[at]);
        let read = |(at, source)| RegistrySample::read(source, before_of(at));
        let registries: Vec<_> = sources.enumerate().map(read).collect();
        let at = Instant::now();
        // The clock of the system may have been set back.
        let least = before.map_or(0, |before| before.taken + 1);
        Self {
            taken: millis_since_1970(SystemTime::now()).max(least),
            registries,
            at,
            gap: before.map(|before| at - before.at),
        }
    }

    pub(crate) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

impl RegistrySample {
    /// Reads a source, and counts the calls since an earlier sample of it.
    fn read(source: &Source, before: Option<&Self>) -> Self {
        let before = before.iter().flat_map(|before| &before.topics);
        let before: HashMap<_, _> = before.map(|topic| (topic.id, &*topic.handlers)).collect();
        let mut topics = Vec::new();
        let outcome = source.read(&mut |topic| topics.push(TopicSample::new(topic, &before)));
        let (state, panics) = match outcome {
            Ok(panics) => (State::Live, panics),
            Err(Unread::Gone) => (State::Dropped, 0),
            Err(Unread::Panicked) => (State::Unreadable, 0),
        };
        if state != State::Live {
            topics.clear();
        }
        topics.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        topics.dedup_by(|next, kept| next.key == kept.key && kept.absorb(next));
        Self {
            state,
            panics,
            topics,
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.topics.iter().map(|topic| topic.tally).sum()
    }
}

impl TopicSample {
    fn new(read: ReadTopic, before: &HashMap<u64, &[ReadHandler]>) -> Self {
        let mut hasher = DefaultHasher::new();
        read.key.hash(&mut hasher);
        let id = hasher.finish();
        let mut handlers = read.handlers;
        handlers.sort_unstable_by_key(|handler| handler.id);
        compare(&mut handlers, before.get(&id).copied().unwrap_or_default());
        Self {
            id,
            key: read.key,
            handles: read.handles,
            panics: read.panics,
            tally: handlers.iter().map(Tally::of).sum(),
            handlers,
        }
    }

    /// Adds another topic that is shown as the same text. Returns true.
    fn absorb(&mut self, other: &mut Self) -> bool {
        self.handles += other.handles;
        self.panics += other.panics;
        self.tally.add(other.tally);
        self.handlers.append(&mut other.handlers);
        self.handlers.sort_unstable_by_key(|handler| handler.id);
        true
    }
}

/// Counts the calls since an earlier list: of handlers that are not in it, all. Both are sorted.
fn compare(handlers: &mut [ReadHandler], before: &[ReadHandler]) {
    let mut earlier = before.iter().peekable();
    for handler in handlers {
        while earlier.next_if(|earlier| earlier.id < handler.id).is_some() {}
        let same = earlier.next_if(|earlier| earlier.id == handler.id);
        let count = |handler: &ReadHandler| handler.calls.map_or(0, |calls| calls.count);
        handler.fresh = count(handler).saturating_sub(same.map_or(0, count));
    }
}

impl ReadHandler {
    pub(crate) fn group(&self, by: By) -> GroupKey {
        match &self.name {
            Some(name) if by == By::Name => GroupKey::Name(Arc::clone(name)),
            _ => GroupKey::Place(self.place.file(), self.place.line(), self.place.column()),
        }
    }

    /// Whether it is in the group of another one, as far as can be told at once.
    pub(crate) fn is_beside(&self, other: &Self, by: By) -> bool {
        let is_one_name = match (&self.name, &other.name) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        ptr::eq(self.place, other.place) && (is_one_name || by == By::Place)
    }
}

impl Tally {
    pub(crate) fn of(handler: &ReadHandler) -> Self {
        Self {
            handlers: 1,
            paused: usize::from(handler.paused),
            calls: handler.calls,
            fresh: handler.fresh,
        }
    }

    /// Whether a notification would call none of them.
    pub(crate) fn is_unheard(&self) -> bool {
        self.handlers == self.paused
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.handlers += other.handlers;
        self.paused += other.paused;
        self.fresh += other.fresh;
        let Some(more) = other.calls else { return };
        let calls = self.calls.get_or_insert_default();
        calls.count += more.count;
        calls.total = calls.total.saturating_add(more.total);
        calls.longest = calls.longest.max(more.longest);
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum.add(tally);
            sum
        })
    }
}

impl GroupKey {
    /// What `place=` selects it by.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Place(file, line, column) => format!("{file}:{line}:{column}"),
            Self::Name(name) => cut(name),
        }
    }
}

impl Base {
    pub(crate) fn new(sample: &Sample) -> Self {
        Self {
            taken: sample.taken,
            registries: sample.registries.iter().map(RegistryBase::new).collect(),
        }
    }
}

impl RegistryBase {
    fn new(registry: &RegistrySample) -> Self {
        let topics = registry.topics.iter();
        let mut groups = HashMap::new();
        for handler in topics.clone().flat_map(|topic| &topic.handlers) {
            for by in [By::Place, By::Name] {
                *groups.entry((by, handler.group(by))).or_default() += 1;
            }
        }
        Self {
            handlers: registry.tally().handlers,
            topics: topics.map(|topic| (topic.id, topic.handlers.len())).collect(),
            groups,
        }
    }
}

/// Shortens text that may be of any length.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(crate) fn place_text(place: &Location<'_>) -> String {
    format!("{}:{}:{}", place.file(), place.line(), place.column())
}

pub(crate) fn millis_since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
