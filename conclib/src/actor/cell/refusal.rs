//! The errors of messages that an actor does not handle.

use super::ActorCell;
use crate::actor::Handlers;
use crate::error::AskError;
use crate::stop_reason::StopReason;

impl<A: Handlers> ActorCell<A> {
    /// The error for a message that the closed mailbox does not take.
    pub(crate) fn refusal(&self) -> AskError {
        let ending = || self.links().end_reason();
        let reason = self.links().reason().or_else(ending);
        let reason = reason.unwrap_or_else(|| self.control.cause());
        self.refusal_after(&reason)
    }

    /// The error for a message that the actor has not handled before its end.
    pub(crate) fn refusal_after(&self, reason: &StopReason) -> AskError {
        let urn = || self.urn().clone();
        match reason {
            StopReason::Absent => AskError::ActorNotFound { urn: urn() },
            reason if self.gave_up(reason) => AskError::ActorFailed { urn: urn() },
            _ if self.is_shut_down_on_demand() => AskError::NoResponder,
            _ => AskError::ActorStopped,
        }
    }

    /// True if the actor is on demand and stops with its system: the next message will start another in
    /// the system that takes over.
    fn is_shut_down_on_demand(&self) -> bool {
        self.is_on_demand() && matches!(self.control.cause(), StopReason::Shutdown)
    }
}
