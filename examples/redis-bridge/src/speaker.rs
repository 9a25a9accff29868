//! The speaker: takes messages from the queue to Redis, and gives the listener its pulse.
//!
//! A thread that waits for Redis hears of nothing else, neither that topics come and go nor that
//! the bridge has ended. So each bridge has a channel of its own, on which its speaker wakes its
//! listener: when there is something to do, and each second besides. That second tells a quiet
//! Redis from a dead one, and bounds how long anything can be overlooked.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redis::{Connection, RedisResult};

use crate::bridge::Shared;

/// How many messages may wait for Redis. More are refused.
pub(crate) const QUEUE: usize = 1024;

const PULSE: Duration = Duration::from_secs(1);

pub(crate) enum Outgoing {
    Message { channel: String, payload: String },
    Wake,
}

/// Sends what is in the queue until that ends.
pub(crate) fn speak(
    shared: &Shared,
    queue: &Receiver<Outgoing>,
    mut connection: Connection,
) -> RedisResult<()> {
    let channel = shared.origin.pulse();
    let mut pulse = redis::cmd("PUBLISH");
    pulse.arg(channel).arg("");
    // Nobody has woken the listener while this connection was down.
    pulse.exec(&mut connection)?;
    let mut pulsed = Instant::now();
    loop {
        let first = queue.recv_timeout(PULSE);
        let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
        let mut wakes = first.is_err() || pulsed.elapsed() >= PULSE;
        // What is there goes in one round trip, so that the rate does not depend on its length.
        let (mut batch, mut messages) = (redis::pipe(), 0);
        for outgoing in first.into_iter().chain(queue.try_iter().take(QUEUE)) {
            match outgoing {
                Outgoing::Message { channel, payload } => {
                    batch.cmd("PUBLISH").arg(channel).arg(payload);
                    messages += 1;
                }
                Outgoing::Wake => wakes = true,
            }
        }
        if wakes {
            batch.add_command(pulse.clone());
            pulsed = Instant::now();
        }
        if let Err(why) = batch.exec(&mut connection) {
            // Some may have arrived. Sending them again might double those.
            shared.lost.fetch_add(messages, Ordering::Relaxed);
            return Err(why);
        }
        if is_over {
            return Ok(());
        }
    }
}
