//! The bus over Redis. No other module names the Redis library.
//!
//! - [`connection`]: one TCP connection that is made again after it was lost
//! - [`settings`]: the settings of such a connection, and `tls`, its certificates
//! - [`lease`]: the value of a lease's key, and the scripts around it
//! - [`server`] with [`pops`] and [`known_epochs`], [`client`]: the two ends
//! - [`stream`], [`dead_letters`]: durable messages

mod client;
mod connection;
mod dead_letters;
mod known_epochs;
mod lease;
mod pops;
mod server;
mod settings;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use client::RedisClient;
pub(crate) use dead_letters::RedisDeadLetters;
pub(crate) use server::RedisServer;

use std::time::Duration;

use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::types::Resp3Frame;

use crate::bus::transport::TransportError;

/// Timeout of a command.
const COMMAND: Duration = Duration::from_secs(5);

/// Timeout of a command about the lease: short enough for a second attempt before the lease expires.
const LEASE_COMMAND: Duration = Duration::from_secs(2);

/// A Redis that cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot reach Redis at {address}: {reason}")]
pub(crate) struct Unreachable {
    /// Host and port.
    pub(crate) address: String,
    /// The cause, in words.
    pub(crate) reason: String,
}

/// An error in words, for logs and users.
fn reason(error: &Error) -> String {
    let details = error.details();
    #[cfg(feature = "tls")]
    if let (ErrorKind::IO | ErrorKind::Tls, Some(explained)) = (error.kind(), tls::explain(details))
    {
        return explained;
    }
    // I/O errors come in their debug form; only the message in quotes is for readers.
    let quoted = details
        .split_once('"')
        .and_then(|(_, rest)| rest.rsplit_once('"'));
    match quoted {
        Some((message, _)) if *error.kind() == ErrorKind::IO => message.to_owned(),
        _ => details.to_owned(),
    }
}

/// The error of a command that was given to a connection.
fn failure(error: &Error) -> TransportError {
    match error.kind() {
        // The connection's queue was full, so that the command was not taken.
        ErrorKind::Backpressure => TransportError::NotDone(reason(error)),
        _ => TransportError::Unknown(reason(error)),
    }
}

/// The reply to a command; an error reply is an error.
fn accepted(frame: Resp3Frame) -> Result<Resp3Frame, TransportError> {
    match frame {
        Resp3Frame::SimpleError { data, .. } => Err(refused(data.to_string())),
        Resp3Frame::BlobError { data, .. } => {
            Err(refused(String::from_utf8_lossy(&data).into_owned()))
        }
        frame => Ok(frame),
    }
}

/// The error of an error reply.
fn refused(reply: String) -> TransportError {
    if reply.starts_with("NOPERM") {
        TransportError::NotPermitted(reply)
    } else {
        TransportError::NotDone(reply)
    }
}

/// The error for a reply of a shape that no Redis sends.
fn unexpected() -> TransportError {
    TransportError::Unknown("an unexpected reply".to_owned())
}

fn into_array(frame: Resp3Frame) -> Option<Vec<Resp3Frame>> {
    match frame {
        Resp3Frame::Array { data, .. } => Some(data),
        _ => None,
    }
}

fn into_bytes(frame: Resp3Frame) -> Option<Bytes> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Some(data),
        _ => None,
    }
}

fn into_u64(frame: &Resp3Frame) -> Option<u64> {
    match frame {
        Resp3Frame::Number { data, .. } => u64::try_from(*data).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_extracts_the_message_of_io_errors() {
        let io = |details: &'static str| reason(&Error::new(ErrorKind::IO, details));
        let refused = r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#;
        assert_eq!(io(refused), "Connection refused");
        let lookup = r#"Custom { kind: Uncategorized, error: "failed to look up: no \"x\"" }"#;
        assert_eq!(io(lookup), r#"failed to look up: no \"x\""#);
        assert_eq!(io("Connection closed."), "Connection closed.");
        let reply = Error::new(ErrorKind::Unknown, r#"ERR "a" is not "b""#);
        assert_eq!(reason(&reply), r#"ERR "a" is not "b""#);
    }
}
