//! A message in hand, its repetitions, and who waits for their answer.

use bytes::Bytes;
use tokio::time::Instant;

use crate::proxy::durable::record::Fingerprint;
use crate::proxy::transport::durable::{Attempts, EntryId};
use crate::responder::Origin;

/// A caller that waits for the answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) struct Asker {
    pub(in crate::proxy) origin: Origin,
    /// It waits no longer than until this moment.
    pub(in crate::proxy) deadline: Instant,
}

/// A message as it was taken from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Taken {
    pub(in crate::proxy) id: EntryId,
    pub(in crate::proxy) key: String,
    pub(in crate::proxy) frame: Bytes,
    /// Its deliveries, this one included.
    pub(in crate::proxy) attempts: Attempts,
    pub(in crate::proxy) urn: String,
    pub(in crate::proxy) scope: String,
    /// Tells it from another message of the same scope.
    pub(in crate::proxy) fingerprint: Fingerprint,
    pub(in crate::proxy) asker: Option<Asker>,
}

/// A message in hand.
#[derive(Debug)]
pub(in crate::proxy) struct Card {
    pub(in crate::proxy) message: Taken,
    /// Since when.
    pub(in crate::proxy) since: Instant,
    /// The same message, sent more than once: what becomes of the first becomes of these.
    pub(in crate::proxy) joined: Vec<Joined>,
}

/// A repetition of a message in hand.
#[derive(Debug)]
pub(in crate::proxy) struct Joined {
    id: EntryId,
    attempts: Attempts,
    asker: Option<Asker>,
}

impl Joined {
    pub(super) fn of(message: &Taken) -> Self {
        Self {
            id: message.id,
            attempts: message.attempts,
            asker: message.asker,
        }
    }
}

impl Card {
    pub(in crate::proxy) fn new(message: Taken, since: Instant) -> Self {
        Self {
            message,
            since,
            joined: Vec::new(),
        }
    }

    /// The places of the message and its repetitions in the stream.
    pub(in crate::proxy) fn ids(&self) -> Vec<EntryId> {
        let joined = self.joined.iter().map(|joined| joined.id);
        [self.message.id].into_iter().chain(joined).collect()
    }

    /// All callers that wait for the answer.
    pub(in crate::proxy) fn askers(&self) -> Vec<Asker> {
        let joined = self.joined.iter().map(|joined| joined.asker);
        let all = [self.message.asker].into_iter().chain(joined);
        all.flatten().collect()
    }

    /// The places, and how often each was delivered.
    pub(in crate::proxy) fn attempts(&self) -> Vec<(EntryId, Attempts)> {
        let joined = self.joined.iter();
        let joined = joined.map(|joined| (joined.id, joined.attempts));
        let first = (self.message.id, self.message.attempts);
        [first].into_iter().chain(joined).collect()
    }
}
