//! The settings of a durable call: its key, the limit of the wait until it is stored, and its due time.

use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::bus::link::server_clock::ServerClock;
use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::{MAX_DELAY, MAX_KEY_LEN, MAX_RETRY_PAUSE};
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
    pub(super) delay: Option<Delay>,
    /// The moment at which the message was first sent: its delay counts from there, also when the call
    /// repeats it.
    sent: Option<Instant>,
}

/// The time before which a message is not delivered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Delay {
    /// So long after it is sent.
    For(Duration),
    Until(SystemTime),
}

/// A delay, and the moment at which its message was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delayed {
    delay: Delay,
    sent: Instant,
}

impl Delayed {
    /// The due time on the bus' clock: `None` if it has come, an error if it is too far ahead.
    ///
    /// `None` as a whole before that clock was first read. The clock of this machine is no substitute for it:
    /// the message would come too late or too early by their difference.
    pub(super) fn due(self, clock: &ServerClock) -> Option<Result<Option<ServerTime>, AskError>> {
        let sent = clock.to_bus(self.sent)?;
        Some(self.delay.on_bus(sent))
    }
}

impl Delay {
    /// Refuses at once what is too far ahead on any clock.
    fn check(self) -> Result<Self, AskError> {
        match self {
            Self::For(delay) if delay > MAX_DELAY => Err(too_far()),
            _ => Ok(self),
        }
    }

    /// The time on the bus' clock; `None` if it has come. `now` is the time there.
    fn on_bus(self, now: ServerTime) -> Result<Option<ServerTime>, AskError> {
        let delay = match self {
            Self::For(delay) => delay,
            Self::Until(time) => {
                let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                since_epoch.saturating_sub(Duration::from_millis(now.0))
            }
        };
        if delay > MAX_DELAY {
            return Err(too_far());
        }
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Ok((delay > 0).then_some(ServerTime(now.0.saturating_add(delay))))
    }
}

fn too_far() -> AskError {
    AskError::BadRequest {
        reason: "a message can be delayed by 366 days at most".to_owned(),
    }
}

/// Limits the wait until the bus has stored the message.
#[derive(Default)]
pub(super) struct StoreLimit {
    timeout: Option<Duration>,
    /// The wait has begun: repetitions of the request do not begin it again.
    has_begun: bool,
    /// The end of the wait, once the message is under way; none if it is stored.
    deadline: Deadline,
}

/// A message to be stored, beside its request.
pub(super) struct StoreRequest {
    pub(super) key: String,
    /// The pauses before further deliveries, as the entry has them.
    pub(super) retry: Option<Backoff>,
    pub(super) delay: Option<Delayed>,
    /// The caller asks again, with the same key.
    pub(super) is_repetition: bool,
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
            Self::Generated => Ok(Uuid::random().text().as_str().to_owned()),
            Self::Given(key) if (1..=MAX_KEY_LEN).contains(&key.len()) => Ok(key.clone()),
            Self::Given(key) => Err(AskError::InvalidKey {
                size: key.len(),
                limit: MAX_KEY_LEN,
            }),
        }
    }
}

impl DurableCall {
    /// A message with a key of its own.
    pub(super) fn generated() -> Self {
        Self {
            key: Some(IdempotencyKey::Generated),
            ..Self::default()
        }
    }

    /// Begins the wait until the message is stored: it ends at `deadline` at the latest.
    pub(super) fn begin(
        &mut self,
        deadline: Instant,
        retry: Option<Backoff>,
    ) -> Result<StoreRequest, AskError> {
        let Some(key) = &mut self.key else {
            return Err(AskError::BadRequest {
                reason: "`store_timeout` is for durable messages: call `durable()` as well, or limit the \
                         wait with `timeout`"
                    .to_owned(),
            });
        };
        let text = key.text()?;
        *key = IdempotencyKey::Given(text.clone()); // of repetitions, too
        self.store.begin();
        if self.store.is_over() {
            return Err(self.store.error(Delivered::No, None)); // its time ran out in a pause before a repetition
        }
        let delay = self.delay.map(Delay::check).transpose()?;
        let sent = *self.sent.get_or_insert_with(Instant::now);
        let store_by = self.store.deadline.at();
        Ok(StoreRequest {
            key: text,
            retry: retry.map(|retry| retry.at_most(MAX_RETRY_PAUSE)),
            is_repetition: false,
            delay: delay.map(|delay| Delayed { delay, sent }),
            deadline: store_by.map_or(deadline, |by| by.min(deadline)),
        })
    }
}

impl StoreLimit {
    fn begin(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.deadline.start(self.timeout);
        }
    }

    /// The end of the wait; none if it is stored.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.at()
    }

    /// True if the message is not to be sent any more.
    fn is_over(&self) -> bool {
        self.deadline().is_some_and(|end| end <= Instant::now())
    }

    /// Sets the limit; once the wait has begun, it is only shortened.
    pub(super) fn limit(&mut self, timeout: Duration, has_begun: bool) {
        self.timeout = Some(timeout);
        if has_begun {
            self.deadline.shorten(timeout);
        }
    }

    /// Ready when the limit has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.deadline.poll(cx)
    }

    /// Ends the wait: the message is stored, and only its answer is waited for, with a limit of its own.
    pub(super) fn end(&mut self) {
        self.deadline = Deadline::default();
    }

    /// The error for a message that is not stored within the limit. `cause` is the problem of the bus.
    pub(super) fn error(&self, delivered: Delivered, cause: Option<String>) -> AskError {
        if delivered != Delivered::No {
            return AskError::Timeout { delivered };
        }
        let limit = self.timeout.unwrap_or_default();
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        AskError::Unavailable {
            reason: format!("the bus has not stored the message within {limit:?}{cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_on_the_clock_of_the_bus() {
        let now = ServerTime(1_700_000_000_000);
        let seconds = Duration::from_secs;
        let at = |offset| Delay::Until(UNIX_EPOCH + seconds(1_700_000_000 + offset));
        let due = |due: Delay| due.on_bus(now).map(|due| due.map(|due| due.0 - now.0));
        assert_eq!(due(Delay::For(seconds(600))), Ok(Some(600_000)));
        assert_eq!(due(at(5)), Ok(Some(5_000)));
        for past in [Delay::For(Duration::ZERO), at(0), Delay::Until(UNIX_EPOCH)] {
            assert_eq!(due(past), Ok(None), "{past:?}");
        }
        assert!(due(Delay::For(MAX_DELAY)).is_ok() && due(at(MAX_DELAY.as_secs())).is_ok());
        for far in [Delay::For(Duration::MAX), at(MAX_DELAY.as_secs() + 1)] {
            assert!(
                matches!(due(far), Err(AskError::BadRequest { .. })),
                "{far:?}"
            );
        }
    }
}
