//! Spawning: a builder that is awaited.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::sync::oneshot;

use super::{ActorSystem, spawn_task};
use crate::actor::cell::ActorCell;
use crate::actor::{Actor, ActorRef, Context, StopReason};
use crate::error::Failure;
use crate::runner::{self, Tenancy};
use crate::urn::{Urn, UrnError};

/// An actor about to start: configured by its methods, started when awaited.
///
/// # Cancel safety
///
/// Dropped before it is polled, it has started nothing; after that the actor goes on, and is the
/// system's.
#[must_use = "an actor is started when its spawn is awaited"]
pub struct Spawn<A: Actor> {
    stage: Stage<A>,
    urn: Result<Option<Urn>, UrnError>,
    mailbox: usize,
    while_referenced: bool,
}

enum Stage<A: Actor> {
    New(ActorSystem, A),
    Starting(ActorRef<A>, oneshot::Receiver<Result<(), StopReason>>),
    Over,
}

impl<A: Actor> Spawn<A> {
    pub(super) fn new(system: ActorSystem, actor: A) -> Self {
        Self {
            stage: Stage::New(system, actor),
            urn: A::URN.map(Urn::new).transpose(),
            mailbox: A::MAILBOX,
            while_referenced: false,
        }
    }

    /// The actor's URN, instead of its type's.
    pub fn urn<U>(mut self, urn: U) -> Self
    where
        U: TryInto<Urn>,
        U::Error: Into<UrnError>,
    {
        self.urn = urn.try_into().map(Some).map_err(Into::into);
        self
    }

    /// How many messages may wait in the actor's mailbox (at least one), instead of what its type
    /// says.
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages;
        self
    }

    /// The actor stops when the last [`ActorRef`] or [`Recipient`](crate::Recipient) to it is
    /// dropped, instead of living as long as its system.
    pub fn while_referenced(mut self) -> Self {
        self.while_referenced = true;
        self
    }

    /// Takes the URN and starts the task.
    fn begin(&self, system: &ActorSystem, actor: A) -> Result<Stage<A>, SpawnError> {
        let core = system.core();
        if core.is_closing() {
            return Err(SpawnError::SystemClosed);
        }
        let urn = self.urn.clone()?.unwrap_or_else(Urn::generate);
        let sequence = core.next_sequence();
        let cell = Arc::new(ActorCell::new(
            urn.clone(),
            sequence,
            self.mailbox,
            self.while_referenced,
        ));
        // Before anybody finds the actor: another's reference that comes and goes meanwhile must not
        // be its last.
        let reference = ActorRef::new(cell.clone());
        if !core.registry.claim(cell.clone()) {
            return Err(SpawnError::UrnTaken { urn });
        }
        // From here on the tenancy frees the URN, whatever happens.
        let tenancy = Tenancy::new(cell.clone(), core.registry.clone(), actor);
        // A shutdown that began meanwhile either sees the actor or is seen here.
        if core.is_closing() {
            return Err(SpawnError::SystemClosed);
        }
        let context = Context::new(cell, system.downgrade());
        let (started, starting) = oneshot::channel();
        spawn_task(runner::run(started, tenancy, context));
        Ok(Stage::Starting(reference, starting))
    }
}

// Nothing in it is ever pinned.
impl<A: Actor> Unpin for Spawn<A> {}

impl<A: Actor> Future for Spawn<A> {
    type Output = Result<ActorRef<A>, SpawnError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Stage::New(..) = self.stage
            && let Stage::New(system, actor) = std::mem::replace(&mut self.stage, Stage::Over)
        {
            self.stage = self.begin(&system, actor)?;
        }
        let Stage::Starting(_, starting) = &mut self.stage else {
            return Poll::Pending; // polled after completion
        };
        let started = ready!(Pin::new(starting).poll(cx));
        let Stage::Starting(actor, _) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Poll::Pending;
        };
        Poll::Ready(match started {
            Ok(Ok(())) => Ok(actor),
            Ok(Err(StopReason::Failed(failure))) => Err(SpawnError::StartFailed {
                urn: actor.urn().clone(),
                failure,
            }),
            // Killed, or the runtime was shut down.
            Ok(Err(_)) | Err(_) => Err(SpawnError::Killed {
                urn: actor.urn().clone(),
            }),
        })
    }
}

impl<A: Actor> fmt::Debug for Spawn<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("urn", &self.urn)
            .finish_non_exhaustive()
    }
}

/// Why an actor was not started.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// Another actor of the system has this URN.
    #[error("the URN `{urn}` is taken")]
    UrnTaken {
        /// The URN.
        urn: Urn,
    },
    /// The text that was to be its URN is none.
    #[error(transparent)]
    InvalidUrn(#[from] UrnError),
    /// `on_start` panicked or returned a failure.
    #[error("the actor `{urn}` did not start: {failure}")]
    StartFailed {
        /// Its URN, which is free again.
        urn: Urn,
        /// What went wrong.
        failure: Failure,
    },
    /// It was killed before `on_start` had run.
    #[error("the actor `{urn}` was killed before it had started")]
    Killed {
        /// Its URN, which is free again.
        urn: Urn,
    },
    /// The system is shutting down.
    #[error("the actor system is shutting down")]
    SystemClosed,
}
