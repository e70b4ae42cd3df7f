//! The error of an ask, and how far its request had come.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FailureCause;
use crate::urn::Urn;

/// The time after which a message to a full mailbox is worth another try.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The reason that an ask returned no response.
///
/// One type serves local and remote asks. The errors that occur only on the bus are marked "Bus".
///
/// ```
/// use conclib::error::Delivered;
/// use conclib::AskError;
/// use std::time::Duration;
///
/// let busy = AskError::Overloaded { retry_after: Duration::from_millis(50) };
/// assert!(busy.is_retryable());
/// assert_eq!(busy.http_status(), 503);
///
/// // The request may have been executed: repeating it could do the work twice.
/// let lost = AskError::Disconnected { delivered: Delivered::Unknown };
/// assert!(!lost.is_retryable());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Bus: no actor system serves the node, or no member of the [fleet](crate::Config::fleet) has the name now and
    /// none is expected to by the deadline. Within a process: the system is shutting down, and starts the
    /// actor [on demand](crate::ActorSystem::on_demand) no more. The request was not executed.
    #[error("no actor system accepts the request now")]
    NoResponder,
    /// No actor has this URN, or, of actors [on demand](crate::ActorSystem::on_demand), the factory knows
    /// none of this name; the request was not executed.
    #[error("no actor has the URN `{urn}`")]
    ActorNotFound {
        /// The URN that was asked for.
        urn: Urn,
    },
    /// The actor failed before, unsupervised or beyond its budget of restarts, and will not start
    /// again, or its first start failed while the message waited; the request was not executed. An actor
    /// [on demand](crate::ActorSystem::on_demand) starts again after a second. (An actor that fails while it
    /// handles this message is [`Failed`](Self::Failed).)
    #[error("the actor `{urn}` failed and will not start again")]
    ActorFailed {
        /// The URN that was asked for.
        urn: Urn,
    },
    /// An actor whose URN is fixed in the program is missing, or failed and will not start again; the
    /// request was not executed. Only [`missing_is_unavailable`](Self::missing_is_unavailable) makes
    /// this error, of [`ActorNotFound`](Self::ActorNotFound) and [`ActorFailed`](Self::ActorFailed).
    #[error("the actor `{urn}` is unavailable: {}", absence(*has_failed))]
    ActorUnavailable {
        /// The URN that was asked for.
        urn: Urn,
        /// The actor has failed; otherwise no actor has the URN.
        has_failed: bool,
    },
    /// The actor has no handler for this type of message.
    #[error("the actor `{urn}` has no handler for `{message}`")]
    Unhandled {
        /// The actor that was asked.
        urn: Urn,
        /// The message's name on the wire, or its Rust type for a local ask.
        message: String,
    },
    /// A queue on the way is full, or as many actors [on demand](crate::ActorSystem::on_demand) live as may;
    /// the request was not executed.
    #[error("overloaded; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// The time after which the request is worth another try.
        retry_after: Duration,
    },
    /// The deadline passed.
    #[error("no answer by the deadline ({delivered})")]
    Timeout {
        /// The progress of the request.
        delivered: Delivered,
    },
    /// The actor failed (it panicked or returned a [`Failure`](crate::Failure)) while handling this message.
    #[error("{}", FailedText(cause.as_ref()))]
    Failed {
        /// The actor's URN and the text of its failure. `None` where they are not known: from
        /// another process only [`Config::expose_failures`](crate::Config::expose_failures) sends
        /// them.
        cause: Option<FailureCause>,
    },
    /// The actor stopped before it answered: mostly before it handled the message, but a kill or
    /// the end of its process may have interrupted the handler.
    #[error("the actor has stopped")]
    ActorStopped,
    /// The handler took the [`Reply`](crate::Reply) and dropped it without an answer.
    #[error("the handler gave no answer")]
    NoReply,
    /// A deadlock: the actor that asks, tells or forwards would wait for itself, for an answer or
    /// for room in a mailbox. The request was not executed, unless another actor closed the cycle
    /// later by waiting for the end of the asker.
    ///
    /// A cycle of asks is a fault of the design: turn an ask into a tell, or answer it later with
    /// a [`Reply`](crate::Reply) that the handler keeps. A cycle of tells is caused by load: see
    /// [`Tell`](crate::actor::Tell#actors-that-tell-each-other) for remedies.
    #[error("{}", CycleText(chain))]
    AskCycle {
        /// The actors of the cycle: first the sender of the message, then the actor that each waits
        /// for.
        chain: Vec<Urn>,
    },
    /// Bus: the text that was asked for is no [URN](Urn); the request was not executed. So it is for a URN
    /// with a part that a user has typed; within the process that is [`ActorNotFound`](Self::ActorNotFound).
    #[error("{reason}")]
    InvalidUrn {
        /// The beginning of the text, and the problem.
        reason: String,
    },
    /// Bus: the idempotency key is empty or too long; the request was not executed.
    #[error("an idempotency key has 1 to {limit} bytes, not {size}")]
    InvalidKey {
        /// The size of the key in bytes.
        size: usize,
        /// The size of the longest key in bytes.
        limit: usize,
    },
    /// Bus: the idempotency key was used before for a message with other contents; this one was not
    /// executed.
    #[error("the idempotency key `{key}` was used before with other contents; use another key")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// Bus: the message did not encode, or not decode as the type that it names, or has a setting that
    /// does not go with it; the request was not executed.
    #[error("the request was rejected: {reason}")]
    BadRequest {
        /// The type of the message, and the problem.
        reason: String,
    },
    /// Bus: the response did not encode or decode as its type, or is larger than the bus accepts.
    /// The request was executed.
    #[error("the response was rejected: {reason}")]
    BadResponse {
        /// The type of the response, and the problem.
        reason: String,
    },
    /// Bus: the encoded message is larger than the bus accepts; the request was not executed.
    #[error("{size} bytes are more than the limit of {limit} bytes")]
    TooLarge {
        /// The encoded size in bytes.
        size: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// Bus: Redis cannot be used now (no connection, out of memory, loading, no permission, …);
    /// the request was not executed.
    #[error("the bus is unavailable: {reason}")]
    Unavailable {
        /// The error of the bus.
        reason: String,
    },
    /// Bus: the connection broke while the request was under way.
    #[error("the connection to the bus broke ({delivered})")]
    Disconnected {
        /// The progress of the request.
        delivered: Delivered,
    },
    /// Bus: client and actor system have no version of the protocol in common.
    #[error("incompatible protocol versions: {reason}")]
    Incompatible {
        /// The versions of each side.
        reason: String,
    },
    /// The client (or the actor system) was shut down.
    #[error("closed")]
    Closed,
}

