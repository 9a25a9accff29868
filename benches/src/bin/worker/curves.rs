//! The lines of the plots, each measured in turn with the others.

use std::hash::RandomState;
use std::time::Duration;

use benches::measure::{Make, Plan, in_turn, median};
use benches::mix::{self, Mix, Mixed};
use benches::protocol::{Curve, Point};
use benches::threads::{by_key, sharing, with_own_handles, with_own_pins, with_own_topics};
use benches::work::{churning, notifying};
use benches::{Place, Work, maps, ours, peers};

use crate::bytes::a_topic;

const PLAN: Plan = Plan {
    makes: 3,
    time: Duration::from_millis(5),
    batch: Duration::from_micros(200),
};

/// A line that is to be timed: its name, and what to do at each place.
type Way = (&'static str, fn(u32) -> Work);

/// Measures all lines of a plot.
pub(crate) fn points(curve: Curve) -> Box<dyn Iterator<Item = Point>> {
    match curve {
        Curve::Notify => Box::new(notify()),
        Curve::Churn => Box::new(churn()),
        Curve::Threads => Box::new(threads()),
        Curve::Bytes => Box::new(bytes()),
    }
}

fn notify() -> impl Iterator<Item = Point> {
    const WAYS: &[Way] = &[
        ("handle", |n| notifying::<ours::Handle>(n.into())),
        ("handle, four types", |n| four_types::<ours::Handle>(n)),
        ("pin", |n| notifying::<ours::Pin>(n.into())),
        ("by key", |n| notifying::<ours::ByKey>(n.into())),
        ("registry-io", |n| notifying::<peers::RegistryIo>(n.into())),
        ("registry-io, four types", |n| {
            four_types::<peers::RegistryIo>(n)
        }),
        ("signals2", |n| notifying::<peers::Signals>(n.into())),
        ("tokio broadcast", |n| {
            notifying::<peers::Broadcast>(n.into())
        }),
        ("locked Vec", |n| notifying::<peers::LockedVec>(n.into())),
        ("Vec", |n| notifying::<peers::BareVec>(n.into())),
        ("Vec, four types", |n| four_types::<peers::BareVec>(n)),
    ];
    timed(WAYS, &[0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024])
}

fn churn() -> impl Iterator<Item = Point> {
    use peers::RegistryIo;
    const WAYS: &[Way] = &[
        ("at the end", |n| {
            churning::<ours::Handle>(n.into(), Place::End)
        }),
        ("in the middle", |n| {
            churning::<ours::Handle>(n.into(), Place::Middle)
        }),
        ("registry-io, at the end", |n| {
            churning::<RegistryIo>(n.into(), Place::End)
        }),
        ("registry-io, in the middle", |n| {
            churning::<RegistryIo>(n.into(), Place::Middle)
        }),
    ];
    timed(WAYS, &[1, 4, 16, 64, 256, 1_024, 4_096, 10_000])
}

fn four_types<S: Mixed>(handlers: u32) -> Work {
    mix::notifying::<S>(Mix::FourTypes, handlers.into())
}

/// In million notifications a second.
fn threads() -> impl Iterator<Item = Point> {
    const WAYS: &[Way] = &[
        ("one handle", |n| sharing::<ours::Handle>(n as usize)),
        ("own handles", |n| with_own_handles(n as usize)),
        ("own pins", |n| with_own_pins(n as usize)),
        ("own topics", |n| with_own_topics(n as usize)),
        ("by key", |n| by_key::<ours::Topics>(n as usize, 1)),
        ("by key, 64 keys", |n| {
            by_key::<ours::Topics>(n as usize, 64)
        }),
        ("papaya, by key", |n| by_key::<maps::Papaya>(n as usize, 1)),
        ("registry-io", |n| sharing::<peers::RegistryIo>(n as usize)),
        ("locked Vec", |n| sharing::<peers::LockedVec>(n as usize)),
    ];
    timed(WAYS, &[1, 2, 4, 16]).map(|point| Point {
        value: 1e3 / point.value,
        ..point
    })
}

fn bytes() -> impl Iterator<Item = Point> {
    type Weigh = fn(u32, u64) -> f64;
    let sides: [(&str, Weigh); 2] = [
        ("ours", a_topic::<ours::Topics>),
        ("map of registry-io", a_topic::<maps::HandMade<RandomState>>),
    ];
    sides.into_iter().flat_map(|(line, weigh)| {
        let point = move |at: u32| Point {
            line: line.into(),
            at,
            value: weigh(1_000, at.into()),
        };
        [1, 2, 4, 8, 16, 32, 64].into_iter().map(point)
    })
}

/// What each way takes at each place.
fn timed(ways: &'static [Way], places: &'static [u32]) -> impl Iterator<Item = Point> {
    places.iter().flat_map(|&at| {
        let make = |&(_, work): &Way| Box::new(move || work(at)) as Make;
        let makes: Vec<Make> = ways.iter().map(make).collect();
        let lines = ways.iter().zip(in_turn(&makes, &PLAN));
        lines.map(move |((line, _), nanos)| Point {
            line: (*line).into(),
            at,
            value: median(&nanos),
        })
    })
}
