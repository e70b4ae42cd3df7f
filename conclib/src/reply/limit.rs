//! Deadlines of asks, as the runner checks them before it dispatches a message.

use std::fmt;

use tokio::time::Instant;

use super::remote::Responder;
use super::slot::Slot;
use crate::error::AskErrorKind;

/// The deadline of the ask that a message came with: the result of
/// [`Handlers::limit`](crate::actor::Handlers::limit).
pub struct Limit<'a>(Asked<'a>);

enum Asked<'a> {
    Local(&'a dyn Limited),
    Remote(&'a Responder),
}

/// An ask with a deadline, in this process.
trait Limited {
    /// See [`Slot::start`].
    fn start(&self) -> Option<Instant>;
    /// See [`Slot::is_abandoned`].
    fn is_abandoned(&self) -> bool;
}

impl<R> Limited for Slot<R> {
    fn start(&self) -> Option<Instant> {
        Slot::start(self)
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
                let is_over = slot.is_abandoned() && slot.start().is_none();
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
            Asked::Local(slot) => slot.start().map(Some).ok_or(AskErrorKind::Timeout),
            Asked::Remote(responder) => match responder.refuse_if_late(Instant::now()) {
                Some(refusal) => Err(refusal),
                None => Ok(responder.awaited_until()),
            },
        }
    }
}

impl fmt::Debug for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limit")
    }
}
