//! What is set side by side, and how fast it shall be.

use std::hash::RandomState;

use benches::futures::{self, ready, sequential, woken};
use benches::keys::{coming_and_going, in_turn};
use benches::work::{churning, notifying};
use benches::{Churn, Place, Subject, Work, ours, peers, threads, told};

use crate::bytes::{a_topic, come_and_gone};
use crate::measure::{self, Make, Plan, median, quantile};

/// Ours and a peer's.
pub(crate) struct Case {
    what: String,
    against: &'static str,
    target: Option<f64>,
    sides: [Make; 2],
}

/// What was measured.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) against: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// Ours by theirs.
    pub(crate) ratio: f64,
    /// What a tenth of the ratios is below, and a tenth above.
    pub(crate) spread: Option<[f64; 2]>,
    /// What the ratio shall not exceed.
    pub(crate) target: Option<f64>,
}

const REGISTRY_IO: &str = "registry-io";
const MAP: &str = "map of registry-io";
const MAP_AHASH: &str = "map of registry-io, ahash";
const WITHOUT: &str = "handle without these";
const VEC: &str = "`Vec` of closures";

type HandMade = peers::HandMade<RandomState>;

impl Case {
    pub(crate) fn measure(&self, plan: &Plan) -> Row {
        let nanos = measure::in_turn(&self.sides, plan);
        let pairs = nanos[0].iter().zip(&nanos[1]);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        Row {
            what: self.what.clone(),
            against: self.against,
            unit: "ns",
            ours: median(&nanos[0]),
            theirs: median(&nanos[1]),
            ratio: median(&ratios),
            spread: Some([quantile(&ratios, 0.1), quantile(&ratios, 0.9)]),
            target: self.target,
        }
    }
}

/// All that are timed.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    notifications(&mut cases);
    by_key(&mut cases);
    other_peers(&mut cases);
    changes(&mut cases);
    asynchronous(&mut cases);
    several_threads(&mut cases);
    cases.0
}

fn notifications(cases: &mut Cases) {
    use peers::{BareVec, RegistryIo};
    for (handlers, target) in [(0, 0.4), (1, 2.0), (4, 1.5), (16, 1.1), (64, 1.0)] {
        cases.notify::<ours::Handle, RegistryIo>("handle", handlers, REGISTRY_IO, Some(target));
    }
    for handlers in [1_000, 10_000] {
        cases.notify::<ours::Handle, RegistryIo>("handle", handlers, REGISTRY_IO, Some(1.05));
    }
    for (handlers, target) in [(0, 0.4), (1, 0.6), (4, 0.8), (16, 0.95)] {
        cases.notify::<ours::Pin, RegistryIo>("pin", handlers, REGISTRY_IO, Some(target));
    }
    for handlers in [4, 16] {
        cases.notify::<ours::Pin, BareVec>("pin", handlers, VEC, Some(1.15));
    }
    cases.notify::<told::Handle, ours::Handle>(
        "handle, tracing and metrics",
        4,
        WITHOUT,
        Some(1.05),
    );
}

fn by_key(cases: &mut Cases) {
    for handlers in [0, 1, 4] {
        cases.notify::<ours::ByKey, peers::ByKey>("by key", handlers, MAP, Some(1.0));
    }
    cases.notify::<ours::ByKey, peers::ByKeyAhash>("by key", 1, MAP_AHASH, None);
    let topics = 100_000;
    cases.add(
        format!("by key, 1 handler, {topics} topics in turn"),
        MAP,
        None,
        move || in_turn::<ours::Topics>(topics),
        move || in_turn::<HandMade>(topics),
    );
    cases.add(
        "make a topic with a handler, and drop it".into(),
        MAP,
        None,
        || coming_and_going::<ours::Topics>(1_000),
        || coming_and_going::<HandMade>(1_000),
    );
}

fn other_peers(cases: &mut Cases) {
    use peers::{Broadcast, LockedVec, Signals};
    for handlers in [1, 4] {
        cases.notify::<ours::Handle, Signals>("handle", handlers, "signals2", None);
        cases.notify::<ours::Handle, Broadcast>("handle", handlers, "tokio broadcast", None);
        cases.notify::<ours::Handle, LockedVec>("handle", handlers, "`RwLock<Vec>`", None);
    }
}

