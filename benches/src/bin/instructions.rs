//! Notifies exactly so often, for a tool that counts instructions; docs/PERFORMANCE.md says how.

use std::env;
use std::process::ExitCode;

use benches::mix::{self, Mix};
use benches::work::notifying;
use benches::{Work, hooks, instrumented, ours, peers};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((mut work, times)) = read(&arguments) else {
        eprintln!(
            "usage: instructions handle|mixed|pin|key|hook|instrumented|registry-io|vec \
             HANDLERS TIMES"
        );
        return ExitCode::from(2);
    };
    work.run(times);
    ExitCode::SUCCESS
}

fn read(arguments: &[String]) -> Option<(Work, u64)> {
    let [way, handlers, times] = arguments else {
        return None;
    };
    let make: fn(u64) -> Work = match way.as_str() {
        "handle" => notifying::<ours::Handle>,
        "mixed" => |handlers| mix::notifying::<ours::Handle>(Mix::FourTypes, handlers),
        "pin" => notifying::<ours::Pin>,
        "key" => notifying::<ours::ByKey>,
        "hook" => hooks::of_a_handle,
        "instrumented" => notifying::<instrumented::Handle>,
        "registry-io" => notifying::<peers::RegistryIo>,
        "vec" => notifying::<peers::BareVec>,
        _ => return None,
    };
    let (handlers, times) = (handlers.parse().ok()?, times.parse().ok()?);
    Some((make(handlers), times))
}
