//! A prefetched message, its duplicates, and the callers that wait for the result.

use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::durable::result_cache::Fingerprint;
use crate::bus::transport::stream::{Attempts, EntryId};
use crate::envelope::Attributes;
use crate::reply::remote::Origin;
use crate::time::backoff::Backoff;

/// Identifies a prefetched message until it is acknowledged, released or deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct DeliveryTicket(pub(crate) u64);

/// A caller that waits for the result of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) origin: Origin,
    /// The caller stops waiting at this moment.
    pub(crate) deadline: Instant,
}

/// A claimed and decoded message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedMessage {
    pub(crate) id: EntryId,
    pub(crate) key: String,
    /// The undecoded request, for a dead letter.
    pub(crate) frame: Bytes,
    /// The pauses after failed deliveries, if they are not those of the config.
    pub(crate) retry: Option<Backoff>,
    /// Its client has sent it before, and repeats it by itself.
    pub(crate) is_repetition: bool,
    /// The deliveries, including the next one.
    pub(crate) attempts: Attempts,
    pub(crate) urn: String,
    /// The name of the message on the wire.
    pub(crate) name: String,
    pub(crate) contents: Bytes,
    pub(crate) attributes: Attributes,
    /// Left out of the traces.
    pub(crate) is_left_out: bool,
    pub(crate) dedup_key: String,
    /// Tells a duplicate from another message with the same dedup key.
    pub(crate) fingerprint: Fingerprint,
    /// The request that stored it, for logs.
    pub(crate) origin: Origin,
    pub(crate) caller: Option<Caller>,
}

/// A prefetched message and its duplicates.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: ReceivedMessage,
    /// Entries with the same message, sent more than once: they share its outcome.
    pub(crate) duplicates: Vec<Duplicate>,
}

/// A duplicate of a prefetched message.
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
    pub(crate) fn new(message: ReceivedMessage) -> Self {
        Self {
            message,
            duplicates: Vec::new(),
        }
    }

    /// The entries of the message and its duplicates.
    pub(crate) fn ids(&self) -> Vec<EntryId> {
        let duplicates = self.duplicates.iter().map(|duplicate| duplicate.id);
        [self.message.id].into_iter().chain(duplicates).collect()
    }

    /// All callers that wait for the result.
    pub(crate) fn callers(&self) -> Vec<Caller> {
        let duplicates = self.duplicates.iter().map(|duplicate| duplicate.caller);
        let all = [self.message.caller].into_iter().chain(duplicates);
        all.flatten().collect()
    }

    /// The entries with the deliveries of each, including this one.
    pub(crate) fn attempts(&self) -> Vec<(EntryId, Attempts)> {
        let duplicates = self.duplicates.iter();
        let duplicates = duplicates.map(|duplicate| (duplicate.id, duplicate.attempts));
        let first = (self.message.id, self.message.attempts);
        [first].into_iter().chain(duplicates).collect()
    }

    /// The entries after a delivery that has failed: duplicates share the deliveries of the message.
    pub(crate) fn failed(&self) -> Vec<(EntryId, Attempts)> {
        let attempts = self.message.attempts.failed();
        self.ids().into_iter().map(|id| (id, attempts)).collect()
    }

    /// The entries with the deliveries of each, without this one, since no actor was given it.
    pub(crate) fn undelivered(&self) -> Vec<(EntryId, Attempts)> {
        let mut entries = self.attempts();
        for (_, attempts) in &mut entries {
            *attempts = attempts.undelivered();
        }
        entries
    }
}
