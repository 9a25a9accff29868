//! What it costs to register a handler and to remove it, against how many there are beside it.

use benches::work::{churning, churning_at_once};
use benches::{Place, ours};
use criterion::{BenchmarkId, Criterion};

const BESIDE: [u64; 6] = [0, 1, 16, 100, 1_000, 10_000];

fn one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("churn");
    for place in [Place::End, Place::Middle] {
        for beside in BESIDE {
            let id = BenchmarkId::new(format!("{place:?}"), beside);
            group.bench_function(id, |bencher| {
                let mut work = churning::<ours::Handle>(beside, place);
                bencher.iter_custom(|times| work.run(times));
            });
        }
    }
}

fn at_once(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("churn of 16 at once");
    for beside in BESIDE {
        group.bench_function(BenchmarkId::from_parameter(beside), |bencher| {
            let mut work = churning_at_once(16, beside);
            bencher.iter_custom(|times| work.run(times));
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    one(&mut criterion);
    at_once(&mut criterion);
}
