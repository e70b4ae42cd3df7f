//! The bus over Redis. Nothing outside this folder knows which Redis library is used.
//!
//! - [`connection`]: one TCP connection that comes back after it was lost
//! - [`settings`]: how such a connection is set up, and `tls`, whom it trusts
//! - [`lease`]: what the key of a lease holds, and the scripts around it
//! - [`server`], [`client`]: the two ends
//! - [`durable`]: the stream of durable messages

mod client;
mod connection;
pub(crate) mod dead_letters;
mod lease;
mod server;
mod settings;
mod stream;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use client::Client;
pub(crate) use server::Server;
pub(crate) use stream::RedisDeadLetters;

use std::time::Duration;

use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::types::Resp3Frame;

use crate::bus::transport::TransportError;

/// How long a command may stay unanswered.
const COMMAND: Duration = Duration::from_secs(5);

/// How long a command about the lease may stay unanswered: short enough for a second attempt
/// before the lease expires.
const LEASE_COMMAND: Duration = Duration::from_secs(2);

/// An error in words, for logs and users.
fn reason(error: &Error) -> String {
    let details = error.details();
    #[cfg(feature = "tls")]
    if let (ErrorKind::IO | ErrorKind::Tls, Some(explained)) = (error.kind(), tls::explain(details))
    {
        return explained;
    }
    // I/O errors come in their debug form; what a reader wants of it is the message in quotes.
    let quoted = details
        .split_once('"')
        .and_then(|(_, rest)| rest.rsplit_once('"'));
    match quoted {
        Some((message, _)) if *error.kind() == ErrorKind::IO => message.to_owned(),
        _ => details.to_owned(),
    }
}

/// What an error means for a command that was given to a connection.
fn failure(error: &Error) -> TransportError {
    match error.kind() {
        // Its queue was full, so that the command was not taken.
        ErrorKind::Backpressure => TransportError::NotDone(reason(error)),
        _ => TransportError::Unknown(reason(error)),
    }
}

/// The reply to a command; an error reply says that it was not done.
fn accepted(frame: Resp3Frame) -> Result<Resp3Frame, TransportError> {
    match frame {
        Resp3Frame::SimpleError { data, .. } => Err(refused(data.to_string())),
        Resp3Frame::BlobError { data, .. } => {
            Err(refused(String::from_utf8_lossy(&data).into_owned()))
        }
        frame => Ok(frame),
    }
}

/// The meaning of an error reply.
fn refused(reply: String) -> TransportError {
    if reply.starts_with("NOPERM") {
        TransportError::NotPermitted(reply)
    } else {
        TransportError::NotDone(reply)
    }
}

/// For a reply of a shape that no Redis sends.
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
    fn reasons_are_for_readers() {
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
