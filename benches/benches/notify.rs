//! What a notification costs, in each of the ways that there are, against the number of handlers.

use benches::work::notifying;
use benches::{Subject, ours};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

fn bench<S: Subject>(group: &mut BenchmarkGroup<'_, WallTime>, way: &str) {
    for handlers in [0, 1, 4, 16, 64, 1_000, 10_000] {
        group.bench_function(BenchmarkId::new(way, handlers), |bencher| {
            let mut work = notifying::<S>(handlers);
            bencher.iter_custom(|times| work.run(times));
        });
    }
}

fn notify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("notify");
    bench::<ours::Registry>(&mut group, "registry");
    bench::<ours::Handle>(&mut group, "handle");
    bench::<ours::Pin>(&mut group, "pin");
    bench::<ours::ByKey>(&mut group, "by key");
}

fn main() {
    notify(&mut Criterion::default().configure_from_args());
}
