//! The stream of durable messages as the rest of the library needs it from a bus: entries that stay
//! until they are acknowledged, cached results of acknowledged messages, and dead letters.
//!
//! The traits are separate from those of requests and replies, because a bus may do without. They
//! decide nothing: decisions are made above them, in [`durable`](crate::bus::durable).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::transport::{ServerTime, TransportError};
use crate::time::backoff::Backoff;

/// The maximum number of stored dead letters. Beyond it the oldest are dropped, counted and logged.
pub(crate) const MAX_DEAD_LETTERS: u64 = 100_000;

/// The maximum length of an idempotency key, in bytes.
pub(crate) const MAX_KEY_LEN: usize = 128;

/// The longest pause before a message is delivered again.
pub(crate) const MAX_RETRY_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// The furthest due time of a message, from when it is sent.
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The position of an entry in a stream: its time of arrival in ms, and its number within that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct EntryId(pub(crate) u64, pub(crate) u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, number) = text.split_once('-').ok_or(())?;
        match (millis.parse(), number.parse()) {
            (Ok(millis), Ok(number)) => Ok(Self(millis, number)),
            _ => Err(()),
        }
    }
}

/// The wishes of a message's sender about its delivery. An entry without them is delivered as the
/// config says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryOptions {
    /// The pauses after failed deliveries; [`MAX_RETRY_PAUSE`] at most, whatever a peer wrote.
    pub(crate) retry: Option<Backoff>,
    /// The message is not delivered before this time.
    pub(crate) due: Option<ServerTime>,
    /// Its client has sent the message before, and repeats it by itself: the entry shares the pauses and
    /// the deliveries of the earlier one.
    pub(crate) is_repetition: bool,
}

/// A message to be appended to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEntry {
    /// The idempotency key.
    pub(crate) key: String,
    /// The request frame.
    pub(crate) frame: Bytes,
    pub(crate) options: EntryOptions,
}

/// An entry of the stream. Key and frame are empty if another program has written an entry without
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamEntry {
    pub(crate) id: EntryId,
    pub(crate) key: String,
    pub(crate) frame: Bytes,
    pub(crate) options: EntryOptions,
}

/// The number of deliveries of a message. The bus stores both numbers with the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Attempts {
    pub(crate) deliveries: u32,
    /// Deliveries that ended in an error. During the others a process has ended, except for one that
    /// may be in progress.
    pub(crate) failures: u32,
}

impl Attempts {
    /// Deliveries of which none has ended in an error.
    pub(crate) const fn new(deliveries: u32) -> Self {
        Self {
            deliveries,
            failures: 0,
        }
    }

    /// One delivery more.
    pub(crate) const fn next(self) -> Self {
        Self {
            deliveries: self.deliveries.saturating_add(1),
            ..self
        }
    }

    /// One delivery less: no actor was given the message.
    pub(crate) const fn undelivered(self) -> Self {
        Self {
            deliveries: self.deliveries.saturating_sub(1),
            ..self
        }
    }

    /// The same after the last delivery has ended in an error.
    pub(crate) const fn failed(self) -> Self {
        Self {
            failures: self.failures.saturating_add(1),
            ..self
        }
    }

    /// The number of deliveries that have not ended in an error.
    pub(crate) const fn unfinished(self) -> u32 {
        self.deliveries.saturating_sub(self.failures)
    }
}

/// An entry that is claimed by a consumer and not yet acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingEntry {
    pub(crate) id: EntryId,
    /// The deliveries so far.
    pub(crate) attempts: Attempts,
    /// The entry is claimed by the consumer that lists it.
    pub(crate) is_own: bool,
}

/// The time since its last heartbeat within which another consumer may handle an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AliveWithin {
    /// For consumers of other instances, or without one.
    pub(crate) foreign: Duration,
    /// For earlier consumers of the same instance. Zero: they have ended, or were replaced.
    pub(crate) predecessors: Duration,
}

/// A page of the entries that other consumers have claimed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ForeignPage {
    pub(crate) pending: Vec<PendingEntry>,
    /// Entries were left out because of their heartbeats.
    pub(crate) has_alive: bool,
    /// The entry after which the next page begins; `None` on the last page.
    pub(crate) next: Option<EntryId>,
}

/// The acknowledgement of an entry: it is removed from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryAck {
    pub(crate) id: EntryId,
    /// The dedup key and the encoded result, if the result is to be cached.
    pub(crate) result: Option<(String, Bytes)>,
}

/// A message that could not be handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetterEntry {
    /// The position in the stream of messages; in a listed dead letter, that among the dead letters.
    pub(crate) id: EntryId,
    pub(crate) key: String,
    pub(crate) frame: Bytes,
    /// The pauses of the message, for its replay.
    pub(crate) retry: Option<Backoff>,
    pub(crate) deliveries: u32,
    pub(crate) reason: String,
}

/// The message of a dead letter, to be delivered again.
impl From<DeadLetterEntry> for NewEntry {
    fn from(letter: DeadLetterEntry) -> Self {
        let DeadLetterEntry {
            key, frame, retry, ..
        } = letter;
        Self {
            key,
            frame,
            options: EntryOptions {
                retry,
                ..EntryOptions::default()
            },
        }
    }
}

