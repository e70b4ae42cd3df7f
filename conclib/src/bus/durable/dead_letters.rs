//! DeadLetterEntry letters, for users: durable messages that nobody could handle.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::bus::config::Config;
use crate::bus::link::ewma::MeanSize;
use crate::bus::protocol::Received;
use crate::bus::transport::stream::{DeadLetterEntry, DeadLetterStore, EntryId, open_dead_letters};
use crate::bus::transport::{OpenError, TransportError};
use crate::envelope::Attributes;

/// How many are listed unless said otherwise, and at most.
const LIMITS: (u32, u32) = (100, 1000);

/// About how many bytes of them are asked for at a time …
const PAGE_BYTES: usize = 1024 * 1024;

/// … and how large they are taken to be before any has come.
const EXPECTED: usize = 64 * 1024;

/// The dead letters of a node: durable messages that failed at every delivery, or that could not be
/// handled at all.
///
/// They stay until they are replayed or deleted. Beyond 100,000 the oldest are dropped, which is
/// logged as an error with their number.
///
/// From [`Proxy::dead_letters`](crate::Proxy::dead_letters), or on its own, for a tool:
///
/// ```
/// use conclib::prelude::*;
/// use conclib::{Config, DeadLetters, ProxyClient, start_proxy};
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
/// start_proxy(&system, &config).await?;
/// system.spawn(Shop).await?;
///
/// let client = ProxyClient::connect(&config).await?;
/// let asked = client.ask("shop", Order { number: 17 }).idempotency_key("order-17").await;
/// assert!(matches!(asked, Err(AskError::Unhandled { .. })));
///
/// let dead = DeadLetters::connect(&config).await?;
/// let letters = dead.list().limit(10).await?;
/// assert_eq!((&*letters[0].message, &*letters[0].key), ("Order", "order-17"));
/// // A new version of the shop knows what to do with it, or nobody wants it any more:
/// assert!(dead.delete(&letters[0].id).await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct DeadLetters {
    transport: Arc<dyn DeadLetterStore>,
}

/// A durable message that nobody could handle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Names it among the dead.
    pub id: String,
    /// Whom it was for; empty if it cannot be read.
    pub urn: String,
    /// Its name on the wire; empty if it cannot be read.
    pub message: String,
    /// Its idempotency key.
    pub key: String,
    /// The message, as it came; the whole request if that cannot be read.
    pub contents: Bytes,
    /// What travelled with it.
    pub attributes: Attributes,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Why the last delivery failed.
    pub reason: String,
    /// When it was given up, on the clock of the bus.
    pub when: SystemTime,
}

impl DeadLetters {
    /// Connects to those of the config's node.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: a setting is wrong, or there is no connection.
    pub async fn connect(config: &Config) -> Result<Self, OpenError> {
        Ok(Self::over(open_dead_letters(config).await?))
    }

    pub(crate) fn over(transport: Arc<dyn DeadLetterStore>) -> Self {
        Self { transport }
    }

    /// Lists them, the oldest first: 100 unless [`limit`](ListDeadLetters::limit) says otherwise.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`] if the bus does not answer.
    pub fn list(&self) -> ListDeadLetters {
        ListDeadLetters {
            transport: self.transport.clone(),
            after: String::new(),
            limit: LIMITS.0,
        }
    }

    /// Has one delivered again, as a new message with the same idempotency key; false if there is
    /// none with this id. If the same key was handled meanwhile, it is not handled again.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`] if the bus does not answer. Then it may be delivered and still be listed:
    /// replayed once more, it is handled once.
    pub async fn replay(&self, id: impl AsRef<str>) -> Result<bool, DeadLetterError> {
        match id.as_ref().parse() {
            Ok(id) => Ok(self.transport.replay(id).await?),
            Err(()) => Ok(false),
        }
    }

    /// Removes one for good; false if there is none with this id.
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

/// A list of dead letters under way: made by [`DeadLetters::list`], asked for when awaited.
#[must_use = "a list is asked for when it is awaited"]
pub struct ListDeadLetters {
    transport: Arc<dyn DeadLetterStore>,
    after: String,
    limit: u32,
}

impl ListDeadLetters {
    /// Only those behind this one: the next page, with the id of the last.
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after = id.into();
        self
    }

