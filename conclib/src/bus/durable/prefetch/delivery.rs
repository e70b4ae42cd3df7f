//! A message in hand, its repetitions, and who waits for their answer.

use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::durable::result_cache::Fingerprint;
use crate::bus::transport::stream::{Attempts, EntryId};
use crate::reply::remote::Origin;

/// A caller that waits for the answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) origin: Origin,
    /// It waits no longer than until this moment.
    pub(crate) deadline: Instant,
}

/// A message as it was taken from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedMessage {
    pub(crate) id: EntryId,
    pub(crate) key: String,
    pub(crate) frame: Bytes,
    /// Its deliveries, this one included.
    pub(crate) attempts: Attempts,
    pub(crate) urn: String,
    pub(crate) dedup_key: String,
    /// Tells it from another message of the same scope.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) caller: Option<Caller>,
}

/// A message in hand.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: ReceivedMessage,
    /// Since when.
    pub(crate) since: Instant,
    /// The same message, sent more than once: what becomes of the first becomes of these.
    pub(crate) duplicates: Vec<Duplicate>,
}

/// A repetition of a message in hand.
#[derive(Debug)]
pub(crate) struct Duplicate {
    id: EntryId,
    attempts: Attempts,
    caller: Option<Caller>,
}

impl Duplicate {
    pub(super) fn of(message: &ReceivedMessage) -> Self {
        Self {
            id: message.id,
            attempts: message.attempts,
            caller: message.caller,
        }
    }
}

impl Delivery {
    pub(crate) fn new(message: ReceivedMessage, since: Instant) -> Self {
        Self {
            message,
            since,
            duplicates: Vec::new(),
        }
    }

    /// The places of the message and its repetitions in the stream.
    pub(crate) fn ids(&self) -> Vec<EntryId> {
        let duplicates = self.duplicates.iter().map(|duplicates| duplicates.id);
        [self.message.id].into_iter().chain(duplicates).collect()
    }

    /// All callers that wait for the answer.
    pub(crate) fn callers(&self) -> Vec<Caller> {
        let duplicates = self.duplicates.iter().map(|duplicates| duplicates.caller);
        let all = [self.message.caller].into_iter().chain(duplicates);
        all.flatten().collect()
    }

    /// The places, and how often each was delivered.
    pub(crate) fn attempts(&self) -> Vec<(EntryId, Attempts)> {
        let duplicates = self.duplicates.iter();
        let duplicates = duplicates.map(|duplicates| (duplicates.id, duplicates.attempts));
        let first = (self.message.id, self.message.attempts);
        [first].into_iter().chain(duplicates).collect()
    }
}
