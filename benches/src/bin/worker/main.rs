//! The worker of `compare`: what it sets side by side, and how fast ours shall be.

mod bytes;
mod curves;

use std::hash::RandomState;
use std::process::ExitCode;

use benches::cases::{Cases, REGISTRY_IO, counted};
use benches::futures::{self, ready, sequential, woken};
use benches::keys::{coming_and_going, in_turn};
use benches::mix::Mix;
use benches::protocol::Request;
use benches::threads::{self, sharing};
use benches::{Place, hooks, instrumented, maps, ours, peers, worker};

#[global_allocator]
static ALLOCATOR: bytes::Counting = bytes::Counting;

const MAP: &str = "map of registry-io";
const MAP_AHASH: &str = "map of registry-io, ahash";
const PAPAYA: &str = "papaya map of registry-io";
const SCC: &str = "scc map of registry-io";
const VEC: &str = "`Vec` of closures";

type HandMade = maps::HandMade<RandomState>;

fn main() -> ExitCode {
    worker::run(|request, answers| match request {
        Request::Rows {
            only,
            costly,
            quick,
        } => worker::write(cases().measure(only, *costly, *quick), answers),
        Request::Bytes { only, topics } => worker::write(bytes::rows(only, *topics), answers),
        Request::Curve(curve) => worker::write(curves::points(*curve), answers),
    })
}

fn cases() -> Cases {
    let mut cases = Cases::default();
    notifications(&mut cases);
    pins(&mut cases);
    changed(&mut cases);
    by_key(&mut cases);
    other_peers(&mut cases);
    changes(&mut cases);
    asynchronous(&mut cases);
    several_threads(&mut cases);
    cases
}

fn notifications(cases: &mut Cases) {
    use ours::{Handle, Registry};
    use peers::RegistryIo;
    let targets = [
        (0, 0.3),
        (1, 0.63),
        (4, 0.75),
        (16, 0.55),
        (64, 0.45),
        (1_000, 0.62),
        (10_000, 0.85),
    ];
    for (handlers, ratio) in targets {
        let case = cases.notify::<Handle, RegistryIo>("handle", handlers, REGISTRY_IO);
        case.at_most(ratio);
        if handlers > 1_000 {
            case.costly();
        }
    }
    for (handlers, _) in targets {
        let case = cases.notify::<Registry, RegistryIo>("registry", handlers, REGISTRY_IO);
        if handlers > 1_000 {
            case.costly();
        }
    }
    let mixes = [
        (Mix::FourTypes, 4, 0.82),
        (Mix::FourTypes, 16, 0.7),
        (Mix::FourTypes, 64, 0.67),
        (Mix::OneBefore, 64, 0.5),
        (Mix::Owning, 16, 0.65),
    ];
    for (mix, handlers, ratio) in mixes {
        let mix = (mix, handlers);
        cases.mixed::<Handle, RegistryIo>("handle", mix, REGISTRY_IO).at_most(ratio);
    }
    let without = "handle without these";
    let case =
        cases.notify::<instrumented::Handle, Handle>("handle, tracing and metrics", 4, without);
    case.at_most(1.05);
    for handlers in [1, 4] {
        cases.notify::<ours::Timed<false>, Handle>("handle, calls timed", handlers, without);
        cases.notify::<ours::Timed<true>, Handle>("handle, calls counted", handlers, without);
    }
}

fn pins(cases: &mut Cases) {
    use ours::Pin;
    use peers::{BareVec, RegistryIo};
    for (handlers, ratio) in [(0, 0.2), (1, 0.3), (4, 0.65), (16, 0.9)] {
        let case = cases.notify::<Pin, RegistryIo>("pin", handlers, REGISTRY_IO);
        case.at_most(ratio);
    }
    for (handlers, ratio) in [(1, 1.4), (4, 0.85), (16, 0.6)] {
        let case = cases.notify::<Pin, BareVec>("pin", handlers, VEC);
        case.at_most(ratio);
    }
    for handlers in [4, 16] {
        cases.mixed::<Pin, BareVec>("pin", (Mix::FourTypes, handlers), VEC);
    }
}

fn changed(cases: &mut Cases) {
    for (handlers, ratio) in [(1, 1.55), (4, 1.1), (16, 0.7)] {
        let what = format!("hook by handle, {}", counted(handlers));
        let ours = move || hooks::of_a_handle(handlers);
        let theirs = move || hooks::of_a_vec(handlers);
        cases.add(what, VEC, ours, theirs).at_most(ratio);
    }
}