/// The message of a delayed entry whose time has come.
impl From<StreamEntry> for NewEntry {
    fn from(entry: StreamEntry) -> Self {
        let options = EntryOptions {
            due: None,
            ..entry.options
        };
        Self {
            key: entry.key,
            frame: entry.frame,
            options,
        }
    }
}

/// The client's end of the stream. A transport may do without.
#[async_trait]
pub(crate) trait StreamProducer: Send + Sync {
    /// Appends messages in order, and returns the length of the stream after that. An error leaves it
    /// open whether some were appended, except for [`NotDone`](TransportError::NotDone): none was.
    async fn append(&self, messages: Vec<NewEntry>) -> Result<u64, TransportError>;

    /// The length of the stream.
    async fn len(&self) -> Result<u64, TransportError>;
}

/// The actor system's end of the stream: a consumer of its own, used only while it holds the lease.
#[async_trait]
pub(crate) trait StreamConsumer: Send + Sync {
    /// Creates the stream and its consumer group if they do not exist.
    async fn create_group(&self) -> Result<(), TransportError>;

    /// Claims up to `count` entries that no consumer has claimed before, waiting up to `block` for the
    /// first one. They count as delivered once.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may still claim entries; they become due as if this consumer had ended.
    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError>;

    /// Lists up to `count` claimed entries after `after`, this consumer's included, without a
    /// heartbeat for `idle`.
    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError>;

    /// Lists up to `count` entries after `after` that this consumer has claimed.
    async fn own_claims(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError>;

    /// Looks through up to `count` claimed entries after `after`, and lists those that other consumers
    /// have claimed, with a heartbeat within `alive`.
    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: AliveWithin,
        count: u32,
    ) -> Result<ForeignPage, TransportError>;

    /// Looks through up to `count` claimed entries after `after`, and lists those of earlier consumers of
    /// the same instance, without a heartbeat for `idle`.
    async fn predecessor_claims(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError>;

    /// The subset of `ids` that other consumers still have claimed, with a heartbeat within `alive`.
    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: AliveWithin,
    ) -> Result<Vec<EntryId>, TransportError>;

    /// Reads entries without claiming them. Removed entries are left out.
    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError>;

    /// Claims those entries that have had no heartbeat for `idle`, and sets their deliveries to
    /// `attempts`. Removed entries are left out.
    async fn claim(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<StreamEntry>, TransportError>;

    /// Sends a heartbeat for claimed entries.
    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError>;

    /// Sets the deliveries of entries to `attempts`, and the time since their last heartbeat to `idle`,
    /// so that other consumers can claim them accordingly sooner.
    async fn release(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError>;

    /// The cached results of these dedup keys.
    async fn cached_results(
        &self,
        dedup_keys: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError>;

    /// Caches the results for `result_ttl`, and then removes the entries. Returns the number of results
    /// that could not be cached.
    async fn acknowledge(
        &self,
        acks: Vec<EntryAck>,
        result_ttl: Duration,
    ) -> Result<usize, TransportError>;

    /// Moves messages to the dead letters, in order, and returns the number of old ones dropped for
    /// them. After an error some may be in both places.
    async fn dead_letter(&self, letters: Vec<DeadLetterEntry>) -> Result<u64, TransportError>;

    /// Moves claimed entries from the stream to those that wait for their due times; false, and nothing
    /// moved, if there are `max` of these already. After an error some may be in both places.
    async fn delay(&self, entries: Vec<StreamEntry>, max: u64) -> Result<bool, TransportError>;

    /// The due time of the next delayed entry.
    async fn next_delayed(&self) -> Result<Option<ServerTime>, TransportError>;

    /// Up to `count` delayed entries that are due at `now`, in the order of their times.
    async fn due_delayed(
        &self,
        now: ServerTime,
        count: u32,
    ) -> Result<Vec<StreamEntry>, TransportError>;

    /// Moves delayed entries back to the stream, as new ones that are due at once. After an error some may
    /// be in both places.
    async fn resume_delayed(&self, entries: Vec<StreamEntry>) -> Result<(), TransportError>;

    /// Closes the connection for reads: a blocked read ends, and later ones fail. The other calls work
    /// until the server's end is closed.
    async fn stop_reading(&self);
}

/// The dead letters of a node.
#[async_trait]
pub(crate) trait DeadLetterStore: Send + Sync {
    /// Lists up to `count` dead letters after `after`, the oldest first.
    async fn list(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<DeadLetterEntry>, TransportError>;

    /// Reads a dead letter; `None` if none has this id.
    async fn get(&self, id: EntryId) -> Result<Option<DeadLetterEntry>, TransportError>;

    /// Appends a dead letter to the stream, as a new message with the same key, and returns the id of that; `None` if no dead
    /// letter has this id.
    async fn replay(&self, id: EntryId) -> Result<Option<EntryId>, TransportError>;

    /// Removes a dead letter; false if none has this id.
    async fn delete(&self, id: EntryId) -> Result<bool, TransportError>;
}
