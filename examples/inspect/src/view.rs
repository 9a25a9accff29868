//! Makes the [`Document`] that a query asks for, out of a sample.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::env;
use std::ffi::OsStr;
use std::process;
use std::sync::LazyLock;
use std::time::Duration;

use crate::json::{
    Calls, Counts, Document, Group, OpenTopic, Registry, Report, Sum, Topic, VERSION,
};
use crate::query::{Query, Show, Sort};
use crate::sample::{
    Base, By, GroupKey, RegistryBase, RegistrySample, Sample, Tally, TopicSample, cut,
};
use crate::watched::ReadHandler;

/// How many groups are listed at most.
const MOST_GROUPS: usize = 100;

/// The file name of this program.
static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let path = env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name());
    cut(&name.unwrap_or(OsStr::new("a program")).to_string_lossy())
});

/// A sample, what it is compared with, and what the registries are called.
pub(crate) struct View<'a> {
    pub(crate) sample: &'a Sample,
    pub(crate) base: Option<&'a Base>,
    pub(crate) names: &'a [String],
}

/// A registry of a view.
#[derive(Clone, Copy)]
struct Part<'a> {
    name: &'a str,
    now: &'a RegistrySample,
    base: Option<&'a RegistryBase>,
    gap: Option<Duration>,
}

/// A topic of a view.
#[derive(Clone, Copy)]
struct Row<'a> {
    part: Part<'a>,
    at: usize,
    topic: &'a TopicSample,
    grown: Option<i64>,
}

impl<'a> View<'a> {
    pub(crate) fn document(&self, query: &Query, reports: Vec<Report>) -> Document {
        let asked = |part: &Part<'_>| query.registry.as_ref().is_none_or(|name| name == part.name);
        let all: Vec<_> = self.parts().enumerate().collect();
        let parts: Vec<_> = all.iter().filter(|(_, part)| asked(part)).copied().collect();
        let handlers = parts.iter().flat_map(|(at, part)| handlers_of(*at, part.now));
        let places = Groups::collect(handlers, query.by);
        let rows: Vec<_> = parts.iter().flat_map(|(at, part)| part.rows(*at)).collect();
        let open = query.open.iter().map(|id| self.open(*id, query.by)).collect();
        let mut found = select(&rows, query, &places);
        let count = found.len();
        let topics = page(&mut found, query).iter().map(Row::describe).collect();
        let base = |key: &GroupKey| {
            let key = (query.by, key.clone());
            let bases = parts.iter().map(|(_, part)| part.base);
            let counts = bases.map(|base| Some(base?.groups.get(&key).copied().unwrap_or(0)));
            counts.sum()
        };
        Document {
            version: VERSION,
            program: PROGRAM.clone(),
            pid: process::id(),
            taken: self.sample.taken,
            since: self.base.map(|base| base.taken),
            registries: all.iter().map(|(_, part)| part.describe()).collect(),
            places_found: places.all.len(),
            places: places.describe(self.sample.gap, base),
            counts: count_rows(&rows),
            found: count,
            topics,
            open,
            reports,
        }
    }

    fn parts(&self) -> impl Iterator<Item = Part<'a>> {
        let (base, gap) = (self.base, self.sample.gap);
        let parts = self.names.iter().zip(&self.sample.registries).enumerate();
        parts.map(move |(at, (name, now))| Part {
            name,
            now,
            base: base.map(|base| &base.registries[at]),
            gap,
        })
    }

    fn open(&self, id: u64, by: By) -> OpenTopic {
        let registries = self.sample.registries.iter().enumerate();
        let mut topics = registries.flat_map(|(at, now)| now.topics.iter().map(move |it| (at, it)));
        let topic = topics.find(|(at, topic)| id_of(*at, topic) == id).map(|(_, topic)| topic);
        let handlers = topic.iter().flat_map(|topic| &topic.handlers);
        let groups = Groups::collect(handlers.map(|handler| (0, handler)), by);
        OpenTopic {
            id: id_text(id),
            exists: topic.is_some(),
            groups_found: groups.all.len(),
            groups: groups.describe(self.sample.gap, |_| None),
        }
    }
}

