//! Cases: what is set side by side, and how fast it shall be.

use std::fmt;
use std::time::Duration;

use crate::measure::{self, Make, Plan, median};
use crate::mix::{self, Mix, Mixed};
use crate::protocol::{Pair, row_name};
use crate::work::{changing, churning, notifying};
use crate::{Churn, Place, Subject, Work};

/// The closest peer.
pub const REGISTRY_IO: &str = "registry-io";

/// Ours and a peer's.
pub struct Case {
    what: String,
    against: &'static str,
    at_most: Option<f64>,
    costly: bool,
    sides: [Make; 2],
}

/// The cases of a worker, in the order of the table.
#[derive(Debug, Default)]
pub struct Cases(Vec<Case>);

impl Case {
    /// Sets what the ratio must not exceed.
    pub fn at_most(&mut self, ratio: f64) -> &mut Self {
        self.at_most = Some(ratio);
        self
    }

    /// Says that it is costly to make or to run: each placement measures it in one pass only.
    pub fn costly(&mut self) -> &mut Self {
        self.costly = true;
        self
    }

    fn measure(&self, quick: bool) -> Pair {
        let nanos = measure::in_turn(&self.sides, &self.plan(quick));
        let pairs = nanos[0].iter().zip(&nanos[1]);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        Pair {
            what: self.what.clone(),
            against: self.against.into(),
            unit: "ns".into(),
            at_most: self.at_most,
            ours: median(&nanos[0]),
            theirs: median(&nanos[1]),
            ratio: median(&ratios),
        }
    }

    fn plan(&self, quick: bool) -> Plan {
        let (makes, time) = match (quick, self.costly) {
            (false, false) => (6, 15),
            (false, true) => (2, 30),
            (true, false) => (3, 1),
            (true, true) => (1, 1),
        };
        Plan {
            makes,
            time: Duration::from_millis(time),
            batch: Duration::from_micros(if quick { 50 } else { 200 }),
        }
    }
}

impl Cases {
    /// Adds a case.
    pub fn add(
        &mut self,
        what: impl Into<String>,
        against: &'static str,
        ours: impl Fn() -> Work + 'static,
        theirs: impl Fn() -> Work + 'static,
    ) -> &mut Case {
        let case = Case {
            what: what.into(),
            against,
            at_most: None,
            costly: false,
            sides: [Box::new(ours), Box::new(theirs)],
        };
        self.0.push(case);
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// Adds one that notifies so many handlers.
    pub fn notify<O: Subject, T: Subject>(
        &mut self,
        way: &str,
        handlers: u64,
        against: &'static str,
    ) -> &mut Case {
        self.add(
            format!("{way}, {}", counted(handlers)),
            against,
            move || notifying::<O>(handlers),
            move || notifying::<T>(handlers),
        )
    }

    /// Adds one that notifies so many handlers, of these types.
    pub fn mixed<O: Mixed, T: Mixed>(
        &mut self,
        way: &str,
        (mix, handlers): (Mix, u64),
        against: &'static str,
    ) -> &mut Case {
        self.add(
            format!("{way}, {}", mix.describe(handlers)),
            against,
            move || mix::notifying::<O>(mix, handlers),
            move || mix::notifying::<T>(mix, handlers),
        )
    }

    /// Adds one that registers a handler beside so many, and removes it.
    pub fn churn<O: Churn, T: Churn>(&mut self, beside: u64, place: Place) -> &mut Case {
        let place_name = match place {
            Place::Middle => "in the middle of",
            Place::End => "behind",
        };
        self.add(
            format!("register and unregister {place_name} {beside}"),
            REGISTRY_IO,
            move || churning::<O>(beside, place),
            move || churning::<T>(beside, place),
        )
    }

    /// Adds one that does the same once for each so many notifications of one handler.
    pub fn change<O: Churn, T: Churn>(&mut self, dispatches: u64) -> &mut Case {
        self.add(
            format!("{dispatches} dispatches and a change, 1 handler"),
            REGISTRY_IO,
            move || changing::<O>(dispatches),
            move || changing::<T>(dispatches),
        )
    }

    /// Adds one that runs so many async handlers.
    pub fn futures(&mut self, how: &str, handlers: u64, sides: [fn(u64) -> Work; 2]) -> &mut Case {
        let [ours, theirs] = sides;
        self.add(
            format!("async, {how}, {}", counted(handlers)),
            REGISTRY_IO,
            move || ours(handlers),
            move || theirs(handlers),
        )
    }

    /// Measures those whose name contains `only`, one after the other.
    pub fn measure(&self, only: &str, costly: bool, quick: bool) -> impl Iterator<Item = Pair> {
        let asked = self
            .0
            .iter()
            .filter(move |case| costly || !case.costly)
            .filter(move |case| row_name(&case.what, case.against).contains(only));
        asked.map(move |case| case.measure(quick))
    }
}

/// So many handlers, in words.
#[must_use]
pub fn counted(handlers: u64) -> String {
    let s = if handlers == 1 { "" } else { "s" };
    format!("{handlers} handler{s}")
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&row_name(&self.what, self.against))
    }
}
