//! A check that a value does not change on the bus.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::{CodecError, decode, encode};

/// Writes a value as the bus writes it, reads it back, and compares the two: for tests of messages
/// and responses.
///
/// Some values change on the bus and not in a local ask; [`RemoteMessage`](crate::message::RemoteMessage)
/// lists them.
///
/// # Errors
///
/// [`RoundTripError`] if the value cannot be written or read, or is another one afterwards.
///
/// ```
/// use conclib::prelude::*;
/// use conclib::test::round_trips;
///
/// #[derive(ActorMessage, Serialize, Deserialize, Debug, PartialEq)]
/// struct SetLimit { limit: Option<Option<u32>> }
///
/// assert!(round_trips(&SetLimit { limit: Some(Some(3)) }).is_ok());
/// // Read back as `None`.
/// assert!(round_trips(&SetLimit { limit: Some(None) }).is_err());
/// ```
pub fn round_trips<T>(value: &T) -> Result<(), RoundTripError>
where
    T: Serialize + DeserializeOwned + PartialEq + fmt::Debug,
{
    let bytes = encode(value).map_err(RoundTripError::Unwritable)?;
    let read: T = decode(&bytes).map_err(RoundTripError::Unreadable)?;
    if read == *value {
        return Ok(());
    }
    Err(RoundTripError::Changed {
        sent: format!("{value:?}"),
        received: format!("{read:?}"),
    })
}

/// The reason for which a value does not survive the bus; see [`round_trips`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoundTripError {
    /// Its `Serialize` fails.
    #[error("the value cannot be sent over the bus")]
    Unwritable(#[source] CodecError),
    /// Its `Deserialize` fails on bytes that its `Serialize` wrote.
    #[error("the value cannot be read from the bus")]
    Unreadable(#[source] CodecError),
    /// The value read is not the value sent.
    #[error("the value changes on the bus: sent {sent}, received {received}")]
    #[non_exhaustive]
    Changed {
        /// The value before, by its `Debug`.
        sent: String,
        /// The value afterwards, by its `Debug`.
        received: String,
    },
}
