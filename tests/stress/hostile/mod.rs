//! Hostile code of every kind, at random and all at once: what is called, dropped or woken panics,
//! calls back, and drops what others need. Nothing of it may unwind out of the library, hang, be
//! called or dropped twice, be left behind, or panic without being counted.
//!
//! The seed is printed; `HOSTILE_SEED` sets another one.

mod acts;
mod dice;
mod key;
mod ledger;
mod owned;
mod shelf;
#[cfg(feature = "async")]
mod tasks;
mod wakers;
mod world;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::{LONG, SHORT};
use world::{Hostile, THREADS, World};

/// How long a thread may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has all threads act at random for so long; whether everything adds up then.
fn survives(time: Duration, hostile: Hostile) {
    let given = env::var("HOSTILE_SEED").map(|seed| seed.parse().expect("a seed is a number"));
    let seed: u64 = given.unwrap_or(0x5eed);
    println!("HOSTILE_SEED={seed}");
    let (world, start) = (World::new(hostile), Instant::now());
    let (ended, ends) = mpsc::channel();
    for thread in 0..THREADS {
        let (world, ended) = (Arc::clone(&world), ended.clone());
        thread::spawn(move || {
            dice::seed(seed + thread as u64);
            world.work(thread, || start.elapsed() < time);
            drop(world);
            // Nobody waits for it any more if the time was up.
            let _ = ended.send(());
        });
    }
    drop(ended);
    await_ends(&world, &ends, time);
    let found = world.settle();
    assert!(found.is_empty(), "seed {seed}: {found:#?}");
}

/// Waits for the threads; fails, naming what they do, if one does not end.
fn await_ends(world: &World, ends: &Receiver<()>, time: Duration) {
    let deadline = Instant::now() + time + PATIENCE;
    for _ in 0..THREADS {
        let left = deadline.saturating_duration_since(Instant::now());
        match ends.recv_timeout(left) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => panic!("hung: {:#?}", world.doing()),
            Err(RecvTimeoutError::Disconnected) => panic!("a thread has panicked"),
        }
    }
}

/// Handlers that panic, and closures whose destructors do anything.
const DESTRUCTORS: Hostile = Hostile {
    destructors: true,
    ..Hostile::NOTHING
};

/// The same, with payloads whose destructors panic.
const PAYLOADS: Hostile = Hostile {
    payloads: true,
    ..DESTRUCTORS
};

/// Keys whose destructors do anything, and callbacks that do.
const CALLBACKS: Hostile = Hostile {
    callbacks: true,
    keys: true,
    ..DESTRUCTORS
};

/// Callbacks that throw payloads whose destructors panic.
const PAYLOADS_OF_CALLBACKS: Hostile = Hostile {
    callbacks: true,
    payloads: true,
    ..Hostile::NOTHING
};

/// Recorded values whose destructors do anything, and values that were waited for.
const VALUES: Hostile = Hostile {
    values: true,
    ..Hostile::NOTHING
};

/// Wakers that do anything when they are cloned, woken or dropped.
const WAKERS: Hostile = Hostile {
    wakers: true,
    ..Hostile::NOTHING
};

/// Threads that drop what belongs to topics that end.
const STRANGERS: Hostile = Hostile {
    strangers: true,
    ..Hostile::NOTHING
};

#[test]
fn hostile_destructors_are_survived() {
    survives(SHORT, DESTRUCTORS);
}

#[test]
fn hostile_payloads_are_survived() {
    survives(SHORT, PAYLOADS);
}

#[test]
fn hostile_callbacks_and_keys_are_survived() {
    survives(SHORT, CALLBACKS);
}

#[test]
fn hostile_payloads_of_callbacks_are_survived() {
    survives(SHORT, PAYLOADS_OF_CALLBACKS);
}

#[test]
fn hostile_values_are_survived() {
    survives(SHORT, VALUES);
}

#[test]
fn hostile_wakers_are_survived() {
    survives(SHORT, WAKERS);
}

#[test]
fn topics_end_with_their_last_clone_beside_strangers() {
    survives(SHORT, STRANGERS);
}

#[test]
fn hostile_code_of_every_kind_is_survived() {
    survives(4 * SHORT, Hostile::EVERYTHING);
}

#[test]
#[ignore = "takes 10 seconds"]
fn hostile_payloads_are_survived_for_long() {
    survives(LONG, PAYLOADS);
}

#[test]
#[ignore = "takes 60 seconds"]
fn hostile_callbacks_and_keys_are_survived_for_long() {
    survives(6 * LONG, CALLBACKS);
}

#[test]
#[ignore = "takes 60 seconds"]
fn hostile_code_of_every_kind_is_survived_for_long() {
    survives(6 * LONG, Hostile::EVERYTHING);
}
