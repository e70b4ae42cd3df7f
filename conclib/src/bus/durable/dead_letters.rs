//! Dead letters, for users: durable messages that could not be handled.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bus::config::Config;
use crate::bus::durable::decoded::{Decoded, as_bytes};
use crate::bus::link::ewma::EwmaSize;
use crate::bus::open::{ConnectError, open_dead_letters};
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{DeadLetterEntry, DeadLetterStore, EntryId};
use crate::envelope::Attributes;

/// The number of dead letters in a list unless set otherwise.
const DEFAULT_LIMIT: u32 = 100;

/// The maximum number of dead letters in a list.
const MAX_LIMIT: u32 = 1000;

/// The approximate size of the dead letters that are read at a time, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;

/// The assumed size of a dead letter before any was read, in bytes.
const EXPECTED_SIZE: usize = 64 * 1024;

/// The dead letters of a node: durable messages that failed at every delivery, or that could not be
/// handled at all.
///
/// Dead letters stay until they are replayed or deleted. Beyond 100,000 the oldest are dropped, which
/// is logged as an error with their number.
///
/// Get a handle from [`Proxy::dead_letters`](crate::Proxy::dead_letters), or connect a tool on its own:
///
/// ```
/// use conclib::prelude::*;
/// use conclib::durable::DeadLetters;
///
/// #[derive(ActorMessage, Serialize, Deserialize)]
/// #[message(durable)]
/// struct Order { number: u32 }
///
/// #[derive(Actor)]
/// #[actor(urn = "shop")]
/// struct Shop;
///
/// #[handlers]
/// impl Shop {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::memory();
/// let system = ActorSystem::new();
/// system.spawn(Shop).await?;
/// start_proxy(&system, &config).await?;
///
/// let client = ProxyClient::connect(&config).await?;
/// let asked = client.ask("shop", Order { number: 17 }).idempotency_key("order-17").await;
/// assert!(matches!(asked, Err(AskError::Unhandled { .. })));
///
/// let dead = DeadLetters::connect(&config).await?;
/// let letters = dead.list().limit(10).await?;
/// assert_eq!((&*letters[0].message, &*letters[0].key), ("Order", "order-17"));
/// assert_eq!(dead.get(&letters[0].id).await?.as_ref(), Some(&letters[0]));
/// // A new version of the shop can handle it (replay it then), or it is not needed any longer:
/// assert!(dead.delete(&letters[0].id).await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    transport: Arc<dyn DeadLetterStore>,
}

/// A durable message that could not be handled.
///
/// With serde, its contents are bytes: an array of numbers in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Identifies the dead letter.
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
    /// The number of deliveries.
    pub deliveries: u32,
    /// The reason why the last delivery failed.
    pub reason: String,
    /// The time at which it became a dead letter, on the clock of the bus.
    pub when: SystemTime,
}

impl DeadLetters {
    /// Connects to the dead letters of the node in `config`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: a setting is wrong, or there is no connection.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        Ok(Self::over(open_dead_letters(config).await?))
    }

    pub(crate) fn over(transport: Arc<dyn DeadLetterStore>) -> Self {
        Self { transport }
    }

    /// Lists dead letters, the oldest first: 100 unless [`limit`](ListDeadLetters::limit) sets another
    /// number.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`] if the bus does not answer.
    pub fn list(&self) -> ListDeadLetters {
        ListDeadLetters {
            transport: self.transport.clone(),
            after: String::new(),
            limit: DEFAULT_LIMIT,
        }
    }

    /// Reads a dead letter; `None` if none has this id.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`] if the bus does not answer.
    pub async fn get(&self, id: impl AsRef<str>) -> Result<Option<DeadLetter>, DeadLetterError> {
        match id.as_ref().parse() {
            Ok(id) => Ok(self.transport.get(id).await?.map(DeadLetter::from)),
            Err(()) => Ok(None),
        }
    }

    /// Delivers a dead letter again, as a new message with the same idempotency key, and returns the id of that in the stream;
    /// `None` if there is no dead letter with this id. If a message with that key was handled since, it is not handled again.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`] if the bus does not answer. Then the message may be delivered and still be
    /// listed as a dead letter: replayed once more, it is handled once.
    pub async fn replay(&self, id: impl AsRef<str>) -> Result<Option<String>, DeadLetterError> {
        match id.as_ref().parse() {
            Ok(id) => Ok(self.transport.replay(id).await?.map(|id| id.to_string())),
            Err(()) => Ok(None),
        }
    }

    /// Removes a dead letter for good; false if there is none with this id.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`] if the bus does not answer.
    pub async fn delete(&self, id: impl AsRef<str>) -> Result<bool, DeadLetterError> {
        match id.as_ref().parse() {
            Ok(id) => Ok(self.transport.delete(id).await?),
            Err(()) => Ok(false),
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").finish_non_exhaustive()
    }
}

