//! What a notification costs in the peers. `compare` sets them beside ours in one run.

use benches::work::notifying;
use benches::{Subject, maps, peers};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

fn bench<S: Subject>(group: &mut BenchmarkGroup<'_, WallTime>, peer: &str) {
    for handlers in [0, 1, 4, 16, 64, 1_000] {
        group.bench_function(BenchmarkId::new(peer, handlers), |bencher| {
            let mut work = notifying::<S>(handlers);
            bencher.iter_custom(|times| work.run(times));
        });
    }
}

fn peers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peers");
    bench::<peers::RegistryIo>(&mut group, "registry-io");
    bench::<maps::ByKey>(&mut group, "map of registry-io");
    bench::<peers::Signals>(&mut group, "signals2");
    bench::<peers::Broadcast>(&mut group, "tokio broadcast");
    bench::<peers::LockedVec>(&mut group, "RwLock<Vec>");
    bench::<peers::BareVec>(&mut group, "Vec");
}

fn main() {
    peers(&mut Criterion::default().configure_from_args());
}