    /// How many at most, 1 to 1000.
    pub fn limit(mut self, letters: u32) -> Self {
        self.limit = letters.clamp(1, LIMITS.1);
        self
    }
}

impl IntoFuture for ListDeadLetters {
    type Output = Result<Vec<DeadLetter>, DeadLetterError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            // Behind an id that is none, there is what there is behind the beginning.
            let after: EntryId = self.after.parse().unwrap_or_default();
            let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
            Ok(list(&*self.transport, after, limit).await?)
        })
    }
}

/// Page by page, since a hundred large ones would keep the connection from everything else.
async fn list(
    transport: &dyn DeadLetterStore,
    mut after: EntryId,
    limit: usize,
) -> Result<Vec<DeadLetter>, TransportError> {
    let mut mean = MeanSize::expecting(EXPECTED);
    let mut letters = Vec::new();
    while letters.len() < limit {
        let count = mean.frames(PAGE_BYTES, limit - letters.len());
        let page = transport.list(after, u32::try_from(count).unwrap_or(u32::MAX));
        let page = page.await?;
        let is_last = page.len() < count;
        for dead in page {
            after = dead.id;
            mean.learn(dead.frame.len());
            letters.push(DeadLetter::from(dead));
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
    fn from(dead: DeadLetterEntry) -> Self {
        let (urn, message, contents, attributes) = match Received::decode(&dead.frame) {
            Ok(request) => (
                request.urn.to_owned(),
                request.message.to_owned(),
                request.contents,
                request.attributes,
            ),
            Err(_) => Default::default(),
        };
        let is_readable = !urn.is_empty();
        Self {
            id: dead.id.to_string(),
            urn,
            message,
            key: dead.key,
            contents: if is_readable { contents } else { dead.frame },
            attributes,
            deliveries: dead.deliveries,
            reason: dead.reason,
            when: UNIX_EPOCH + Duration::from_millis(dead.id.0),
        }
    }
}

/// Why dead letters could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The bus cannot be used now: nothing was done.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
    /// The connection broke, and it may have been done or not.
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

    /// So many of one size, and how many were asked for at a time.
    struct Many(u64, usize, Mutex<Vec<u32>>);

    #[async_trait::async_trait]
    impl DeadLetterStore for Many {
        async fn list(
            &self,
            after: EntryId,
            count: u32,
        ) -> Result<Vec<DeadLetterEntry>, TransportError> {
            self.2.lock().unwrap().push(count);
            let numbers = (after.0 + 1..=self.0).take(count as usize);
            let dead = numbers.map(|number| DeadLetterEntry {
                id: EntryId(number, 0),
                key: String::new(),
                frame: vec![0; self.1].into(),
                deliveries: 1,
                reason: String::new(),
            });
            Ok(dead.collect())
        }

        async fn replay(&self, _: EntryId) -> Result<bool, TransportError> {
            Ok(false)
        }

        async fn delete(&self, _: EntryId) -> Result<bool, TransportError> {
            Ok(false)
        }
    }

    async fn listed(many: &Many, limit: u32) -> Vec<u64> {
        let letters = list(many, EntryId::default(), limit as usize).await;
        let ids = letters.unwrap().into_iter().map(|letter| letter.id);
        let ids = ids.map(|id| id.parse::<EntryId>().unwrap());
        ids.map(|id| id.0).collect()
    }

    #[tokio::test]
    async fn large_ones_are_asked_for_a_few_at_a_time() {
        for (there, limit, expected) in [(100, 100, 100), (100, 60, 60), (60, 100, 60)] {
            let large = Many(there, 256 * 1024, Mutex::default());
            let expected: Vec<_> = (1..=expected).collect();
            assert_eq!(listed(&large, limit).await, expected);
            let asked = large.2.into_inner().unwrap();
            assert!(
                asked[0] <= 16 && asked[1..].iter().all(|count| *count <= 8),
                "{asked:?}"
            );
        }
        let small = Many(1000, 100, Mutex::default());
        assert_eq!(listed(&small, 1000).await.len(), 1000);
        let asked = small.2.into_inner().unwrap();
        assert!(asked.len() < 10, "{asked:?}");
        assert!(listed(&Many(0, 0, Mutex::default()), 9).await.is_empty());
    }
}