fn by_key(cases: &mut Cases) {
    use maps::{ByKeyAhash, ByKeyPapaya, ByKeyScc};
    use ours::{ByKey, Topics};
    for (handlers, ratio) in [(0, 0.77), (1, 0.88), (4, 1.0), (16, 0.92)] {
        let case = cases.notify::<ByKey, ByKeyAhash>("by key", handlers, MAP_AHASH);
        case.at_most(ratio);
    }
    cases.notify::<ByKey, ByKeyPapaya>("by key", 1, PAPAYA).at_most(0.9);
    cases.notify::<ByKey, ByKeyScc>("by key", 1, SCC);
    for handlers in [0, 1, 4] {
        cases.notify::<ByKey, maps::ByKey>("by key", handlers, MAP);
    }
    let count = 100_000;
    let topics = cases.add(
        format!("by key, 1 handler, {count} topics in turn"),
        MAP,
        move || in_turn::<Topics>(count),
        move || in_turn::<HandMade>(count),
    );
    topics.costly();
    cases.add(
        "make a topic with a handler, and drop it",
        MAP,
        || coming_and_going::<Topics>(1_000),
        || coming_and_going::<HandMade>(1_000),
    );
}

fn other_peers(cases: &mut Cases) {
    use ours::Handle;
    use peers::{BareVec, Broadcast, LockedVec, Signals};
    for handlers in [1, 4] {
        cases.notify::<Handle, Signals>("handle", handlers, "signals2");
        cases.notify::<Handle, Broadcast>("handle", handlers, "tokio broadcast");
        cases.notify::<Handle, LockedVec>("handle", handlers, "`RwLock<Vec>`");
        cases.notify::<Handle, BareVec>("handle", handlers, VEC);
    }
}

fn changes(cases: &mut Cases) {
    use ours::Handle;
    use peers::RegistryIo;
    for (dispatches, ratio) in [(10, 1.55), (100, 1.3), (2_000, 0.7), (20_000, 0.6)] {
        cases.change::<Handle, RegistryIo>(dispatches).at_most(ratio);
    }
    let targets = [
        (0, 1.4),
        (16, 1.2),
        (100, 0.5),
        (1_000, 0.08),
        (10_000, 0.025),
    ];
    for (place, slower) in [(Place::End, 1.0), (Place::Middle, 1.5)] {
        for (beside, ratio) in targets {
            let case = cases.churn::<Handle, RegistryIo>(beside, place);
            case.at_most(ratio * slower);
            if beside >= 1_000 {
                case.costly();
            }
        }
    }
}

fn asynchronous(cases: &mut Cases) {
    use futures::{Ours, RegistryIo};
    for (handlers, ratio) in [(1, 0.85), (4, 0.55), (16, 0.4)] {
        let sides = [ready::<Ours>, ready::<RegistryIo>];
        cases.futures("ready at once", handlers, sides).at_most(ratio);
    }
    for (handlers, ratio) in [(1, 0.6), (4, 1.0)] {
        let sides = [sequential::<Ours>, sequential::<RegistryIo>];
        cases.futures("in sequence", handlers, sides).at_most(ratio);
    }
    for (handlers, ratio) in [(16, 1.45), (1_000, 0.05)] {
        let sides = [woken::<Ours>, woken::<RegistryIo>];
        let case = cases.futures("woken one by one", handlers, sides);
        case.at_most(ratio).costly();
    }
}

fn several_threads(cases: &mut Cases) {
    let both = || sharing::<ours::Handle>(2);
    let what = "two threads on one handle, 4 handlers";
    let theirs = || sharing::<peers::RegistryIo>(2);
    cases.add(what, REGISTRY_IO, both, theirs).at_most(0.8);
    cases.add(
        "16 threads on one handle, 4 handlers",
        REGISTRY_IO,
        || sharing::<ours::Handle>(16),
        || sharing::<peers::RegistryIo>(16),
    );
    let one = || sharing::<ours::Handle>(1);
    // 1.8 times the notifications.
    cases.add(what, "one thread", both, one).at_most(1.0 / 1.8);
    for (topics, ratio) in [(1, Some(0.6)), (64, Some(0.6)), (1_000, None)] {
        let what = match topics {
            1 => "two threads by key, one key".into(),
            _ => format!("two threads by key, {topics} keys"),
        };
        let both = move || threads::by_key::<ours::Topics>(2, topics);
        let one = move || threads::by_key::<ours::Topics>(1, topics);
        let case = cases.add(what.clone(), "one thread", both, one);
        if let Some(ratio) = ratio {
            // 1.7 times the notifications.
            case.at_most(ratio);
        }
        cases.add(what.clone(), MAP_AHASH, both, move || {
            threads::by_key::<maps::HandMade<ahash::RandomState>>(2, topics)
        });
        cases.add(what, PAPAYA, both, move || {
            threads::by_key::<maps::Papaya>(2, topics)
        });
    }
}
