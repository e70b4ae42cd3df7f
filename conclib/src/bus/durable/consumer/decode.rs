//! Decodes entries of the stream as messages.

use tokio::time::Instant;

use crate::bus::durable::consumer::link::ConsumerLink;
use crate::bus::durable::due::{DueTime, judge_due};
use crate::bus::durable::prefetch::{Caller, ReceivedMessage};
use crate::bus::durable::quarantine::Quarantined;
use crate::bus::durable::result_cache::{Fingerprint, dedup_key};
use crate::bus::protocol::{self, Kind, Received};
use crate::bus::server::receiver::MAX_DEADLINE;
use crate::bus::transport::stream::{Attempts, MAX_KEY_LEN, StreamEntry};
use crate::error::AskError;

/// Decodes an entry.
///
/// # Errors
///
/// The reason why it cannot be handled.
pub(super) fn decode(
    link: &ConsumerLink,
    entry: &StreamEntry,
    attempts: Attempts,
    now: Instant,
) -> Result<ReceivedMessage, AskError> {
    let rejected = |reason: &str| AskError::BadRequest {
        reason: reason.to_owned(),
    };
    let due = judge_due(entry.options.due, link.bus_time(now));
    if due == DueTime::TooFar {
        return Err(rejected("it is due in more than 366 days"));
    }
    let request = Received::decode(&entry.frame).map_err(|error| error.as_ask_error())?;
    if entry.key.is_empty() || entry.key.len() > MAX_KEY_LEN {
        return Err(rejected("it has no idempotency key"));
    }
    let size = protocol::payload_size(&request.contents, &request.attributes);
    let limit = link.limits.max_message;
    if size > limit {
        return Err(AskError::TooLarge { size, limit });
    }
    let clock = &link.shared.clock;
    let caller = match request.kind {
        Kind::Tell => None,
        Kind::Ask => Some(Caller {
            origin: request.origin,
            deadline: clock.to_local(request.deadline, now, MAX_DEADLINE),
        }),
        Kind::Cancel | Kind::Wake | Kind::Confirm => {
            return Err(rejected("it is neither ask nor tell"));
        }
    };
    Ok(ReceivedMessage {
        id: entry.id,
        key: entry.key.clone(),
        frame: entry.frame.clone(),
        retry: entry.options.retry,
        is_repetition: entry.options.is_repetition,
        attempts,
        urn: request.urn.to_owned(),
        name: request.message.to_owned(),
        dedup_key: dedup_key(request.urn, request.message, &entry.key),
        fingerprint: Fingerprint::of(&request.contents),
        contents: request.contents,
        attributes: request.attributes,
        is_left_out: request.is_left_out,
        origin: request.origin,
        caller,
    })
}

/// A claimed message that is to wait for an isolated delivery.
pub(super) fn quarantined(message: &ReceivedMessage, now: Instant) -> Quarantined {
    Quarantined {
        id: message.id,
        attempts: message.attempts.undelivered(),
        urn: message.urn.clone(),
        dedup_key: message.dedup_key.clone(),
        not_before: now,
    }
}
