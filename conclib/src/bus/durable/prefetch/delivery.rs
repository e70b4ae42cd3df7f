//! A message in hand, its repetitions, and who waits for their answer.

use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::durable::result_cache::Fingerprint;
use crate::bus::transport::stream::{Attempts, EntryId};
use crate::reply::remote::Origin;

/// A caller that waits for the answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) origin: Origin,
    /// It waits no longer than until this moment.
    pub(crate) deadline: Instant,
}

/// A message as it was taken from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) id: EntryId,
    pub(crate) key: String,
    pub(crate) frame: Bytes,
    /// Its deliveries, this one included.
    pub(crate) attempts: Attempts,
    pub(crate) urn: String,
    pub(crate) scope: String,
    /// Tells it from another message of the same scope.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) asker: Option<Asker>,
}

/// A message in hand.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) message: Taken,
    /// Since when.
    pub(crate) since: Instant,
    /// The same message, sent more than once: what becomes of the first becomes of these.
    pub(crate) joined: Vec<Joined>,
}

/// A repetition of a message in hand.
#[derive(Debug)]
pub(crate) struct Joined {
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
    pub(crate) fn new(message: Taken, since: Instant) -> Self {
        Self {
            message,
            since,
            joined: Vec::new(),
        }
    }

    /// The places of the message and its repetitions in the stream.
    pub(crate) fn ids(&self) -> Vec<EntryId> {
        let joined = self.joined.iter().map(|joined| joined.id);
        [self.message.id].into_iter().chain(joined).collect()
    }

    /// All callers that wait for the answer.
    pub(crate) fn askers(&self) -> Vec<Asker> {
        let joined = self.joined.iter().map(|joined| joined.asker);
        let all = [self.message.asker].into_iter().chain(joined);
        all.flatten().collect()
    }

    /// The places, and how often each was delivered.
    pub(crate) fn attempts(&self) -> Vec<(EntryId, Attempts)> {
        let joined = self.joined.iter();
        let joined = joined.map(|joined| (joined.id, joined.attempts));
        let first = (self.message.id, self.message.attempts);
        [first].into_iter().chain(joined).collect()
    }
}
