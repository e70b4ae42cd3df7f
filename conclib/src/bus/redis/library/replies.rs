//! The replies and errors of the library.

use bytes::Bytes;
use fred::error::{Error, ErrorKind};
use fred::types::Resp3Frame;

#[cfg(feature = "tls")]
use crate::bus::redis::tls;
use crate::bus::transport::TransportError;

/// An error in words, for logs and users.
pub(super) fn reason(error: &Error) -> String {
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
pub(super) fn failure(error: &Error) -> TransportError {
    match error.kind() {
        // The connection's queue was full, so that the command was not taken.
        ErrorKind::Backpressure => TransportError::NotDone(reason(error)),
        _ => TransportError::Unknown(reason(error)),
    }
}

/// The error for a reply of a shape that no Redis sends.
pub(in crate::bus::redis) fn unexpected() -> TransportError {
    TransportError::Unknown("an unexpected reply".to_owned())
}

pub(in crate::bus::redis) fn into_array(frame: Resp3Frame) -> Option<Vec<Resp3Frame>> {
    match frame {
        Resp3Frame::Array { data, .. } => Some(data),
        _ => None,
    }
}

pub(in crate::bus::redis) fn into_bytes(frame: Resp3Frame) -> Option<Bytes> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Some(data),
        _ => None,
    }
}

pub(super) fn bytes_of(frame: &Resp3Frame) -> Option<&[u8]> {
    match frame {
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Some(data),
        _ => None,
    }
}

pub(in crate::bus::redis) fn into_u64(frame: &Resp3Frame) -> Option<u64> {
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
