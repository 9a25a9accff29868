//! What the number of topics costs: those who notify, and those who make and drop topics.

use benches::keys::{coming_and_going, in_turn};
use benches::{Work, ours};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, what: &str, make: fn(u64) -> Work) {
    for topics in [1, 1_000, 1_000_000] {
        group.bench_function(BenchmarkId::new(what, topics), |bencher| {
            let mut work = make(topics);
            bencher.iter_custom(|times| work.run(times));
        });
    }
}

fn topics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topics");
    bench(&mut group, "notify by key", in_turn::<ours::Topics>);
    bench(&mut group, "notify by handle", ours::handles_in_turn);
    bench(
        &mut group,
        "create and drop",
        coming_and_going::<ours::Topics>,
    );
}

fn main() {
    topics(&mut Criterion::default().configure_from_args());
}
