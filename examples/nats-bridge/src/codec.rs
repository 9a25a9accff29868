//! [`Codec`]: how events are written into messages and read out of them.

use std::borrow::Borrow;

/// The error of a codec or the client.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A conversion of events to the payloads of messages and back.
///
/// All processes that share a subject need the same codec. Payloads are untrusted: `decode` has to
/// expect any input. If it panics, that counts as an error.
pub trait Codec<E: ?Sized>: Send + Sync + 'static {
    /// Encodes an event.
    fn encode(&self, event: &E) -> Vec<u8>;

    /// Decodes an event, which may borrow from the payload.
    ///
    /// # Errors
    ///
    /// If the payload is not an encoding of an event; the message is then discarded and counted.
    fn decode(&self, payload: &[u8]) -> Result<impl Borrow<E>, Error>;
}

/// A codec for events that are text, as UTF-8.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Codec<str> for Text {
    fn encode(&self, event: &str) -> Vec<u8> {
        event.into()
    }

    fn decode(&self, payload: &[u8]) -> Result<impl Borrow<str>, Error> {
        Ok(std::str::from_utf8(payload)?)
    }
}

/// A codec for events of any type that `serde` can serialize and deserialize, as JSON.
///
/// Publishing an event panics if JSON cannot express it, for example a map whose keys are not
/// strings.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

#[cfg(feature = "json")]
impl<E: serde::Serialize + serde::de::DeserializeOwned> Codec<E> for Json {
    fn encode(&self, event: &E) -> Vec<u8> {
        serde_json::to_vec(event).expect("an event that JSON can express")
    }

    fn decode(&self, payload: &[u8]) -> Result<impl Borrow<E>, Error> {
        Ok(serde_json::from_slice::<E>(payload)?)
    }
}
