//! The worker of `compare` that has `registry-io` 1.0.0 for a peer.

use std::process::ExitCode;

use benches::cases::Cases;
use benches::protocol::Request;
use benches::{ours, peers, worker};

fn main() -> ExitCode {
    worker::run(|request, answers| match request {
        Request::Rows {
            only,
            costly,
            quick,
        } => worker::write(cases().measure(only, *costly, *quick), answers),
        _ => Err("it has only rows".into()),
    })
}

fn cases() -> Cases {
    let mut cases = Cases::default();
    for handlers in [0, 1, 4, 16] {
        let against = "registry-io 1.0.0";
        cases.notify::<ours::Handle, peers::RegistryIo>("handle", handlers, against);
    }
    cases
}
