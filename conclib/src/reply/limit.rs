//! Deadlines and spans of askers, as the runner looks at them before it dispatches a message.

use std::fmt;

use tokio::time::Instant;
use tracing::Span;

use super::remote::Responder;
use super::slot::Slot;
use crate::deadlock::current::LeftOut;
use crate::error::AskErrorKind;
use crate::trace::AskerSpan;

/// The deadline of the ask that a message came with, and the span of its asker: the result of
/// [`Handlers::limit`](crate::actor::Handlers::limit).
pub struct Limit<'a>(Asked<'a>);

enum Asked<'a> {
    Local(&'a dyn Limited),
    Remote(&'a Responder),
}

/// The message must not be handled: its asker is gone, or has just got the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLate;

/// An ask with a deadline or a span, in this process.
trait Limited {
    /// See [`Slot::start`].
    fn start(&self) -> Result<Option<Instant>, TooLate>;
    /// See [`Slot::asker_span`].
    fn asker_span(&self) -> Option<&AskerSpan>;
    /// See [`Slot::is_abandoned`].
    fn is_abandoned(&self) -> bool;
}

impl<R> Limited for Slot<R> {
    fn start(&self) -> Result<Option<Instant>, TooLate> {
        Slot::start(self)
    }

    fn asker_span(&self) -> Option<&AskerSpan> {
        Slot::asker_span(self)
    }

    fn is_abandoned(&self) -> bool {
        Slot::is_abandoned(self)
    }
}

impl<'a> Limit<'a> {
    pub(super) fn local<R>(slot: &'a Slot<R>) -> Self {
        Self(Asked::Local(slot))
    }

    pub(super) fn remote(responder: &'a Responder) -> Self {
        Self(Asked::Remote(responder))
    }

    /// The kind of the error if the message must not be handled: its asker is gone, or has just got the error. Marks
    /// nothing otherwise.
    pub(crate) fn refusal_if_over(&self) -> Option<AskErrorKind> {
        match self.0 {
            Asked::Local(slot) => {
                let is_over = slot.is_abandoned() && slot.start().is_err();
                is_over.then_some(AskErrorKind::Timeout)
            }
            Asked::Remote(responder) => responder.refuse_if_late(Instant::now()),
        }
    }

    /// Marks the message as started. Returns the deadline of its asker, if it has one.
    ///
    /// # Errors
    ///
    /// The kind of the error if the message must not be handled: its asker is gone, or has just got the error.
    pub(crate) fn start(&self) -> Result<Option<Instant>, AskErrorKind> {
        match self.0 {
            Asked::Local(slot) => slot.start().map_err(|TooLate| AskErrorKind::Timeout),
            Asked::Remote(responder) => match responder.refuse_if_late(Instant::now()) {
                Some(refusal) => Err(refusal),
                None => Ok(responder.awaited_until()),
            },
        }
    }

    /// The time since the message was sent, in microseconds; unknown of one that came from the bus and was
    /// forwarded.
    pub(crate) fn queue_us(&self) -> Option<i64> {
        match self.0 {
            Asked::Local(slot) => slot.asker_span().map(AskerSpan::queue_us),
            Asked::Remote(_) => None,
        }
    }

    /// Present if the asker of the message is left out of the traces.
    pub(crate) fn left_out(&self) -> Option<LeftOut> {
        match self.0 {
            Asked::Local(slot) => slot.asker_span()?.left_out(),
            Asked::Remote(responder) => responder.left_out(),
        }
    }

    /// Makes the span of the message, as a part of its asker's.
    pub(crate) fn child_span(&self, make: impl FnOnce() -> Span) -> Span {
        match self.0 {
            Asked::Local(slot) => match slot.asker_span() {
                Some(asker) => asker.child(make),
                None => make(),
            },
            Asked::Remote(responder) => {
                let span = make();
                responder.continue_trace(&span);
                span
            }
        }
    }
}

impl fmt::Debug for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limit")
    }
}
