//! Decodes the replies of Redis about the entries of a stream.

use std::collections::HashMap;
use std::time::Duration;

use fred::types::Resp3Frame;

use crate::bus::redis::library::{into_array, into_bytes, into_u64};
use crate::bus::redis::stream::options;
use crate::bus::transport::stream::{
    Attempts, DeadLetterEntry, EntryId, EntryOptions, PendingEntry, StreamEntry,
};

/// Decodes entries of a stream. An older Redis sends null for entries deleted meanwhile.
pub(crate) fn stream_entries(entries: Resp3Frame) -> Option<Vec<StreamEntry>> {
    let entries = into_array(entries)?.into_iter();
    let entries = entries.filter(|entry| !matches!(entry, Resp3Frame::Null));
    let read = |entry| {
        let (id, mut fields) = fields(entry)?;
        Some(StreamEntry {
            id,
            key: text(fields.remove("k")),
            frame: fields.remove("f").and_then(into_bytes).unwrap_or_default(),
            options: entry_options(&mut fields),
        })
    };
    entries.map(read).collect()
}

/// A claimed entry.
pub(super) struct EntryClaim {
    pub(super) id: EntryId,
    attempts: Attempts,
    pub(super) consumer: String,
    /// The time since the last heartbeat.
    pub(super) idle: Duration,
}

impl EntryClaim {
    /// The entry as the consumer of this name lists it.
    pub(super) fn seen_by(&self, consumer: &str) -> PendingEntry {
        PendingEntry {
            id: self.id,
            attempts: self.attempts,
            is_own: self.consumer == consumer,
        }
    }
}

/// Redis stores one number for an entry: the deliveries, plus this for each that has ended in an error.
const FAILURE: u64 = 1_000_000;

/// Encodes both numbers in the one that Redis stores.
pub(super) fn count_of(attempts: Attempts) -> i64 {
    let deliveries = u64::from(attempts.deliveries).min(FAILURE - 1);
    let count = u64::from(attempts.failures) * FAILURE + deliveries;
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Decodes the number that Redis stores.
fn attempts(count: u64) -> Attempts {
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Attempts {
        deliveries: number(count % FAILURE),
        failures: number(count / FAILURE),
    }
}

/// Decodes the list of `XPENDING`.
pub(super) fn claims(listed: Resp3Frame) -> Option<Vec<EntryClaim>> {
    let read = |message| {
        let mut parts = into_array(message)?.into_iter();
        let id = parts.next().and_then(id)?;
        let consumer = text(parts.next());
        let idle = parts.next().as_ref().and_then(into_u64)?;
        let count = parts.next().as_ref().and_then(into_u64)?;
        Some(EntryClaim {
            id,
            attempts: attempts(count),
            consumer,
            idle: Duration::from_millis(idle),
        })
    };
    into_array(listed)?.into_iter().map(read).collect()
}

/// Decodes a dead letter.
pub(crate) fn dead_letter(entry: Resp3Frame) -> Option<DeadLetterEntry> {
    let (id, mut fields) = fields(entry)?;
    Some(DeadLetterEntry {
        id,
        key: text(fields.remove("k")),
        frame: fields.remove("f").and_then(into_bytes).unwrap_or_default(),
        retry: entry_options(&mut fields).retry,
        deliveries: text(fields.remove("d")).parse().unwrap_or(0),
        reason: text(fields.remove("r")),
    })
}

fn entry_options(fields: &mut HashMap<String, Resp3Frame>) -> EntryOptions {
    options::read(|name| fields.remove(name).map(|value| text(Some(value))))
}

/// Decodes an entry: its id and its fields, without fields if it was deleted meanwhile.
fn fields(entry: Resp3Frame) -> Option<(EntryId, HashMap<String, Resp3Frame>)> {
    let mut parts = into_array(entry)?.into_iter();
    let id = parts.next().and_then(id)?;
    let fields = parts.next().and_then(pairs).unwrap_or_default();
    Some((id, fields))
}

/// Decodes a list of names, each followed by its value.
pub(super) fn pairs(list: Resp3Frame) -> Option<HashMap<String, Resp3Frame>> {
    let mut list = into_array(list)?.into_iter();
    let mut pairs = HashMap::new();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        pairs.insert(text(Some(name)), value);
    }
    Some(pairs)
}

pub(crate) fn id(frame: Resp3Frame) -> Option<EntryId> {
    std::str::from_utf8(&into_bytes(frame)?).ok()?.parse().ok()
}

pub(super) fn text(frame: Option<Resp3Frame>) -> String {
    let bytes = frame.and_then(into_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_stores_deliveries_and_failures() {
        for (deliveries, failures, count) in [(1, 0, 1), (0, 0, 0), (3, 2, 2_000_003)] {
            let both = Attempts {
                deliveries,
                failures,
            };
            assert_eq!(count_of(both), count);
            assert_eq!(attempts(u64::try_from(count).unwrap()), both);
        }
        let most = Attempts {
            deliveries: u32::MAX,
            failures: u32::MAX,
        };
        let stored = attempts(u64::try_from(count_of(most)).unwrap());
        assert_eq!((stored.deliveries, stored.failures), (999_999, u32::MAX));
        assert_eq!(attempts(u64::MAX).failures, u32::MAX);
    }
}
