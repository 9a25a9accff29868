//! [`Link`]: one of the two connections to Redis, made anew whenever it breaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Connection, RedisError, RedisResult};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(1);

/// How long Redis may be silent. It has something to say each second; see `speaker.rs`.
const SILENCE: Duration = Duration::from_secs(3);

/// The pauses between attempts to connect, from the first on, and at most.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(800);

/// Whether a connection is up, and why it is not.
#[derive(Debug, Default)]
pub(crate) struct Link {
    fault: Mutex<Option<String>>,
}

/// A connection that answers, and on which nothing waits for ever.
pub(crate) fn connect(client: &Client) -> RedisResult<Connection> {
    let mut connection = client.get_connection_with_timeout(CONNECT)?;
    connection.set_read_timeout(Some(SILENCE))?;
    connection.set_write_timeout(Some(SILENCE))?;
    redis::cmd("PING").exec(&mut connection)?;
    Ok(connection)
}

/// What is wrong. Of a time-out the system says that a resource is unavailable.
pub(crate) fn describe(why: &RedisError) -> String {
    if why.is_timeout() {
        "it does not answer".to_owned()
    } else {
        why.to_string()
    }
}

impl Link {
    pub(crate) fn is_up(&self) -> bool {
        self.lock().is_none()
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Serves by one connection after the other, until `serve` says that it has ended.
    pub(crate) fn keep(
        &self,
        client: &Client,
        first: Connection,
        is_over: &AtomicBool,
        mut serve: impl FnMut(Connection) -> RedisResult<()>,
    ) {
        let (mut connected, mut pause) = (Ok(first), FIRST);
        loop {
            let start = Instant::now();
            let served = connected.and_then(|connection| {
                *self.lock() = None;
                serve(connection)
            });
            let Err(why) = served else {
                return;
            };
            *self.lock() = Some(describe(&why));
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            // A server that accepts us only to throw us out is not worth a new beginning.
            pause = match start.elapsed() {
                lasted if lasted > LONGEST => FIRST,
                _ => LONGEST.min(2 * pause),
            };
            thread::sleep(pause);
            connected = connect(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
