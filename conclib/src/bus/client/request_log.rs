//! The log of a client's requests. The events name a request by the id that its handler's log has; it is
//! computed only if a subscriber wants them.

use tracing::{debug, field};

use crate::bus::link::request_id::request_id;
use crate::error::AskError;
use crate::message::MessageSchema;
use crate::reply::remote::Origin;

/// A request, as the log names it.
pub(super) struct RequestLog<'a> {
    /// `None` for a request that has no number, since it was refused before.
    pub(super) origin: Option<Origin>,
    pub(super) urn: &'a str,
    pub(super) message_name: &'a str,
}

/// Logs at `DEBUG`: a caller has the error, and knows whether it matters.
macro_rules! log {
    ($request:expr, $text:literal $(, $($field:tt)*)?) => {
        debug!(
            target: "conclib::request",
            request = $request.origin.map(|origin| field::display(request_id(origin))),
            urn = $request.urn,
            message_name = $request.message_name,
            $($($field)*,)?
            $text
        )
    };
}

impl RequestLog<'_> {
    #[inline]
    pub(super) fn sending(&self) {
        log!(self, "sending a request");
    }

    /// The reader of a log may compare the schema with that of the other side, if one of them cannot read the other's.
    pub(super) fn failed(&self, error: &AskError, schema: Option<MessageSchema>) {
        let is_unread = matches!(
            error,
            AskError::BadRequest { .. } | AskError::BadResponse { .. }
        );
        let schema = schema.filter(|_| is_unread).map(MessageSchema::line);
        log!(self, "a request failed", %error, schema);
    }

    pub(super) fn dropped(&self) {
        log!(self, "a request was given up: its caller no longer waits");
    }
}
