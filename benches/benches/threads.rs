//! What a notification costs all threads together, if several notify at once.

use benches::{Work, ours, threads};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, what: &str, make: fn(usize) -> Work) {
    for threads in [1, 2, 8] {
        group.bench_function(BenchmarkId::new(what, threads), |bencher| {
            let mut work = make(threads);
            bencher.iter_custom(|times| work.run(times));
        });
    }
}

fn several(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("threads");
    bench(&mut group, "one handle", threads::sharing::<ours::Handle>);
    bench(&mut group, "own handles", threads::with_own_handles);
    bench(&mut group, "own pins", threads::with_own_pins);
    bench(&mut group, "own topics", threads::with_own_topics);
    bench(&mut group, "beside a writer", threads::beside_a_writer);
}

fn main() {
    several(&mut Criterion::default().configure_from_args());
}
