//! The words for what can go wrong, shared by every part.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::urn::Urn;

pub(crate) mod panics;

/// When it is worth trying again after a mailbox was full.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// Why an ask ended without a value.
///
/// One type serves local and remote asks. Those that can only happen on the bus say so.
///
/// ```
/// use conclib::{AskError, Delivered};
/// use std::time::Duration;
///
/// // What a web handler would answer with 503 and `Retry-After`.
/// let busy = AskError::Overloaded { retry_after: Duration::from_millis(50) };
/// assert!(busy.is_retryable());
///
/// // The request may have been executed: repeating it could do the work twice.
/// let lost = AskError::Disconnected { delivered: Delivered::Unknown };
/// assert!(!lost.is_retryable());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Bus: no actor system is listening; the request was not executed.
    #[error("no actor system is listening on the bus")]
    NoResponder,
    /// No actor lives under this URN.
    #[error("no actor has the URN `{urn}`")]
    ActorNotFound {
        /// The URN that was asked for.
        urn: Urn,
    },
    /// The actor had failed before, too often or without being supervised, and will not start again;
    /// the request was not executed. (One that fails while it handles this message is
    /// [`Failed`](Self::Failed).)
    #[error("the actor `{urn}` failed and will not start again")]
    ActorFailed {
        /// The URN that was asked for.
        urn: Urn,
    },
    /// The actor has no handler for this type of message.
    #[error("the actor `{urn}` has no handler for `{message}`")]
    Unhandled {
        /// The actor that was asked.
        urn: Urn,
        /// The message's name on the wire, or its Rust type for a local ask.
        message: String,
    },
    /// A queue on the way is full; the request was not executed.
    #[error("overloaded; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The deadline passed.
    #[error("no answer by the deadline ({delivered})")]
    Timeout {
        /// How far the request had come.
        delivered: Delivered,
    },
    /// The actor failed (it panicked or returned a [`Failure`]) while handling this message.
    #[error("{}", FailedText(cause.as_ref()))]
    Failed {
        /// The actor's URN and the text of its failure. `None` where they are not known: from another
        /// process only [`Config::expose_failures`](crate::Config::expose_failures) sends them.
        cause: Option<FailureCause>,
    },
    /// The actor stopped before it had answered: mostly before it handled the message, but a kill or the end
    /// of its process may have come amid that.
    #[error("the actor has stopped")]
    ActorStopped,
    /// The handler took the [`Reply`](crate::Reply) and dropped it without an answer.
    #[error("the handler gave no answer")]
    NoReply,
    /// A deadlock: the actor that asks, tells or forwards would wait for itself, for an answer or
    /// for room in a mailbox. The request was not executed, unless the circle was closed later, by one
    /// that waits for the asker's end.
    ///
    /// Asks that go in a circle are a fault of the design: tell one of them, or answer it later with
    /// a [`Reply`](crate::Reply) that the handler keeps. Tells that do so come of load; what to do
    /// about them, [`tell`](crate::ActorRef::tell) says.
    #[error("{}", CycleText(chain))]
    AskCycle {
        /// The actors, each of which waits for the next; the one that asks or tells first.
        chain: Vec<Urn>,
    },
    /// Bus: the message did not decode as the type it is named after, or its idempotency key was used
    /// before with other contents; it was not executed.
    #[error("the request was rejected: {reason}")]
    BadRequest {
        /// Which type, and why.
        reason: String,
    },
    /// Bus: the answer did not encode or decode as the response type, or is larger than the bus
    /// takes. The request was executed.
    #[error("the response was rejected: {reason}")]
    BadResponse {
        /// Which type, and why.
        reason: String,
    },
    /// Bus: the encoded message is larger than the bus takes; it was not executed.
    #[error("{size} bytes are more than the limit of {limit} bytes")]
    TooLarge {
        /// Encoded size in bytes.
        size: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// Bus: Redis cannot be used now (no connection, out of memory, loading, no permission, …);
    /// the request was not executed.
    #[error("the bus is unavailable: {reason}")]
    Unavailable {
        /// What the bus said.
        reason: String,
    },
    /// Bus: the connection broke while the request was under way.
    #[error("the connection to the bus broke ({delivered})")]
    Disconnected {
        /// How far the request had come.
        delivered: Delivered,
    },
    /// Bus: the two sides speak versions of the protocol that do not overlap.
    #[error("incompatible protocol versions: {reason}")]
    Incompatible {
        /// Which versions each side speaks.
        reason: String,
    },
    /// The client (or the actor system) was shut down.
    #[error("closed")]
    Closed,
}

