//! The log of messages that do not decode: mostly, their sender is of another version than their actor.

use tokio::time::Instant;
use tracing::warn;

use crate::bus::link::log_once::printable;
use crate::bus::link::urn_log::UrnLog;
use crate::message::MessageSchema;

/// Logs each message once a minute, and at most eight of them: their senders set the pace.
#[derive(Debug, Default)]
pub(crate) struct SkewLog(UrnLog);

impl SkewLog {
    /// Records a message that does not decode as the type of its handler.
    pub(crate) fn record(
        &self,
        message_name: &str,
        error: &dyn std::error::Error,
        schema: Option<MessageSchema>,
    ) {
        if let Some(omitted) = self.0.admit(message_name, Instant::now()) {
            let (message_name, error) = (printable(message_name), printable(&error.to_string()));
            let schema = schema.map(MessageSchema::line);
            warn!(
                %message_name, %error, schema, omitted,
                "refused a message that does not decode, mostly of a sender of another version: further ones of its name are \
                 counted for a minute, and not logged"
            );
        }
    }
}
