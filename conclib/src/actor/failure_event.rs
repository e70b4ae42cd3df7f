//! Reports of failures to the observers of a system.

use super::Handlers;
use super::cell::ActorCell;
use super::stats::Phase;
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
    /// The phase in which it failed: in [`Starting`](Phase::Starting) its factory or `on_start` failed,
    /// in [`Running`](Phase::Running) a handler, a task or a child, in [`Stopping`](Phase::Stopping)
    /// its last hook panicked.
    pub phase: Phase,
    /// The name of the handler that failed; `None` if none ran.
    pub handler: Option<&'static str>,
    /// The error or the panic. It leads to the error that it was made from:
    /// [`Failure::downcast_ref`], [`Failure::as_error`].
    pub failure: Failure,
    /// False: the actor will not start again. True: its supervision decides that afterwards, by its
    /// policy and its budget; see [`ActorSystem::failed`](crate::ActorSystem::failed) for final failures.
    pub is_supervised: bool,
}

impl FailureEvent {
    /// The event for a failure of a supervised actor whose handler, if there is one, still counts as
    /// running.
    pub(crate) fn new<A: Handlers>(cell: &ActorCell<A>, failure: &Failure) -> Self {
        let stats = cell.stats.read();
        Self {
            urn: cell.urn.clone(),
            actor_type: std::any::type_name::<A>(),
            phase: stats.phase,
            handler: stats.running.map(|(handler, _)| handler_name::<A>(handler)),
            failure: failure.clone(),
            is_supervised: true,
        }
    }
}

/// The name of the handler with this number, also if hand-written code for it panics.
pub(super) fn handler_name<A: Handlers>(handler: u16) -> &'static str {
    panics::catch(|| A::handler_name(handler)).unwrap_or("handler")
}