impl<'a> Part<'a> {
    /// Its topics, each with its growth.
    fn rows(self, at: usize) -> impl Iterator<Item = Row<'a>> {
        self.now.topics.iter().map(move |topic| {
            let grown = self.base.map(|base| {
                let before = base.topics.get(&topic.id).copied().unwrap_or(0);
                growth(topic.handlers.len(), before)
            });
            Row {
                part: self,
                at,
                topic,
                grown,
            }
        })
    }

    fn describe(&self) -> Registry {
        let tally = self.now.tally();
        let grown = self.base.map(|base| growth(tally.handlers, base.handlers));
        Registry {
            name: self.name.to_owned(),
            state: self.now.state,
            topics: self.now.topics.len(),
            handles: self.now.topics.iter().map(|topic| topic.handles).sum(),
            panics: self.now.panics,
            sum: sum(&tally, grown, self.gap),
        }
    }
}

impl Row<'_> {
    fn is_shown(&self, show: Show) -> bool {
        match show {
            Show::All => true,
            Show::Unheard => self.topic.tally.is_unheard(),
            Show::Grown => self.grown.is_some_and(|grown| grown > 0),
            Show::Panicked => self.topic.panics > 0,
        }
    }

    /// What it is sorted by.
    fn rank(&self, sort: Sort) -> i128 {
        let TopicSample { tally, .. } = self.topic;
        let calls = tally.calls.unwrap_or_default();
        match sort {
            Sort::Handlers => tally.handlers as i128,
            Sort::Grown => self.grown.unwrap_or(0).into(),
            Sort::PerSecond => tally.fresh.into(),
            Sort::Calls => calls.count.into(),
            Sort::Mean => calls.total.checked_div(calls.count).map_or(-1, i128::from),
            Sort::Longest => calls.longest.into(),
            Sort::Panics => self.topic.panics.into(),
            Sort::Handles => self.topic.handles as i128,
            Sort::Key => 0,
        }
    }

    fn describe(&self) -> Topic {
        Topic {
            id: id_text(id_of(self.at, self.topic)),
            registry: self.part.name.to_owned(),
            key: cut(&self.topic.key),
            handles: self.topic.handles,
            panics: self.topic.panics,
            unheard: self.topic.tally.is_unheard(),
            sum: sum(&self.topic.tally, self.grown, self.part.gap),
        }
    }
}

/// Returns the topics that a query asks for, in no order.
fn select<'a>(rows: &[Row<'a>], query: &Query, places: &Groups<'_>) -> Vec<Row<'a>> {
    let place = query.place.as_ref().map(|text| places.find(text));
    let found = rows.iter().filter(|row| {
        row.is_shown(query.show)
            && contains(&row.topic.key, &query.filter)
            && place.as_ref().is_none_or(|place| {
                let is_there =
                    |handler: &ReadHandler| Some(&handler.group(query.by)) == place.as_ref();
                row.topic.handlers.iter().any(is_there)
            })
    });
    found.copied().collect()
}

/// Whether text contains other text that is in lower case.
fn contains(text: &str, lower: &str) -> bool {
    lower.is_empty() || text.to_lowercase().contains(lower)
}

/// Sorts as much as is needed of the topics, and returns those of the page.
fn page<'a, 'b>(rows: &'b mut [Row<'a>], query: &Query) -> &'b [Row<'a>] {
    let start = query.offset.min(rows.len());
    let end = start.saturating_add(query.limit).min(rows.len());
    let order = |one: &Row<'_>, other: &Row<'_>| {
        let ranks = one.rank(query.sort).cmp(&other.rank(query.sort));
        let keys = (&one.topic.key, one.at).cmp(&(&other.topic.key, other.at));
        match (query.sort, query.is_descending) {
            (Sort::Key, true) => keys.reverse(),
            (_, true) => ranks.reverse().then(keys),
            (_, false) => ranks.then(keys),
        }
    };
    if end < rows.len() {
        rows.select_nth_unstable_by(end, order);
    }
    rows[..end].sort_unstable_by(order);
    &rows[start..end]
}

fn count_rows(rows: &[Row<'_>]) -> Counts {
    let count = |show| rows.iter().filter(|row| row.is_shown(show)).count();
    Counts {
        all: rows.len(),
        unheard: count(Show::Unheard),
        grown: count(Show::Grown),
        panicked: count(Show::Panicked),
    }
}

/// Handlers by place or name.
struct Groups<'a> {
    all: Vec<Grouped<'a>>,
    by_key: HashMap<GroupKey, usize>,
    by: By,
}

struct Grouped<'a> {
    key: GroupKey,
    first: &'a ReadHandler,
    /// Whether all have the place of the first one, and its name.
    is_one_place: bool,
    is_one_name: bool,
    topics: usize,
    last_topic: usize,
    priorities: (i32, i32),
    tally: Tally,
}