fn changes(cases: &mut Cases) {
    let targets = [
        (0, 1.2),
        (16, 1.2),
        (100, 0.6),
        (1_000, 0.1),
        (10_000, 0.02),
    ];
    for (beside, target) in targets {
        cases.churn::<ours::Handle, peers::RegistryIo>(beside, Place::End, target);
    }
    for (beside, target) in targets {
        cases.churn::<ours::Handle, peers::RegistryIo>(beside, Place::Middle, target * 1.5);
    }
}

fn asynchronous(cases: &mut Cases) {
    for (handlers, target) in [(1, 1.0), (4, 0.8), (16, 0.7)] {
        cases.futures(
            "ready at once",
            handlers,
            target,
            [ready::<futures::Ours>, ready::<futures::RegistryIo>],
        );
    }
    cases.futures(
        "in sequence",
        4,
        1.0,
        [
            sequential::<futures::Ours>,
            sequential::<futures::RegistryIo>,
        ],
    );
    cases.futures(
        "woken one by one",
        1_000,
        0.1,
        [woken::<futures::Ours>, woken::<futures::RegistryIo>],
    );
}

fn several_threads(cases: &mut Cases) {
    cases.add(
        "two threads on one handle, 4 handlers".into(),
        "one thread",
        // 1.8 times the notifications.
        Some(1.0 / 1.8),
        || threads::sharing::<ours::Handle>(2),
        || threads::sharing::<ours::Handle>(1),
    );
    cases.add(
        "two threads on one handle, 4 handlers".into(),
        REGISTRY_IO,
        None,
        || threads::sharing::<ours::Handle>(2),
        || threads::sharing::<peers::RegistryIo>(2),
    );
}

/// What is weighed instead of timed; `topics` come and go at once.
pub(crate) fn weigh(topics: u64) -> Vec<Row> {
    let a_topic = |handlers, target| {
        let sides = [a_topic::<ours::Topics>, a_topic::<HandMade>];
        let what = format!("a topic, {}", counted(handlers));
        let [ours, theirs] = sides.map(|side| side(100_000, handlers));
        Row::weighed(what, ours, theirs, target)
    };
    let ours = come_and_gone::<ours::Topics>(topics);
    let theirs = come_and_gone::<HandMade>(topics);
    let gone = format!("{topics} topics that come and go");
    let row =
        |what: &str, ours, theirs| Row::weighed(format!("{gone}, {what}"), ours, theirs, None);
    vec![
        a_topic(0, Some(1.0)),
        a_topic(1, Some(0.95)),
        row("at most", ours.peak, theirs.peak),
        row("at the end", ours.kept, theirs.kept),
    ]
}

impl Row {
    fn weighed(what: String, ours: f64, theirs: f64, target: Option<f64>) -> Self {
        Self {
            what,
            against: MAP,
            unit: "bytes",
            ours,
            theirs,
            ratio: ours / theirs,
            spread: None,
            target,
        }
    }
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        what: String,
        against: &'static str,
        target: Option<f64>,
        ours: impl Fn() -> Work + 'static,
        theirs: impl Fn() -> Work + 'static,
    ) {
        self.0.push(Case {
            what,
            against,
            target,
            sides: [Box::new(ours), Box::new(theirs)],
        });
    }

    fn notify<O: Subject, T: Subject>(
        &mut self,
        way: &str,
        handlers: u64,
        against: &'static str,
        target: Option<f64>,
    ) {
        let what = format!("{way}, {}", counted(handlers));
        let (ours, theirs) = (notifying::<O>, notifying::<T>);
        self.add(
            what,
            against,
            target,
            move || ours(handlers),
            move || theirs(handlers),
        );
    }

    fn churn<O: Churn, T: Churn>(&mut self, beside: u64, place: Place, target: f64) {
        let place_name = match place {
            Place::Middle => "in the middle of",
            Place::End => "behind",
        };
        let what = format!("register and unregister {place_name} {beside}");
        let (ours, theirs) = (churning::<O>, churning::<T>);
        self.add(
            what,
            REGISTRY_IO,
            Some(target),
            move || ours(beside, place),
            move || theirs(beside, place),
        );
    }

    fn futures(&mut self, how: &str, handlers: u64, target: f64, sides: [fn(u64) -> Work; 2]) {
        let what = format!("async, {how}, {}", counted(handlers));
        let [ours, theirs] = sides;
        self.add(
            what,
            REGISTRY_IO,
            Some(target),
            move || ours(handlers),
            move || theirs(handlers),
        );
    }
}

fn counted(handlers: u64) -> String {
    let s = if handlers == 1 { "" } else { "s" };
    format!("{handlers} handler{s}")
}
