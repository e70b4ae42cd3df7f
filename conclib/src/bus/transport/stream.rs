//! What durable messages need of a bus: a stream that keeps them until they are handled, the
//! answers of those that are, and a place for those that nobody could handle.
//!
//! Traits of their own, because a bus may be used without any of this. As for the others, what is
//! decided lives above them, in [`consumer`](crate::bus::server) and
//! [`durable`](crate::bus::durable).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::bus::config::Bus;
use crate::bus::memory;
use crate::bus::transport::{Config, OpenError, TransportError};

/// How many dead letters are kept: when there are more, the oldest are dropped, counted and logged.
pub(crate) const MAX_DEAD_LETTERS: u64 = 100_000;

/// Where a message lies in a stream: the time of its arrival in ms, and its number within that.
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

/// A message to be kept: its idempotency key, and the request frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) key: String,
    pub(crate) frame: Bytes,
}

/// A message that was kept. What somebody else wrote may lack key or frame: they are empty then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamEntry {
    pub(crate) id: EntryId,
    pub(crate) key: String,
    pub(crate) frame: Bytes,
}

/// The deliveries of a message. A bus keeps both numbers with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Attempts {
    pub(crate) deliveries: u32,
    /// The deliveries that have ended in an error. Processes have ended amid the rest, but for one that
    /// may be under way.
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

    /// The last delivery was none: no actor was given the message.
    pub(crate) const fn before(self) -> Self {
        Self {
            deliveries: self.deliveries.saturating_sub(1),
            ..self
        }
    }

    /// The last delivery has ended in an error.
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

/// A message that was given to a consumer and is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingEntry {
    pub(crate) id: EntryId,
    /// How often it was given to one so far.
    pub(crate) attempts: Attempts,
    /// It was given to the consumer that asks.
    pub(crate) is_own: bool,
}

/// What other consumers have, as far as it was looked through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ForeignPage {
    pub(crate) pending: Vec<PendingEntry>,
    /// Behind which message to go on; none if that was all.
    pub(crate) next: Option<EntryId>,
}

/// A message that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryAck {
    pub(crate) id: EntryId,
    /// What is remembered of it, and by which name.
    pub(crate) record: Option<(String, Bytes)>,
}

/// A message that nobody could handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetterEntry {
    /// Where it lay in the stream; in what is read back, where it lies among the dead.
    pub(crate) id: EntryId,
    pub(crate) key: String,
    pub(crate) frame: Bytes,
    pub(crate) deliveries: u32,
    pub(crate) reason: String,
}

/// The stream as a client sees it. A transport may do without.
#[async_trait]
pub(crate) trait StreamProducer: Send + Sync {
    /// Appends messages, in order; how many there are then. If this fails some of them may be kept
    /// all the same: [`NotDone`](TransportError::NotDone) says that none is.
    async fn append(&self, _messages: Vec<NewEntry>) -> Result<u64, TransportError> {
        Err(no_stream())
    }

    /// How many there are.
    async fn len(&self) -> Result<u64, TransportError> {
        Err(no_stream())
    }
}

/// The stream as the actor system sees it: one consumer of its own, and only while it serves.
#[async_trait]
pub(crate) trait StreamConsumer: Send + Sync {
    /// Makes the stream and its group of consumers, where they are not there yet.
    async fn create_group(&self) -> Result<(), TransportError>;

    /// Takes up to `count` messages that were given to nobody, waiting up to `block` for the first
    /// one. They count as delivered once.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may still take some; they become due as if this consumer had died.
    async fn read(&self, count: u32, block: Duration) -> Result<Vec<StreamEntry>, TransportError>;

