//! The settings of a durable call: its key, and the limit of the wait until it is stored.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::client::shared::ClientShared;
use crate::bus::transport::stream::{EntryOptions, MAX_KEY_LEN, MAX_RETRY_PAUSE};
use crate::error::{AskError, Delivered};
use crate::random::Uuid;
use crate::time::backoff::Backoff;
use crate::time::deadline::Deadline;

/// The settings of a call about its storage.
#[derive(Default)]
pub(super) struct DurableCall {
    /// Present if the message is durable.
    pub(super) key: Option<IdempotencyKey>,
    pub(super) store: StoreLimit,
}

/// Limits the wait until the bus has stored the message.
#[derive(Default)]
pub(super) struct StoreLimit {
    timeout: Option<Duration>,
    /// The end of the wait, once the message is under way; none if it is stored.
    deadline: Deadline,
}

/// A message to be stored, beside its request.
pub(super) struct StoreRequest {
    pub(super) key: String,
    pub(super) options: EntryOptions,
    /// The end of the wait until it is stored.
    pub(super) deadline: Instant,
}

/// The idempotency key of a durable call, by which the consumer recognizes duplicates.
pub(super) enum IdempotencyKey {
    /// Unique to this call.
    Generated,
    /// Set by the caller, which may call again with the same key.
    Given(String),
}

impl IdempotencyKey {
    pub(super) fn text(&self) -> Result<String, AskError> {
        match self {
            Self::Generated => Ok(Uuid::random().as_str().to_owned()),
            Self::Given(key) if (1..=MAX_KEY_LEN).contains(&key.len()) => Ok(key.clone()),
            Self::Given(key) => Err(AskError::BadRequest {
                reason: format!(
                    "an idempotency key has 1 to {MAX_KEY_LEN} bytes, not {}",
                    key.len()
                ),
            }),
        }
    }
}

impl DurableCall {
    /// A message with a key of its own.
    pub(super) fn generated() -> Box<Self> {
        Box::new(Self {
            key: Some(IdempotencyKey::Generated),
            ..Self::default()
        })
    }

    /// Begins the wait until the message is stored: it ends at `deadline` at the latest.
    pub(super) fn begin(
        &mut self,
        deadline: Instant,
        retry: Option<Backoff>,
    ) -> Result<StoreRequest, AskError> {
        let Some(key) = &self.key else {
            return Err(AskError::BadRequest {
                reason: "`store_timeout` is for durable messages: call `durable()` as well, or limit the \
                         wait with `timeout`"
                    .to_owned(),
            });
        };
        self.store.deadline.start(self.store.timeout);
        let store_by = self.store.deadline.at();
        Ok(StoreRequest {
            key: key.text()?,
            options: EntryOptions {
                retry: retry.map(|retry| retry.at_most(MAX_RETRY_PAUSE)),
            },
            deadline: store_by.map_or(deadline, |by| by.min(deadline)),
        })
    }
}

impl StoreLimit {
    /// Sets the limit; of a message that is under way, the wait is only shortened.
    pub(super) fn limit(&mut self, timeout: Duration, is_sent: bool) {
        self.timeout = Some(timeout);
        if is_sent {
            self.deadline.shorten(timeout);
        }
    }

    /// Ready when the limit has passed and the message is not stored, with the error; with `None` if the
    /// request has ended meanwhile.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &ClientShared,
        id: u64,
    ) -> Poll<Option<AskError>> {
        ready!(self.deadline.poll(cx));
        let mut pending = shared.pending();
        if pending.is_stored(id) {
            // Only the answer is waited for, with a limit of its own.
            self.deadline = Deadline::default();
            return Poll::Pending;
        }
        let given_up = pending.give_up(id);
        drop(pending);
        Poll::Ready(given_up.map(|delivered| self.error(delivered, shared)))
    }

    fn error(&self, delivered: Delivered, shared: &ClientShared) -> AskError {
        if delivered != Delivered::No {
            return AskError::Timeout { delivered };
        }
        let limit = self.timeout.unwrap_or_default();
        let cause = shared.health.problem();
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        AskError::Unavailable {
            reason: format!("the bus has not stored the message within {limit:?}{cause}"),
        }
    }
}
