//! Lists of the durable messages that are not handled yet.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bus::durable::decoded::{Decoded, as_bytes};
use crate::bus::link::ewma::EwmaSize;
use crate::bus::monitor::{BusMonitor, MonitorError, stored_at};
use crate::bus::transport::stream::{EntryId, StreamEntry};
use crate::envelope::Attributes;

/// The number of messages in a list unless set otherwise.
const DEFAULT_LIMIT: u32 = 100;

/// The maximum number of messages in a list.
const MAX_LIMIT: u32 = 1000;

/// The approximate size of the messages that are read at a time, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;

/// The assumed size of a message before any was read, in bytes.
const EXPECTED_SIZE: usize = 64 * 1024;

/// A durable message that is not handled yet.
///
/// With serde, its contents are bytes: an array of numbers in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredMessage {
    /// Its position in the stream.
    pub id: String,
    /// The URN of the recipient; empty if the request cannot be decoded.
    pub urn: String,
    /// The name of the message on the wire; empty if the request cannot be decoded.
    pub message: String,
    /// The idempotency key of the message.
    pub key: String,
    /// The encoded message; the whole request if that cannot be decoded.
    #[serde(with = "as_bytes")]
    pub contents: Bytes,
    /// The attributes of the request.
    pub attributes: Attributes,
    /// The time at which it was stored, on the clock of the bus.
    pub stored_at: SystemTime,
}

impl From<StreamEntry> for StoredMessage {
    fn from(entry: StreamEntry) -> Self {
        let Decoded {
            urn,
            message,
            contents,
            attributes,
        } = Decoded::of(entry.frame);
        Self {
            id: entry.id.to_string(),
            urn,
            message,
            key: entry.key,
            contents,
            attributes,
            stored_at: stored_at(entry.id),
        }
    }
}

/// A builder of a list of stored messages, made by [`BusMonitor::list_durable`]: they are read when it is
/// awaited.
#[must_use = "messages are read when the list is awaited"]
#[derive(Debug)]
pub struct ListDurable {
    monitor: BusMonitor,
    after: String,
    limit: u32,
}

impl ListDurable {
    pub(super) fn new(monitor: BusMonitor) -> Self {
        Self {
            monitor,
            after: String::new(),
            limit: DEFAULT_LIMIT,
        }
    }

    /// Lists only messages after this one: with the id of the last one, the next page.
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = id.into();
        self
    }

    /// Sets the maximum number of messages, 1 to 1000.
    pub fn limit(mut self, messages: u32) -> Self {
        self.limit = messages.clamp(1, MAX_LIMIT);
        self
    }

    /// Reads page by page, since a hundred large messages would block the connection for other commands.
    async fn read(self) -> Result<Vec<StoredMessage>, MonitorError> {
        // After an id that cannot be parsed, the list begins at the first one.
        let mut after: EntryId = self.after.parse().unwrap_or_default();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut mean = EwmaSize::expecting(EXPECTED_SIZE);
        let mut messages = Vec::new();
        while messages.len() < limit {
            let count = mean.frames(PAGE_BYTES, limit - messages.len());
            let bounded = u32::try_from(count).unwrap_or(u32::MAX);
            let BusMonitor { view, keys } = &self.monitor;
            let page = view.entries(keys, after, bounded).await?;
            let is_last = page.len() < count;
            for entry in page {
                after = entry.id;
                mean.record(entry.frame.len());
                messages.push(StoredMessage::from(entry));
            }
            if is_last {
                break;
            }
        }
        Ok(messages)
    }
}

impl IntoFuture for ListDurable {
    type Output = Result<Vec<StoredMessage>, MonitorError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.read())
    }
}
