//! The log and the counts of messages that do not decode: mostly, their sender is of another version than their actor.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::bus::link::log_once::printable;
use crate::bus::link::urn_log::UrnLog;
use crate::message::MessageSchema;

/// The number of messages with counts of their own.
const MAX_MESSAGES: usize = 256;

/// The name of all other messages, and of those whose types have no name.
const OTHER: &str = "_OTHER";

/// A message that did not decode as the type of its handler, with the number of times, by
/// [`SchemasQuery`](crate::inspect::SchemasQuery).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UndecodedMessage {
    /// The name of the handler's message; `_OTHER` for those beyond the first 256 ones, together.
    pub message: Cow<'static, str>,
    /// Its fields and its response as the handler knows them: see [`MessageSchema`](crate::message::MessageSchema).
    pub schema: Option<Cow<'static, str>>,
    /// The number of messages that did not decode.
    pub count: u64,
    /// The time since the last one.
    pub age: Duration,
}

/// Logs each message once a minute, and at most eight of them: their senders set the pace. Counts all.
#[derive(Debug, Default)]
pub(crate) struct SkewLog {
    log: UrnLog,
    /// The counts by the names and schemas of handlers: no peer's.
    counts: Mutex<HashMap<TypeOfMessage, Undecoded>>,
}

/// The name and the schema of a message type.
type TypeOfMessage = (&'static str, Option<MessageSchema>);

#[derive(Debug)]
struct Undecoded {
    count: u64,
    last: Instant,
}

impl SkewLog {
    /// Records a message that does not decode as the type of its handler.
    pub(crate) fn record(
        &self,
        message_name: &'static str,
        error: &dyn std::error::Error,
        schema: Option<MessageSchema>,
    ) {
        self.count((message_name, schema), Instant::now());
        if let Some(omitted) = self.log.admit(message_name, Instant::now()) {
            let (message_name, error) = (printable(message_name), printable(&error.to_string()));
            let schema = schema.map(MessageSchema::line);
            warn!(
                %message_name, %error, schema, omitted,
                "refused a message that does not decode, mostly of a sender of another version: further ones of its name are \
                 counted for a minute, and not logged"
            );
        }
    }

    fn count(&self, message: TypeOfMessage, now: Instant) {
        let mut counts = self.counts.lock();
        let has_room = counts.contains_key(&message) || counts.len() < MAX_MESSAGES;
        let message = if has_room && !message.0.is_empty() {
            message
        } else {
            (OTHER, None)
        };
        let none = Undecoded {
            count: 0,
            last: now,
        };
        let undecoded = counts.entry(message).or_insert(none);
        undecoded.count = undecoded.count.saturating_add(1);
        undecoded.last = now;
    }

    /// The messages that did not decode, those that did so last first.
    pub(crate) fn counts(&self) -> Vec<UndecodedMessage> {
        let counts = self.counts.lock();
        let counts = counts.iter().map(|((name, schema), undecoded)| {
            let message = UndecodedMessage {
                message: Cow::Borrowed(*name),
                schema: schema.map(|schema| schema.line().into()),
                count: undecoded.count,
                age: undecoded.last.elapsed(),
            };
            (undecoded.last, message)
        });
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by(|(a, _), (b, _)| b.cmp(a));
        counts.into_iter().map(|(_, message)| message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_beyond_the_bound_are_counted_together() {
        let (log, start) = (SkewLog::default(), Instant::now());
        for round in 0..2 {
            for number in 0..MAX_MESSAGES + 10 {
                let name: &'static str = format!("Message{number}").leak();
                log.count((name, None), start + Duration::from_secs(round));
            }
        }
        let schema = Some(MessageSchema::new("Message0 { n: u8 }"));
        log.count(("Message0", schema), start);
        let counts = log.counts();
        assert_eq!(counts.len(), MAX_MESSAGES + 1);
        let of = |name: &str| counts.iter().find(|message| message.message == name);
        assert_eq!(of("Message7").map(|message| message.count), Some(2));
        assert_eq!(of(OTHER).map(|message| message.count), Some(21));
    }
}
