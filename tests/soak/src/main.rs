//! Everything that the crate can do, at random and all at once, for as long as you like; and
//! whether all of it adds up in the end.

mod bursts;
mod gauges;
mod handler;
mod ledger;
mod life;
mod mailboxes;
mod observers;
mod pauses;
mod registered;
mod tasks;
mod timed;
mod weak;
mod workers;
mod world;

use std::num::NonZeroU64;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use peak_alloc::PeakAlloc;

use ledger::{Ledger, expect, violations};
use workers::WORKERS;
use world::World;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const USAGE: &str = "usage: soak [--seconds N]";

/// By how much the heap may grow in a run: `arc-swap` and the locks keep something for each thread
/// that meets others there, for good, and more of them may meet than in the warm-up. Between 1 and
/// 8 KiB were seen, in runs of 5 to 160 s alike. A handler that leaks is more than that, by what
/// its closure owns.
const TOLERANCE: usize = 12 * 1024;
const _: () = assert!(TOLERANCE < life::BALLAST);

const WARM_UP: Duration = Duration::from_secs(1);

/// How long a worker may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let seconds = match seconds() {
        Ok(Some(seconds)) => seconds,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    ledger::silence_planned_panics();
    gauges::listen();
    println!("warming up for {} s", WARM_UP.as_secs());
    run(WARM_UP, |_, _| {});
    let before = HEAP.current_usage();
    let ledger = run(Duration::from_secs(seconds.get()), print);
    let growth = HEAP.current_usage().saturating_sub(before);
    let excess = growth.saturating_sub(TOLERANCE);
    expect("bytes by which the heap grew too much", 0, excess);
    gauges::settle();
    let violations = violations();
    println!("soak: {seconds} s, {ledger}, heap grew by {growth} B, {violations} violations");
    ExitCode::from(u8::from(violations != 0))
}

/// For how long to run, unless help is asked for.
fn seconds() -> Result<Option<NonZeroU64>, String> {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    match args.iter().map(AsRef::as_ref).collect::<Vec<_>>()[..] {
        [] => Ok(NonZeroU64::new(20)),
        ["--help"] => Ok(None),
        ["--seconds", given] => match given.parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => Err(format!("{given:?} is not a number of seconds from 1 on")),
        },
        ["--seconds"] => Err("--seconds needs a number".to_owned()),
        [first, ..] => Err(format!("{first:?} is not an option")),
    }
}

/// Runs all workers for so long, and sees whether everything adds up when they have ended.
fn run(time: Duration, each_second: impl Fn(Duration, &World)) -> Arc<Ledger> {
    let (world, start) = (Arc::new(World::new()), Instant::now());
    let guards = world.register_fixed();
    let (ended, ends) = mpsc::channel();
    let workers: Vec<_> = WORKERS
        .into_iter()
        .zip(0..)
        .map(|((name, work), seed)| {
            let (world, ended) = (Arc::clone(&world), ended.clone());
            let worker = thread::spawn(move || {
                fastrand::seed(seed);
                work(&world);
                drop(world);
                ended.send(name).expect("it is waited for");
            });
            (name, worker)
        })
        .collect();
    drop(ended);
    while let Some(left) = time.checked_sub(start.elapsed()) {
        thread::sleep(left.min(Duration::from_secs(1)));
        each_second(start.elapsed(), &world);
    }
    world.stop();
    await_ends(&ends);
    for (name, worker) in workers {
        let ending = worker.join().map_or("a panic", |()| "a return");
        expect(name, "a return", ending);
    }
    world.settle(guards)
}

/// Waits for the workers; ends the process if one does not end.
fn await_ends(ends: &Receiver<&str>) {
    let mut hung = WORKERS.map(|(name, _)| name).to_vec();
    let deadline = Instant::now() + PATIENCE;
    while !hung.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        match ends.recv_timeout(left) {
            Ok(name) => hung.retain(|other| *other != name),
            // A worker that has panicked is joined, and told of.
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let after = PATIENCE.as_secs();
                eprintln!("hung, {after} s after the end: {}", hung.join(", "));
                process::exit(1);
            }
        }
    }
}

fn print(elapsed: Duration, world: &World) {
    let topics = world.topics.len() + world.async_topics.len();
    let (elapsed, heap, ledger) = (elapsed.as_secs(), HEAP.current_usage(), &world.ledger);
    println!("{elapsed:>4} s, {ledger}, {topics} topics, heap {heap} B");
}
