//! Reports of failures to the observers of a system.

use super::stats::Phase;
use crate::actor::{HandlerNames, Handlers};
use crate::error::{Failure, panics};
use crate::urn::Urn;

/// A failure of an actor, as its system's observers see it: see
/// [`ActorSystem::on_failure`](crate::ActorSystem::on_failure).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FailureEvent {
    /// The URN of the actor.
    pub urn: Urn,
    /// The name of the actor's Rust type.
    pub actor_type: &'static str,
    /// The phase in which it failed: in [`Starting`](Phase::Starting) its factory or `on_start` failed, or
    /// its [thread](crate::Actor::THREAD) could not be started; in [`Running`](Phase::Running) a handler,
    /// a task or a child; in [`Stopping`](Phase::Stopping) its last hook panicked.
    pub phase: Phase,
    /// The name of the handler that failed; `None` if none ran.
    pub handler: Option<&'static str>,
    /// The name of its message, [`ActorMessage::NAME`](crate::ActorMessage::NAME); `None` if no handler ran, or
    /// one that handles messages of many names.
    pub message: Option<&'static str>,
    /// The error or the panic. It leads to the error that it was made from:
    /// [`Failure::downcast_ref`], [`Failure::as_error`].
    pub failure: Failure,
    /// False: the actor will not start again. True: its supervision decides that afterwards, by its
    /// policy and its budget; see [`ActorSystem::failed`](crate::ActorSystem::failed) for final failures.
    pub is_supervised: bool,
}

/// The names of the handler with this number, also if hand-written code for them panics.
pub(crate) fn handler_names<A: Handlers>(handler: u16) -> HandlerNames {
    panics::catch(|| A::handler(handler)).unwrap_or_default()
}
