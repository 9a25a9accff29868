//! The listener: subscribes to what this process wants to hear, and notifies its topics.

use std::sync::atomic::Ordering;

use redis::{Connection, Msg, RedisResult};

use crate::bridge::{Shared, Topics};
use crate::channels::Changes;

/// Notifies the topics of what other bridges publish, until this one is over.
pub(crate) fn listen(
    shared: &Shared,
    topics: &Topics,
    mut connection: Connection,
) -> RedisResult<()> {
    let pulse = shared.origin.pulse();
    let mut changes = shared.channels.take();
    changes.gained.insert(pulse.clone());
    let mut unconfirmed = send(changes, &mut connection)?;
    while !shared.is_over.load(Ordering::Relaxed) {
        let reply = connection.recv_response()?.extract_error()?;
        match Msg::from_owned_value(reply) {
            Some(message) if message.get_channel_name() != pulse => {
                if let Some(text) = shared.origin.open(message.get_payload_bytes()) {
                    topics.notify(message.get_channel_name(), text);
                }
                continue;
            }
            Some(_) => {}
            // Redis confirms each channel by itself.
            None => unconfirmed = unconfirmed.saturating_sub(1),
        }
        // One round after the other, so that it is known what is confirmed.
        if unconfirmed == 0 {
            unconfirmed = send(shared.channels.take(), &mut connection)?;
        }
    }
    Ok(())
}

/// Sends changes, in one packet because a second one would wait for the first to be acknowledged;
/// how many confirmations are to come.
fn send(changes: Changes, connection: &mut Connection) -> RedisResult<usize> {
    let count = changes.gained.len() + changes.lost.len();
    if count == 0 {
        return Ok(0);
    }
    let mut commands = redis::pipe();
    for channel in changes.gained {
        commands.cmd("SUBSCRIBE").arg(channel);
    }
    for channel in changes.lost {
        commands.cmd("UNSUBSCRIBE").arg(channel);
    }
    connection.send_packed_command(&commands.get_packed_pipeline())?;
    Ok(count)
}
