//! The wait of a spawn until the name of its actor is listed in the fleet of its system.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::actor::control::StopCause;
use crate::actor::stopped::ended;
use crate::actor::{Actor, ActorRef};
use crate::system::ActorSystem;
use crate::system::spawn::SpawnError;

/// The wait for the name of an actor that has started.
pub(super) struct ListingWait(Pin<Box<dyn Future<Output = Result<(), SpawnError>> + Send>>);

impl ListingWait {
    /// `None` if the name is for no other process, or the system does not serve yet: its names are listed once
    /// other processes can ask, which may wait for this spawn.
    pub(super) fn begin<A: Actor>(system: &ActorSystem, actor: &ActorRef<A>) -> Option<Self> {
        let core = system.core();
        if !core.is_serving() {
            return None;
        }
        let lists = core.name_lists()?;
        let slot = actor.cell().listing()?.clone();
        let (cell, urn) = (actor.cell().clone(), actor.urn().clone());
        Some(Self(Box::pin(async move {
            let member = match lists.listed(slot).await {
                Ok(()) => return Ok(()),
                Err(member) => Some(member),
            };
            cell.stop(StopCause::Requested);
            ended(&*cell).await;
            Err(SpawnError::UrnTaken { urn, member })
        })))
    }

    /// Ready once the name is listed. If another member keeps it, the actor is stopped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SpawnError>> {
        self.0.as_mut().poll(cx)
    }
}
