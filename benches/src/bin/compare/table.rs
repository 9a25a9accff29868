//! Puts together what several processes measured.

use benches::measure::median;
use benches::protocol::{Curve, Pair, Point};

use crate::programs::Profile;

/// The rows, in the order of the workers' cases.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

/// Ours beside a peer, in each profile and placement.
pub(crate) struct Row {
    /// What was measured first; its figures are only one sample of many.
    pub(crate) pair: Pair,
    samples: Vec<Sample>,
}

struct Sample {
    profile: Profile,
    placement: usize,
    /// Ours, theirs, and the ratio.
    values: [f64; 3],
}

/// A row in one profile: medians over the placements.
pub(crate) struct Summary {
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    pub(crate) ratio: Spread,
}

/// A median over placements, and the least and the most of them.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) range: [f64; 2],
}

/// Points of one plot, of each placement.
pub(crate) struct Curves(Vec<(Curve, Point)>);

impl Table {
    /// Adds what one process measured.
    pub(crate) fn add(&mut self, profile: Profile, placement: usize, pairs: Vec<Pair>) {
        for pair in pairs {
            let sample = Sample {
                profile,
                placement,
                values: [pair.ours, pair.theirs, pair.ratio],
            };
            let same =
                |row: &&mut Row| row.pair.what == pair.what && row.pair.against == pair.against;
            match self.0.iter_mut().find(same) {
                Some(row) => row.samples.push(sample),
                None => self.0.push(Row {
                    pair,
                    samples: vec![sample],
                }),
            }
        }
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.0
    }
}

impl Row {
    /// Returns what it comes to in a profile, if it was measured there.
    pub(crate) fn summary(&self, profile: Profile) -> Option<Summary> {
        let samples = || self.samples.iter().filter(|sample| sample.profile == profile);
        let last = samples().map(|sample| sample.placement).max()?;
        let spread = |value: usize| {
            // The passes over one placement say the same thing: they count as one.
            let of_placement = |placement| {
                let passes = samples().filter(|sample| sample.placement == placement);
                median(&passes.map(|sample| sample.values[value]).collect::<Vec<_>>())
            };
            Spread::of((0..=last).map(of_placement))
        };
        Some(Summary {
            ours: spread(0).median,
            theirs: spread(1).median,
            ratio: spread(2),
        })
    }

    /// Returns whether it is as fast as it must be, wherever it was measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let at_most = self.pair.at_most?;
        let mut profiles = Profile::ALL.iter().filter_map(|&profile| self.summary(profile));
        Some(profiles.all(|summary| summary.ratio.median <= at_most))
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self {
            median: median(&values),
            range: [least, most],
        }
    }
}

impl Curves {
    /// Of what each process measured.
    pub(crate) fn new(points: Vec<(Curve, Point)>) -> Self {
        Self(points)
    }

    /// Returns the names of the lines, in order.
    pub(crate) fn lines(&self, curve: Curve) -> Vec<&str> {
        let mut lines = Vec::new();
        for (_, point) in self.0.iter().filter(|(of, _)| *of == curve) {
            if !lines.contains(&point.line.as_str()) {
                lines.push(&point.line);
            }
        }
        lines
    }

    /// Returns the places of a line, in order.
    pub(crate) fn places(&self, curve: Curve, line: &str) -> Vec<u32> {
        let mut places: Vec<u32> = self.on(curve, line).map(|point| point.at).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Returns what a line has at a place.
    pub(crate) fn at(&self, curve: Curve, line: &str, at: u32) -> Spread {
        let there = self.on(curve, line).filter(|point| point.at == at);
        Spread::of(there.map(|point| point.value))
    }

    fn on(&self, curve: Curve, line: &str) -> impl Iterator<Item = &Point> {
        let points = self.0.iter().filter(move |(of, point)| *of == curve && point.line == line);
        points.map(|(_, point)| point)
    }
}