impl AskError {
    /// The error of a sender that does not wait for room in a full mailbox.
    pub(crate) const fn overloaded() -> Self {
        Self::Overloaded {
            retry_after: RETRY_AFTER,
        }
    }

    /// The progress of the request: tells whether it may have been executed.
    ///
    /// ```
    /// use conclib::error::Delivered;
    /// use conclib::AskError;
    ///
    /// assert_eq!(AskError::NoResponder.delivered(), Delivered::No);
    /// assert_eq!(AskError::Failed { cause: None }.delivered(), Delivered::Accepted);
    /// ```
    pub fn delivered(&self) -> Delivered {
        match self {
            Self::NoResponder
            | Self::ActorNotFound { .. }
            | Self::ActorFailed { .. }
            | Self::ActorUnavailable { .. }
            | Self::Unhandled { .. }
            | Self::Overloaded { .. }
            | Self::InvalidUrn { .. }
            | Self::InvalidKey { .. }
            | Self::KeyReused { .. }
            | Self::BadRequest { .. }
            | Self::TooLarge { .. }
            | Self::Unavailable { .. }
            | Self::Incompatible { .. } => Delivered::No,
            Self::Timeout { delivered } | Self::Disconnected { delivered } => *delivered,
            Self::Failed { .. } | Self::NoReply | Self::BadResponse { .. } => Delivered::Accepted,
            // An actor may be killed within a handler, a cycle closed by another actor later, and a
            // client closed at any moment.
            Self::ActorStopped | Self::AskCycle { .. } | Self::Closed => Delivered::Unknown,
        }
    }

    /// True if the request was certainly not executed, and may succeed if it is repeated after
    /// [`retry_after`](Self::retry_after).
    pub const fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }
}

/// The progress of a request at the moment when its asker stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Delivered {
    /// Not sent, or no handler has started on it: it was not and will not be executed.
    No,
    /// Accepted by the mailbox or by the bus: it may have been executed.
    Accepted,
    /// Stored on the bus, as a [durable](crate::bus::RemoteAsk::durable) message: it was executed, or will
    /// be. Another ask with the same idempotency key gets the response.
    Stored,
    /// Written to the connection, without a confirmation: it may have been executed.
    Unknown,
}

impl Delivered {
    /// The name of the progress, as in a label: `accepted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "the request was not delivered",
            Self::Accepted => "the request had been accepted",
            Self::Stored => "the request is stored: it was executed, or will be",
            Self::Unknown => "whether the request was delivered is unknown",
        })
    }
}

/// The state of an actor that is unavailable.
fn absence(has_failed: bool) -> &'static str {
    if has_failed {
        "it failed and will not start again"
    } else {
        "no actor has this URN"
    }
}

/// The text of a failed handler, with the cause if it is known.
struct FailedText<'a>(Option<&'a FailureCause>);

impl fmt::Display for FailedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("the actor failed while handling the message"),
            Some(FailureCause { urn, text }) => {
                write!(
                    f,
                    "the actor `{urn}` failed while handling the message: {text}"
                )
            }
        }
    }
}

/// The text of a deadlock, with the chain of actors as `a -> b -> a`.
struct CycleText<'a>(&'a [Urn]);

impl fmt::Display for CycleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else {
            return f.write_str("deadlock: the actor would wait for itself");
        };
        write!(f, "deadlock: `{first}` would wait for itself ({first}")?;
        for urn in others {
            write!(f, " -> {urn}")?;
        }
        f.write_str(")")
    }
}
