//! What Redis says about the entries of a stream.

use std::collections::HashMap;
use std::time::Duration;

use fred::types::Resp3Frame;

use super::super::{into_array, into_bytes, into_u64};
use crate::proxy::transport::durable::{Dead, EntryId, Kept, Pending};

/// Entries of a stream; those that were deleted meanwhile come as nulls from an older Redis.
pub(super) fn kept(entries: Resp3Frame) -> Option<Vec<Kept>> {
    let entries = into_array(entries)?.into_iter();
    let entries = entries.filter(|entry| !matches!(entry, Resp3Frame::Null));
    let read = |entry| {
        let (id, mut fields) = fields(entry)?;
        Some(Kept {
            id,
            key: text(fields.remove("k")),
            frame: fields.remove("f").and_then(into_bytes).unwrap_or_default(),
        })
    };
    entries.map(read).collect()
}

/// A message that was given to a consumer.
pub(super) struct Given {
    pub(super) pending: Pending,
    pub(super) consumer: String,
    /// How long ago there was the last sign of life.
    pub(super) idle: Duration,
}

/// What `XPENDING` lists.
pub(super) fn given(listed: Resp3Frame) -> Option<Vec<Given>> {
    let read = |message| {
        let mut parts = into_array(message)?.into_iter();
        let id = parts.next().and_then(id)?;
        let consumer = text(parts.next());
        let idle = parts.next().as_ref().and_then(into_u64)?;
        let deliveries = parts.next().as_ref().and_then(into_u64)?;
        let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
        Some(Given {
            pending: Pending { id, deliveries },
            consumer,
            idle: Duration::from_millis(idle),
        })
    };
    into_array(listed)?.into_iter().map(read).collect()
}

pub(super) fn dead(entry: Resp3Frame) -> Option<Dead> {
    let (id, mut fields) = fields(entry)?;
    Some(Dead {
        id,
        key: text(fields.remove("k")),
        frame: fields.remove("f").and_then(into_bytes).unwrap_or_default(),
        deliveries: text(fields.remove("d")).parse().unwrap_or(0),
        reason: text(fields.remove("r")),
    })
}

/// An entry's id and its fields; none if it was deleted meanwhile.
fn fields(entry: Resp3Frame) -> Option<(EntryId, HashMap<String, Resp3Frame>)> {
    let mut parts = into_array(entry)?.into_iter();
    let id = parts.next().and_then(id)?;
    let fields = parts.next().and_then(pairs).unwrap_or_default();
    Some((id, fields))
}

/// Names and values that follow each other.
pub(super) fn pairs(list: Resp3Frame) -> Option<HashMap<String, Resp3Frame>> {
    let mut list = into_array(list)?.into_iter();
    let mut pairs = HashMap::new();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        pairs.insert(text(Some(name)), value);
    }
    Some(pairs)
}

fn id(frame: Resp3Frame) -> Option<EntryId> {
    std::str::from_utf8(&into_bytes(frame)?).ok()?.parse().ok()
}

pub(super) fn text(frame: Option<Resp3Frame>) -> String {
    let bytes = frame.and_then(into_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