/// A builder of a list of dead letters, made by [`DeadLetters::list`]: they are read when it is awaited.
#[must_use = "dead letters are read when the list is awaited"]
pub struct ListDeadLetters {
    transport: Arc<dyn DeadLetterStore>,
    after: String,
    limit: u32,
}

impl ListDeadLetters {
    /// Lists only dead letters after this one: with the id of the last one, the next page.
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = id.into();
        self
    }

    /// Sets the maximum number of dead letters, 1 to 1000.
    pub fn limit(mut self, letters: u32) -> Self {
        self.limit = letters.clamp(1, MAX_LIMIT);
        self
    }
}

impl IntoFuture for ListDeadLetters {
    type Output = Result<Vec<DeadLetter>, DeadLetterError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            // After an id that cannot be parsed, the list begins at the first one.
            let after: EntryId = self.after.parse().unwrap_or_default();
            let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
            Ok(list(&*self.transport, after, limit).await?)
        })
    }
}

/// Reads page by page, since a hundred large dead letters would block the connection for other commands.
async fn list(
    transport: &dyn DeadLetterStore,
    mut after: EntryId,
    limit: usize,
) -> Result<Vec<DeadLetter>, TransportError> {
    let mut mean = EwmaSize::expecting(EXPECTED_SIZE);
    let mut letters = Vec::new();
    while letters.len() < limit {
        let count = mean.frames(PAGE_BYTES, limit - letters.len());
        let page = transport.list(after, u32::try_from(count).unwrap_or(u32::MAX));
        let page = page.await?;
        let is_last = page.len() < count;
        for entry in page {
            after = entry.id;
            mean.record(entry.frame.len());
            letters.push(DeadLetter::from(entry));
        }
        if is_last {
            break;
        }
    }
    Ok(letters)
}

impl fmt::Debug for ListDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListDeadLetters")
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl From<DeadLetterEntry> for DeadLetter {
    fn from(entry: DeadLetterEntry) -> Self {
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
            deliveries: entry.deliveries,
            reason: entry.reason,
            when: UNIX_EPOCH + Duration::from_millis(entry.id.0),
        }
    }
}

/// The error of reading or changing dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The bus is unavailable: nothing was done.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
    /// The connection broke: the change may have been made.
    #[error("the connection to the bus broke: {0}")]
    Disconnected(String),
}

impl From<TransportError> for DeadLetterError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NotDone(reason) | TransportError::NotPermitted(reason) => {
                Self::Unavailable(reason)
            }
            TransportError::Unknown(reason) => Self::Disconnected(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Dead letters of one size.
    struct Uniform {
        count: u64,
        size: usize,
        /// The counts of the calls to list.
        listed: Mutex<Vec<u32>>,
    }

    #[async_trait::async_trait]
    impl DeadLetterStore for Uniform {
        async fn list(
            &self,
            after: EntryId,
            count: u32,
        ) -> Result<Vec<DeadLetterEntry>, TransportError> {
            self.listed.lock().unwrap().push(count);
            let numbers = (after.0 + 1..=self.count).take(count as usize);
            let letters = numbers.map(|number| DeadLetterEntry {
                id: EntryId(number, 0),
                key: String::new(),
                frame: vec![0; self.size].into(),
                retry: None,
                deliveries: 1,
                reason: String::new(),
            });
            Ok(letters.collect())
        }

        async fn get(&self, _: EntryId) -> Result<Option<DeadLetterEntry>, TransportError> {
            Ok(None)
        }

        async fn replay(&self, _: EntryId) -> Result<Option<EntryId>, TransportError> {
            Ok(None)
        }

        async fn delete(&self, _: EntryId) -> Result<bool, TransportError> {
            Ok(false)
        }
    }

    fn uniform(count: u64, size: usize) -> Uniform {
        Uniform {
            count,
            size,
            listed: Mutex::default(),
        }
    }

    async fn listed(letters: &Uniform, limit: u32) -> Vec<u64> {
        let letters = list(letters, EntryId::default(), limit as usize).await;
        let ids = letters.unwrap().into_iter().map(|letter| letter.id);
        let ids = ids.map(|id| id.parse::<EntryId>().unwrap());
        ids.map(|id| id.0).collect()
    }

    #[tokio::test]
    async fn large_dead_letters_are_read_a_few_at_a_time() {
        for (count, limit, expected) in [(100, 100, 100), (100, 60, 60), (60, 100, 60)] {
            let large = uniform(count, 256 * 1024);
            let expected: Vec<_> = (1..=expected).collect();
            assert_eq!(listed(&large, limit).await, expected);
            let counts = large.listed.into_inner().unwrap();
            assert!(
                counts[0] <= 16 && counts[1..].iter().all(|count| *count <= 8),
                "{counts:?}"
            );
        }
        let small = uniform(1000, 100);
        assert_eq!(listed(&small, 1000).await.len(), 1000);
        let counts = small.listed.into_inner().unwrap();
        assert!(counts.len() < 10, "{counts:?}");
        assert!(listed(&uniform(0, 0), 9).await.is_empty());
    }
}