impl AskError {
    /// An actor's mailbox is full, and whoever sends does not wait.
    pub(crate) const fn overloaded() -> Self {
        Self::Overloaded {
            retry_after: RETRY_AFTER,
        }
    }

    /// How far the request had come: whether it may have been executed.
    ///
    /// ```
    /// use conclib::{AskError, Delivered};
    ///
    /// assert_eq!(AskError::NoResponder.delivered(), Delivered::No);
    /// assert_eq!(AskError::Failed { cause: None }.delivered(), Delivered::Accepted);
    /// ```
    pub fn delivered(&self) -> Delivered {
        match self {
            Self::NoResponder
            | Self::ActorNotFound { .. }
            | Self::ActorFailed { .. }
            | Self::Unhandled { .. }
            | Self::Overloaded { .. }
            | Self::BadRequest { .. }
            | Self::TooLarge { .. }
            | Self::Unavailable { .. }
            | Self::Incompatible { .. } => Delivered::No,
            Self::Timeout { delivered } | Self::Disconnected { delivered } => *delivered,
            Self::Failed { .. } | Self::NoReply | Self::BadResponse { .. } => Delivered::Accepted,
            // An actor may be killed amid a handler, a circle closed by one who came later, and a
            // client closed at any moment.
            Self::ActorStopped | Self::AskCycle { .. } | Self::Closed => Delivered::Unknown,
        }
    }

    /// True if the request was certainly not executed and may succeed when it is repeated.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoResponder | Self::Overloaded { .. } | Self::Unavailable { .. } => true,
            Self::Timeout { delivered } | Self::Disconnected { delivered } => {
                *delivered == Delivered::No
            }
            _ => false,
        }
    }
}

/// How far a request had come when its asker stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivered {
    /// It never left, or nobody had begun with it: it was not and will not be executed.
    No,
    /// It was accepted (by the mailbox, or by the bus): it may have been executed.
    Accepted,
    /// It was given to the connection, and nothing came back: it may have been executed.
    Unknown,
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "the request was not delivered",
            Self::Accepted => "the request had been accepted",
            Self::Unknown => "whether the request was delivered is unknown",
        })
    }
}

/// The longest text of a [`FailureCause`], in bytes: it may tell one failure after another.
const MAX_CAUSE: usize = 1024;

/// The actor that failed, and the text of its [`Failure`].
///
/// An actor that fails by the failure of another, such as by `?` on an ask, tells that one's cause
/// in its own text.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage)]
/// #[message(local, response = u32)]
/// struct Read(&'static str);
///
/// #[derive(Actor)]
/// #[actor(urn = "reader")]
/// struct Reader;
///
/// #[handlers]
/// impl Reader {
///     #[handler]
///     fn read(&mut self, Read(text): Read) -> Result<u32, Failure> { Ok(text.parse()?) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// # let reader = system.spawn(Reader).await?;
/// let Err(AskError::Failed { cause: Some(cause) }) = reader.ask(Read("x")).await else { panic!() };
/// assert_eq!(cause.urn(), "reader");
/// assert_eq!(cause.text(), "invalid digit found in string");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCause {
    urn: Urn,
    text: Arc<str>,
}

impl FailureCause {
    pub(crate) fn new(urn: Urn, text: &str) -> Self {
        Self {
            urn,
            text: cut(text, MAX_CAUSE).into(),
        }
    }

    /// The actor that failed.
    pub fn urn(&self) -> &Urn {
        &self.urn
    }

