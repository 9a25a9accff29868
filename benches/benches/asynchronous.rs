//! What a dispatch of async handlers costs: ready at once, in sequence, and woken one by one.

use benches::Work;
use benches::futures::{Ours, RegistryIo, ready, sequential, woken};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

type Kind = (&'static str, fn(u64) -> Work);

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, kinds: &[Kind], handlers: &[u64]) {
    for (name, make) in kinds {
        for &handlers in handlers {
            group.bench_function(BenchmarkId::new(*name, handlers), |bencher| {
                let mut work = make(handlers);
                bencher.iter_custom(|times| work.run(times));
            });
        }
    }
}

fn asynchronous(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("async");
    let kinds: [Kind; 4] = [
        ("ready", ready::<Ours>),
        ("ready, registry-io", ready::<RegistryIo>),
        ("sequential", sequential::<Ours>),
        ("sequential, registry-io", sequential::<RegistryIo>),
    ];
    bench(&mut group, &kinds, &[1, 4, 16]);
    let kinds: [Kind; 2] = [
        ("woken", woken::<Ours>),
        ("woken, registry-io", woken::<RegistryIo>),
    ];
    bench(&mut group, &kinds, &[1_000]);
}

fn main() {
    asynchronous(&mut Criterion::default().configure_from_args());
}
