//! The interfaces of actors and asks that deadlock detection uses.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::deadlock::Edge;
use crate::error::AskError;
use crate::mailbox::Ticket;
use crate::stop_reason::StopReason;
use crate::sync::wakers::WakerKey;
use crate::urn::Urn;

/// The identity of an actor while it lives: the address of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ActorId(pub(crate) usize);

/// One call of a handler or hook, among those of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Execution {
    /// The actor's phase, as a number.
    pub(crate) phase: u8,
    /// The number of messages that were handled before.
    pub(crate) handled: u64,
}

/// A wait in progress of an actor's own code.
#[derive(Clone)]
pub(crate) struct ActiveWait {
    /// The number of the wait, unique within its actor.
    pub(crate) number: u64,
    /// The execution that waits. In any other, the actor does not wait for this.
    pub(crate) execution: Execution,
    pub(crate) edge: Edge,
}

/// An actor, as a node of the graph of waits.
pub(crate) trait Participant: Send + Sync {
    fn id(&self) -> ActorId;
    fn urn(&self) -> &Urn;
    /// The current call of a handler or hook.
    fn execution(&self) -> Execution;
    /// Records a wait of the actor's own code. Returns its number, for [`end_wait`](Self::end_wait).
    fn begin_wait(&self, execution: Execution, edge: Edge) -> u64;
    fn end_wait(&self, number: u64);
    fn active_waits(&self) -> Vec<ActiveWait>;
    /// True until `on_start` of the current incarnation has returned.
    fn is_starting(&self) -> bool;
    fn has_ended(&self) -> bool;
    /// The reason for which the actor is about to stop or to restart; `None` while it is not.
    fn pending_stop_reason(&self) -> Option<StopReason>;
    /// Wakes the tasks that wait for the actor's end, so that they check for cycles again.
    fn wake_stop_waiters(&self);
    /// True while the sender with this ticket waits for capacity.
    fn is_waiting(&self, ticket: Ticket) -> bool;
    /// Admits that sender's message, past the mailbox's capacity.
    fn admit(&self, ticket: Ticket);
}

/// An ask that waits for its reply.
pub(crate) trait PendingReply: Send + Sync {
    /// The actor that is to reply; `None` once the reply is there, and if that actor is not known.
    fn responder(&self) -> Option<Arc<dyn Participant>>;
    /// The actor whose handler keeps the reply for later. Any code may own it by now, so that the asker does not
    /// certainly wait for that actor.
    fn keeper(&self) -> Option<Arc<dyn Participant>> {
        None
    }
    /// Makes another actor the one that is to reply.
    fn assign_to(&self, actor: &Arc<dyn Participant>);
    /// Ends the ask with an error.
    fn refuse(&self, error: AskError);
    /// The deadline of the asker.
    fn deadline(&self) -> Option<Instant>;
    /// True if the asker has gone without a reply: it was dropped, or its deadline has passed.
    fn is_abandoned(&self) -> bool;
    /// Ready once the ask has ended, by a reply or because the asker is gone. Until then, the waker is
    /// registered under `key`.
    fn poll_ended(self: Arc<Self>, key: &mut Option<WakerKey>, cx: &Context<'_>) -> Poll<()>;
    /// Removes the waker under that key.
    fn remove_waker(&self, key: WakerKey);
    /// Ends the ask, because its deadline has passed here. Even if the asker's clock is slower, a later
    /// reply is ignored there too.
    fn expire(&self);
}