    /// Up to `count` messages behind `after` that were given to a consumer, this one too, without
    /// a sign of life for `idle`.
    async fn due(
        &self,
        after: EntryId,
        idle: Duration,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError>;

    /// Up to `count` messages behind `after` that are this consumer's own.
    async fn own_claims(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<PendingEntry>, TransportError>;

    /// Looks through up to `count` given messages behind `after` for those that are other consumers',
    /// with a sign of life within `alive`.
    async fn foreign_claims(
        &self,
        after: EntryId,
        alive: Duration,
        count: u32,
    ) -> Result<ForeignPage, TransportError>;

    /// Those of them that are still other consumers', with a sign of life within `alive`.
    async fn still_foreign(
        &self,
        ids: &[EntryId],
        alive: Duration,
    ) -> Result<Vec<EntryId>, TransportError>;

    /// Reads messages, whoever has them, and leaves them there. What is over is not among them.
    async fn read_entries(&self, ids: &[EntryId]) -> Result<Vec<StreamEntry>, TransportError>;

    /// Takes those of them over that have been without a sign of life for `idle`; from then on each
    /// counts as delivered so often. What is over is not among them.
    async fn claim(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<Vec<StreamEntry>, TransportError>;

    /// Gives a sign of life for messages that are in hand.
    async fn extend_claims(&self, ids: &[EntryId]) -> Result<(), TransportError>;

    /// Lays messages aside that were not given to an actor: they count as delivered so often, and
    /// as without a sign of life for `idle`.
    async fn release(
        &self,
        ids: &[EntryId],
        attempts: Attempts,
        idle: Duration,
    ) -> Result<(), TransportError>;

    /// What is remembered by these names.
    async fn cached_results(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<Option<Bytes>>, TransportError>;

    /// Removes messages that are over, after writing what is to be remembered for `keep`; how many
    /// records could not be written.
    async fn acknowledge(
        &self,
        finished: Vec<EntryAck>,
        keep: Duration,
    ) -> Result<usize, TransportError>;

    /// Moves a message to the dead; how many of the oldest were dropped for that. If this fails it
    /// may lie in both places.
    async fn dead_letter(&self, dead: DeadLetterEntry) -> Result<u64, TransportError>;

    /// Ends the connection for reads: a read that waits ends, and none begins. The rest goes on as
    /// long as the server's end is open.
    async fn stop_reading(&self);
}

/// The dead letters of a node.
#[async_trait]
pub(crate) trait DeadLetterStore: Send + Sync {
    /// Up to `count` of them behind `after`, the oldest first.
    async fn list(
        &self,
        after: EntryId,
        count: u32,
    ) -> Result<Vec<DeadLetterEntry>, TransportError>;

    /// Puts one back into the stream, as a new message with the same key; false if it is not there.
    async fn replay(&self, id: EntryId) -> Result<bool, TransportError>;

    /// Removes one; false if it is not there.
    async fn delete(&self, id: EntryId) -> Result<bool, TransportError>;
}

/// For a bus that keeps no messages.
pub(super) fn no_stream() -> TransportError {
    TransportError::NotDone("this bus keeps no messages".to_owned())
}

/// No dead letters, since nothing is kept.
pub(super) struct NoDeadLetters;

#[async_trait]
impl DeadLetterStore for NoDeadLetters {
    async fn list(&self, _: EntryId, _: u32) -> Result<Vec<DeadLetterEntry>, TransportError> {
        Err(no_stream())
    }

    async fn replay(&self, _: EntryId) -> Result<bool, TransportError> {
        Err(no_stream())
    }

    async fn delete(&self, _: EntryId) -> Result<bool, TransportError> {
        Err(no_stream())
    }
}

/// Opens the dead letters of the configured bus.
pub(crate) async fn open_dead_letters(
    config: &Config,
) -> Result<Arc<dyn DeadLetterStore>, OpenError> {
    config.check()?;
    match &config.bus {
        Bus::Memory(bus) => Ok(Arc::new(memory::DeadLetters::new(bus.clone(), config))),
        #[cfg(feature = "redis")]
        Bus::Redis(address) => {
            let dead = crate::bus::redis::DeadLetters::connect(address, config).await?;
            Ok(Arc::new(dead))
        }
        #[cfg(not(feature = "redis"))]
        Bus::Redis(_) => Err(super::without_redis().into()),
    }
}
