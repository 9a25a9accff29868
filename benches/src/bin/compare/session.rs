//! A run: which worker is asked for what, and when.

use indicatif::{ProgressBar, ProgressStyle};

use benches::protocol::{Curve, Request};

use crate::Failed;
use crate::programs::{self, Package, Profile, Program};
use crate::table::{Curves, Row, Table};

/// So often all placements are gone through. What slows the machine for some minutes then
/// meets only some of the samples of each.
const PASSES: usize = 2;

/// In so many placements the plots are measured whose lines hardly depend on them.
const FEW: usize = 3;

/// The workers of a run.
pub(crate) struct Session {
    workers: Vec<Worker>,
    quick: bool,
}

struct Worker {
    profile: Profile,
    placements: Vec<Program>,
}

impl Session {
    /// One placement in one profile.
    pub(crate) fn quick() -> Result<Self, Failed> {
        let mut worker = Worker::build(Package::Benches, Profile::Release)?;
        worker.placements.truncate(1);
        Ok(Self {
            workers: vec![worker],
            quick: true,
        })
    }

    /// Everything.
    pub(crate) fn full() -> Result<Self, Failed> {
        let packages = [Package::Benches, Package::RegistryIo10];
        let each = packages.iter().flat_map(|&package| {
            let of_profile = move |profile| Worker::build(package, profile);
            Profile::ALL.into_iter().map(of_profile)
        });
        let session = Self {
            workers: each.collect::<Result<_, _>>()?,
            quick: false,
        };
        if session.placements() == 1 {
            eprintln!("note: the linker cannot put functions in another order: only one placement");
        }
        Ok(session)
    }

    /// Returns in how many placements there is each worker.
    pub(crate) fn placements(&self) -> usize {
        let placements = self.workers.iter().map(|worker| worker.placements.len());
        placements.min().unwrap_or(0)
    }

    /// Measures the rows whose name contains `only`.
    pub(crate) fn rows(&self, only: &str) -> Result<Vec<Row>, Failed> {
        let mut table = Table::default();
        let passes = if self.quick { 1 } else { PASSES };
        let turns = (0..passes).flat_map(|pass| (0..self.placements()).map(move |at| (pass, at)));
        let asks = turns.flat_map(|turn| self.workers.iter().map(move |worker| (turn, worker)));
        let asks: Vec<_> = asks.collect();
        for ((pass, at), worker) in progress(&asks) {
            let request = Request::Rows {
                only: only.into(),
                costly: *pass == 0,
                quick: self.quick,
            };
            table.add(worker.profile, *at, worker.placements[*at].ask(&request)?);
        }
        let request = Request::Bytes {
            only: only.into(),
            topics: if self.quick { 100_000 } else { 1_000_000 },
        };
        let worker = self.reference();
        table.add(worker.profile, 0, worker.placements[0].ask(&request)?);
        Ok(table.into_rows())
    }

    /// Measures the plots.
    pub(crate) fn curves(&self) -> Result<Curves, Failed> {
        let worker = self.reference();
        let places = [
            (Curve::Notify, worker.placements.len()),
            (Curve::Churn, FEW),
            (Curve::Threads, FEW),
            (Curve::Bytes, 1),
        ];
        let of_curve = |(curve, count)| {
            worker.placements.iter().take(count).map(move |program| (curve, program))
        };
        let asks: Vec<_> = places.into_iter().flat_map(of_curve).collect();
        let mut points = Vec::new();
        for (curve, program) in progress(&asks) {
            let measured = program.ask(&Request::Curve(*curve))?;
            points.extend(measured.into_iter().map(|point| (*curve, point)));
        }
        Ok(Curves::new(points))
    }

    /// The one that people would build: of the plots, and of what is weighed.
    fn reference(&self) -> &Worker {
        &self.workers[0]
    }
}

impl Worker {
    fn build(package: Package, profile: Profile) -> Result<Self, Failed> {
        Ok(Self {
            profile,
            placements: programs::build(package, profile)?,
        })
    }
}

fn progress<T>(asks: &[T]) -> impl Iterator<Item = &T> {
    let bar = ProgressBar::new(asks.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} processes, {eta} left") {
        bar.set_style(style);
    }
    bar.wrap_iter(asks.iter())
}