/// The handlers of a registry, each with a number of its topic.
fn handlers_of(
    at: usize,
    registry: &RegistrySample,
) -> impl Iterator<Item = (usize, &ReadHandler)> {
    let topics = registry.topics.iter();
    topics.flat_map(move |topic| {
        let number = std::ptr::from_ref(topic).addr() ^ at;
        topic.handlers.iter().map(move |handler| (number, handler))
    })
}

impl<'a> Groups<'a> {
    fn collect(handlers: impl Iterator<Item = (usize, &'a ReadHandler)>, by: By) -> Self {
        let (all, by_key) = (Vec::new(), HashMap::new());
        let mut groups = Self { all, by_key, by };
        // Neighbours are mostly of one group.
        let mut last: Option<(&ReadHandler, usize)> = None;
        for (topic, handler) in handlers {
            let beside = last.filter(|(last, _)| handler.is_beside(last, by));
            let at = beside.map_or_else(|| groups.at(handler), |(_, at)| at);
            groups.all[at].add(topic, handler);
            last = Some((handler, at));
        }
        groups
    }

    /// Returns where the group of a handler is.
    fn at(&mut self, handler: &'a ReadHandler) -> usize {
        let key = handler.group(self.by);
        let groups = &mut self.all;
        *self.by_key.entry(key.clone()).or_insert_with(|| {
            groups.push(Grouped::new(key, handler));
            groups.len() - 1
        })
    }

    fn find(&self, text: &str) -> Option<GroupKey> {
        let found = self.all.iter().find(|group| group.key.text() == text);
        found.map(|group| group.key.clone())
    }

    /// Describes the largest groups. `base` returns how many handlers one had before.
    fn describe(
        mut self,
        gap: Option<Duration>,
        base: impl Fn(&GroupKey) -> Option<usize>,
    ) -> Vec<Group> {
        self.all.sort_by_key(|group| Reverse(group.tally.handlers));
        let groups = self.all.iter().take(MOST_GROUPS);
        groups.map(|group| group.describe(gap, base(&group.key))).collect()
    }
}

impl<'a> Grouped<'a> {
    fn new(key: GroupKey, first: &'a ReadHandler) -> Self {
        let priority = first.id.priority();
        Self {
            key,
            first,
            is_one_place: true,
            is_one_name: true,
            topics: 0,
            last_topic: 0,
            priorities: (priority, priority),
            tally: Tally::default(),
        }
    }

    fn add(&mut self, topic: usize, handler: &ReadHandler) {
        self.topics += usize::from(self.topics == 0 || self.last_topic != topic);
        self.last_topic = topic;
        self.is_one_place &= self.first.place == handler.place;
        self.is_one_name &= self.first.name == handler.name;
        let (priority, (lowest, highest)) = (handler.id.priority(), self.priorities);
        self.priorities = (lowest.min(priority), highest.max(priority));
        self.tally.add(Tally::of(handler));
    }

    fn describe(&self, gap: Option<Duration>, before: Option<usize>) -> Group {
        let name = self.first.name.as_deref().filter(|_| self.is_one_name);
        let grown = before.map(|before| growth(self.tally.handlers, before));
        let place = self.first.place;
        let place = GroupKey::Place(place.file(), place.line(), place.column());
        Group {
            place: self.is_one_place.then(|| place.text()),
            name: name.map(cut),
            topics: self.topics,
            lowest_priority: self.priorities.0,
            highest_priority: self.priorities.1,
            sum: sum(&self.tally, grown, gap),
        }
    }
}

fn sum(tally: &Tally, grown: Option<i64>, gap: Option<Duration>) -> Sum {
    Sum {
        handlers: tally.handlers,
        paused: tally.paused,
        grown,
        calls: tally.calls.map(|calls| Calls {
            count: calls.count,
            per_second: gap.map(|gap| per_second(tally.fresh, gap)),
            mean_nanos: calls.total.checked_div(calls.count),
            longest_nanos: calls.longest,
        }),
    }
}

#[allow(clippy::cast_precision_loss, reason = "it is rounded anyway")]
fn per_second(count: u64, gap: Duration) -> f64 {
    (count as f64 / gap.as_secs_f64() * 10.0).round() / 10.0
}

fn growth(now: usize, before: usize) -> i64 {
    let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    signed(now) - signed(before)
}

/// The id of a topic, which another registry's topic of the same key does not have.
fn id_of(at: usize, topic: &TopicSample) -> u64 {
    topic.id.wrapping_add((at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn id_text(id: u64) -> String {
    format!("{id:016x}")
}
