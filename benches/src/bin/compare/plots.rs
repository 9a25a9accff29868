//! The plots in docs/images: several lines each, measured in turn.

use std::error::Error;
use std::fs;
use std::hash::RandomState;
use std::ops::Range;
use std::path::Path;

use benches::work::{churning, notifying};
use benches::{Place, Work, ours, peers, threads};
use indicatif::ProgressIterator;
use plotters::prelude::*;

use crate::bytes::a_topic;
use crate::measure::{Make, Plan, in_turn, median};
use crate::report::document;

/// A font that every browser has, and its size.
const TEXT: (&str, i32) = ("sans-serif", 15);

struct Plot {
    file: &'static str,
    x: &'static str,
    y: &'static str,
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// A line that is to be timed: its name, and what to do at each place.
type Way = (&'static str, fn(u32) -> Work);

pub(crate) fn draw() -> Result<(), Box<dyn Error>> {
    let images = document("images");
    fs::create_dir_all(&images)?;
    for plot in [notify, churn, throughput, bytes].iter().progress() {
        plot().draw(&images)?;
    }
    Ok(())
}

fn notify() -> Plot {
    let ways: [Way; 8] = [
        ("handle", |n| notifying::<ours::Handle>(n.into())),
        ("pin", |n| notifying::<ours::Pin>(n.into())),
        ("by key", |n| notifying::<ours::ByKey>(n.into())),
        ("registry-io", |n| notifying::<peers::RegistryIo>(n.into())),
        ("signals2", |n| notifying::<peers::Signals>(n.into())),
        ("tokio broadcast", |n| {
            notifying::<peers::Broadcast>(n.into())
        }),
        ("RwLock<Vec>", |n| notifying::<peers::LockedVec>(n.into())),
        ("Vec", |n| notifying::<peers::BareVec>(n.into())),
    ];
    Plot {
        file: "notify.svg",
        x: "handlers",
        y: "nanoseconds a notification",
        lines: timed(&ways, &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]),
    }
}

fn churn() -> Plot {
    use peers::RegistryIo;
    let ways: [Way; 4] = [
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
    Plot {
        file: "churn.svg",
        x: "handlers beside it",
        y: "nanoseconds to register and unregister",
        lines: timed(&ways, &[1, 4, 16, 64, 256, 1_024, 4_096, 10_000]),
    }
}

fn throughput() -> Plot {
    use threads::{sharing, with_own_handles, with_own_pins, with_own_topics};
    let ways: [Way; 7] = [
        ("one handle", |n| sharing::<ours::Handle>(n as usize)),
        ("own handles", |n| with_own_handles(n as usize)),
        ("own pins", |n| with_own_pins(n as usize)),
        ("own topics", |n| with_own_topics(n as usize)),
        ("by key", |n| sharing::<ours::ByKey>(n as usize)),
        ("registry-io", |n| sharing::<peers::RegistryIo>(n as usize)),
        ("RwLock<Vec>", |n| sharing::<peers::LockedVec>(n as usize)),
    ];
    let mut lines = timed(&ways, &[1, 2, 4, 8]);
    for (_, nanos) in lines.iter_mut().flat_map(|line| &mut line.points) {
        *nanos = 1e3 / *nanos;
    }
    Plot {
        file: "threads.svg",
        x: "threads, on one topic of 4 handlers",
        y: "million notifications a second",
        lines,
    }
}

fn bytes() -> Plot {
    let line = |name, weigh: fn(u32, u64) -> f64| Line {
        name,
        points: [1, 2, 4, 8, 16, 32, 64]
            .map(|handlers: u32| (handlers.into(), weigh(1_000, handlers.into())))
            .to_vec(),
    };
    Plot {
        file: "bytes.svg",
        x: "handlers a topic",
        y: "bytes a topic",
        lines: vec![
            line("ours", a_topic::<ours::Topics>),
            line(
                "map of registry-io",
                a_topic::<peers::HandMade<RandomState>>,
            ),
        ],
    }
}

/// What each way takes at each place.
fn timed(ways: &[Way], places: &[u32]) -> Vec<Line> {
    let line = |&(name, _): &Way| Line {
        name,
        points: Vec::new(),
    };
    let mut lines: Vec<Line> = ways.iter().map(line).collect();
    for &place in places {
        let make = |&(_, work): &Way| Box::new(move || work(place)) as Make;
        let makes: Vec<Make> = ways.iter().map(make).collect();
        for (line, nanos) in lines.iter_mut().zip(in_turn(&makes, &Plan::PLOT)) {
            line.points.push((place.into(), median(&nanos)));
        }
    }
    lines
}

impl Plot {
    fn draw(&self, images: &Path) -> Result<(), Box<dyn Error>> {
        let path = images.join(self.file);
        let area = SVGBackend::new(&path, (800, 500)).into_drawing_area();
        area.fill(&WHITE)?;
        let (plane, names) = area.split_horizontally(580);
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = range(points().map(|point| point.0));
        let y = range(points().map(|point| point.1));
        let mut chart = ChartBuilder::on(&plane)
            .margin(15)
            .x_label_area_size(45)
            .y_label_area_size(70)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x)
            .y_desc(self.y)
            .label_style(TEXT)
            .light_line_style(TRANSPARENT)
            .x_label_formatter(&f64::to_string)
            .y_label_formatter(&f64::to_string)
            .draw()?;
        for (at, line) in self.lines.iter().enumerate() {
            let style = Palette99::pick(at).stroke_width(2);
            let points = line.points.iter().copied();
            chart.draw_series(LineSeries::new(points, style).point_size(3))?;
            let y = 40 + 25 * i32::try_from(at)?;
            names.draw(&PathElement::new([(0, y), (20, y)], style))?;
            names.draw(&Text::new(line.name, (28, y - 8), TEXT))?;
        }
        area.present()?;
        Ok(())
    }
}

/// From the least to the most of them, and a bit further.
fn range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(0.0, f64::max);
    least / 1.1..most * 1.1
}
