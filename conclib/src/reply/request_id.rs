//! The number by which the logs of both sides name a request.

use std::fmt;

/// Names a request from another process in logs, in the process of its client and in that of its actor:
/// 16 hexadecimal digits.
///
/// It is a one-way hash of the client and its number for the request. Nothing can be sent or received with
/// it, so that it may be stored and shown. A durable message that is delivered again keeps it.
///
/// A handler reads it by [`Context::request_id`](crate::Context::request_id). The page on
/// [logging](crate::docs::logging) says which logs have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}