    /// The text of its failure, at most 1024 bytes of it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

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

/// The beginning of a text, of so many bytes at most.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Tells of a chain of actors, with the chain as `a -> b -> a`.
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

/// A tell that was not delivered: the message comes back, with the reason.
///
/// The reason is an [`AskError`], so that one vocabulary serves both.
///
/// ```
/// use conclib::{AskError, TellError};
///
/// fn again(error: TellError<String>) -> Result<String, AskError> {
///     if error.reason().is_retryable() {
///         return Ok(error.into_message());
///     }
///     Err(error.into())
/// }
/// ```
#[derive(thiserror::Error)]
#[error("the message was not delivered")]
pub struct TellError<M> {
    /// The message, unhandled. Never locked: the lock makes the error `Sync` also where the message
    /// is not, so that `?` makes a [`Failure`] of it.
    message: Mutex<M>,
    #[source]
    reason: AskError,
}

impl<M> TellError<M> {
    pub(crate) fn new(message: M, reason: AskError) -> Self {
        Self {
            message: Mutex::new(message),
            reason,
        }
    }

    /// The reason for which the message was not delivered.
    pub fn reason(&self) -> &AskError {
        &self.reason
    }

    /// The message, unhandled.
    pub fn into_message(self) -> M {
        self.message.into_inner()
    }

    /// The message, unhandled, and why it was not delivered.
    pub fn into_parts(self) -> (M, AskError) {
        (self.message.into_inner(), self.reason)
    }
}

impl<M> From<TellError<M>> for AskError {
    /// The reason; the message is dropped.
    fn from(error: TellError<M>) -> Self {
        error.reason
    }
}

// By hand, so that a message need not be `Debug`.
impl<M> fmt::Debug for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TellError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// Why an actor failed: an error that a handler or a hook returned, or a panic.
///
/// Any error converts into it, so `?` works in handlers. Like `anyhow::Error` it is therefore not
/// an [`Error`] itself. Its `Display` tells the error and the errors behind it, from the outermost
/// to the first cause.
///
/// It ends the actor, or the life of a supervised one. So it is not for what is wrong with a
/// *message*: with `text.parse()?` on what came from outside, one bad request ends an actor, and
/// four within 5 s a supervised one, for good. Make that part of the response type instead, as in
/// `#[message(response = Result<u32, Declined>)]`, and keep `?` for what the actor cannot go on
/// with.
///
/// ```
/// use conclib::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse::<u32>()?)
/// }
///
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(Failure::msg("the disk is full").to_string(), "the disk is full");
/// ```
#[derive(Clone)]
pub struct Failure(Arc<Cause>);

enum Cause {
    Error(Box<dyn Error + Send + Sync>),
    Message(String),
    Panic(String),
}

impl Failure {
    /// A failure that is only a message.
    pub fn msg(message: impl Into<String>) -> Self {
        Self(Arc::new(Cause::Message(message.into())))
    }

    /// A failure from what [`std::panic::catch_unwind`] caught.
    pub(crate) fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned());
        Self(Arc::new(Cause::Panic(text)))
    }

    /// True if the actor panicked.
    pub fn is_panic(&self) -> bool {
        matches!(*self.0, Cause::Panic(_))
    }

    /// The error it was made from, if it was made from one of this type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.source()?.downcast_ref::<E>()
    }

    /// The error it was made from, if any.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &*self.0 {
            Cause::Error(error) => Some(&**error),
            Cause::Message(_) | Cause::Panic(_) => None,
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Arc::new(Cause::Error(Box::new(error))))
    }
}

/// Does not panic where the text of the error does: failures are shown where actors end.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Error(error) => match panics::catch(|| with_causes(&**error)) {
                Ok(text) => f.write_str(&text),
                Err(panic) => write!(f, "an error whose text {panic}"),
            },
            Cause::Message(text) => f.write_str(text),
            Cause::Panic(text) => write!(f, "panicked: {text}"),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Error(error) => f.debug_tuple("Failure").field(error).finish(),
            _ => f.debug_tuple("Failure").field(&self.to_string()).finish(),
        }
    }
}

/// The text of an error and of the errors behind it, each once: many repeat their source.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
