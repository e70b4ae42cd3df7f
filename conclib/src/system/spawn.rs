//! Spawning: a builder that is awaited.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::coop::poll_proceed;

use crate::actor::any::AnyActor;
use crate::actor::cell::{ActorCell, Escalation, SpawnOptions};
use crate::actor::stats::Phase;
use crate::actor::{Actor, ActorRef, Context, IntoActor};
use crate::core::spawn_task;
use crate::deadlock::{Edge, Wait, WaitFor};
use crate::error::Failure;
use crate::error::panics;
use crate::runner;
use crate::runner::ActorGuard;
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::{Once, Source, Supervised};
use crate::supervision::{Backoff, Budget, Restart};
use crate::system::ActorSystem;
use crate::urn::{Urn, UrnError};

/// An actor about to start: configured by its methods, started when awaited.
///
/// # Cancel safety
///
/// Dropped before it is polled, it has started nothing; after that the actor goes on, and is the
/// system's.
#[must_use = "an actor is started when its spawn is awaited"]
pub struct Spawn<A: Actor, S = Once> {
    stage: Stage<A, S>,
    /// `None` if there is no system any more.
    system: Option<ActorSystem>,
    /// Whose child it will be.
    parent: Option<Arc<dyn AnyActor>>,
    urn: Result<Option<Urn>, UrnError>,
    mailbox: usize,
    kind: SpawnOptions,
}

enum Stage<A: Actor, S> {
    /// The state, if it is there already, and where others come from.
    New(Option<A>, S),
    Starting(ActorRef<A>, Starting),
    Over,
}

/// The start of an actor under way.
struct Starting {
    /// Hears how it went.
    heard: oneshot::Receiver<Result<(), StopReason>>,
    /// Says that the spawner waits for the actor, if that is an actor too.
    wait: Wait,
}

impl Starting {
    fn poll<A: Actor>(
        &mut self,
        actor: &ActorRef<A>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Result<(), StopReason>, oneshot::error::RecvError>> {
        let heard = Pin::new(&mut self.heard).poll(cx);
        let edge = || Edge::new(actor.cell().clone(), WaitFor::Started);
        // Only one that began to wait elsewhere may close a cycle here.
        if heard.is_pending()
            && let Some(cycle) = self.wait.record(edge)
        {
            cycle.break_up();
        }
        heard
    }
}

impl<A: Actor> Spawn<A, Once> {
    /// Of an actor as it is.
    pub(crate) fn value(
        system: Option<ActorSystem>,
        parent: Option<Arc<dyn AnyActor>>,
        actor: A,
    ) -> Self {
        Self::new(system, parent, Some(actor), Once)
    }
}

impl<A: Actor, F> Spawn<A, Supervised<F>> {
    /// Of what a factory makes.
    pub(crate) fn factory<Fut>(
        system: Option<ActorSystem>,
        parent: Option<Arc<dyn AnyActor>>,
        factory: F,
    ) -> Self
    where
        F: FnMut() -> Fut,
        Fut: Future<Output: IntoActor<Actor = A>>,
    {
        Self::new(system, parent, None, Supervised::new(factory))
    }

    /// After which ends it starts again: after failures, unless changed.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.kind.restarts_itself = restart == Restart::Always;
        if let Stage::New(_, source) = &mut self.stage {
            source.restart = restart;
        }
        self
    }

    /// How many restarts within how long are allowed: 3 within 5 s, unless changed. One failure
    /// more, and it stops as [`Exhausted`](StopReason::Exhausted).
    pub fn budget(mut self, restarts: u32, within: Duration) -> Self {
        if let Stage::New(_, source) = &mut self.stage {
            source.budget = Budget { restarts, within };
        }
        self
    }

    /// How long it waits before it starts again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        if let Stage::New(_, source) = &mut self.stage {
            source.backoff = backoff;
        }
        self
    }
}

impl<A: Actor, S> Spawn<A, S> {
    pub(crate) fn new(
        system: Option<ActorSystem>,
        parent: Option<Arc<dyn AnyActor>>,
        actor: Option<A>,
        source: S,
    ) -> Self {
        Self {
            stage: Stage::New(actor, source),
            system,
            parent,
            urn: A::URN.map(Urn::new).transpose(),
            mailbox: A::MAILBOX,
            kind: SpawnOptions {
                private: A::PRIVATE,
                ..SpawnOptions::default()
            },
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
        self.kind.while_referenced = true;
        self
    }

    /// When the actor has failed for good, also while it starts, its parent fails as well, after
    /// the message in hand. The failure of an actor without a parent goes to
    /// [`ActorSystem::failed`], unless the actor was asked to stop.
    pub fn escalate(mut self) -> Self {
        self.kind.escalation = Escalation::Always;
        self
    }

    /// Like [`escalate`](Self::escalate), unless it has been asked to stop.
    pub(crate) fn escalate_until_stopped(mut self) -> Self {
        self.kind.escalation = Escalation::UntilAskedToStop;
        self
    }

    /// When the actor stops itself, another life follows.
    pub(crate) fn restarts_itself(mut self) -> Self {
        self.kind.restarts_itself = true;
        self
    }

    /// Starts it without waiting for `on_start`.
    pub(crate) fn begin_now(mut self) -> Result<ActorRef<A>, SpawnError>
    where
        S: Source<A>,
    {
        let Stage::New(actor, source) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Err(SpawnError::SystemClosed); // not reached: it is new
        };
        Ok(self.begin(actor, source)?.0)
    }

    /// Takes the URN and starts the task. With nothing to wait for if there is no `on_start`: but
    /// ticks are counted from when the task is there.
    fn begin(
        &self,
        actor: Option<A>,
        source: S,
    ) -> Result<(ActorRef<A>, Option<Starting>), SpawnError>
    where
        S: Source<A>,
    {
        let Some(system) = &self.system else {
            return Err(SpawnError::SystemClosed);
        };
        let core = system.core();
        if core.is_closing() {
            return Err(SpawnError::SystemClosed);
        }
        let urn = self.urn.clone()?.unwrap_or_else(Urn::generate);
        let at_once = S::RUNS_ONCE && A::STARTS_AT_ONCE && has_no_ticks::<A>();
        let cell = Arc::new(ActorCell::new(
            urn.clone(),
            core.next_sequence(),
            self.mailbox,
            self.parent.as_ref().map(Arc::downgrade),
            self.kind,
        ));
        // Before anybody finds the actor: another's reference that comes and goes meanwhile must not
        // be its last.
        let reference = ActorRef::new(cell.clone());
        if !core.registry.claim(cell.clone()) {
            return Err(SpawnError::UrnTaken { urn });
        }
        // From here on the tenancy frees the URN, whatever happens.
        let (started, heard) = if at_once {
            (None, None)
        } else {
            let (started, heard) = oneshot::channel();
            (Some(started), Some(heard))
        };
        let guard = ActorGuard::new(cell.clone(), core.clone(), actor, started);
        // A shutdown that began meanwhile either sees the actor or is seen here.
        if core.is_closing() {
            return Err(SpawnError::SystemClosed);
        }
        if let Some(parent) = &self.parent
            && !parent.add_child(cell.clone())
        {
            let parent = parent.urn().clone();
            return Err(SpawnError::ParentStopped { parent });
        }
        let context = Context::new(cell.clone(), system.link());
        let starting = heard.map(|heard| {
            let mut wait = Wait::default();
            // Before it starts, so that this closes no cycle.
            wait.record(|| Edge::new(cell.clone(), WaitFor::Started));
            Starting { heard, wait }
        });
        if at_once {
            cell.stats.enter(Phase::Running);
        }
        spawn_task(runner::run(guard, context, source));
        Ok((reference, starting))
    }
}

/// False also if the actor's code for it panics: the runner calls it again, and has the actor fail.
fn has_no_ticks<A: Actor>() -> bool {
    panics::catch(A::ticks).is_ok_and(<[_]>::is_empty)
}

// Nothing in it is ever pinned.
impl<A: Actor, S> Unpin for Spawn<A, S> {}

impl<A: Actor, S: Source<A>> Future for Spawn<A, S> {
    type Output = Result<ActorRef<A>, SpawnError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Stage::New(..) = self.stage {
            // A task that spawns and spawns would keep the thread to itself.
            let budget = ready!(poll_proceed(cx));
            budget.made_progress();
            if let Stage::New(actor, source) = std::mem::replace(&mut self.stage, Stage::Over) {
                let (actor, starting) = self.begin(actor, source)?;
                match starting {
                    None => return Poll::Ready(Ok(actor)),
                    Some(starting) => self.stage = Stage::Starting(actor, starting),
                }
            }
        }
        let Stage::Starting(actor, starting) = &mut self.stage else {
            return Poll::Pending; // polled after completion
        };
        let started = ready!(starting.poll(actor, cx));
        let Stage::Starting(actor, _) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Poll::Pending;
        };
        let end = match started {
            Ok(Ok(())) => return Poll::Ready(Ok(actor)),
            Ok(Err(end)) => end,
            Err(_) => StopReason::Killed, // the runtime was shut down
        };
        Poll::Ready(Err(SpawnError::of_end(actor.urn().clone(), end)))
    }
}

impl<A: Actor, S> fmt::Debug for Spawn<A, S> {
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
    /// Its factory or `on_start` panicked or returned a failure. That of a supervised actor did so
    /// more often than its budget of restarts allows.
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
    /// It was asked to stop before it had a state.
    #[error("the actor `{urn}` was stopped before it had started: {reason}")]
    Stopped {
        /// Its URN, which is free again.
        urn: Urn,
        /// Why it stopped.
        reason: StopReason,
    },
    /// The actor whose child it was to be is ending.
    #[error("its parent `{parent}` is ending")]
    ParentStopped {
        /// The parent's URN.
        parent: Urn,
    },
    /// The system is shutting down, or is gone.
    #[error("the actor system is shutting down")]
    SystemClosed,
}

impl SpawnError {
    /// Of an actor that ended before it had started.
    fn of_end(urn: Urn, end: StopReason) -> Self {
        match end {
            StopReason::Failed(failure) | StopReason::Exhausted(failure) => {
                Self::StartFailed { urn, failure }
            }
            StopReason::Killed => Self::Killed { urn },
            reason => Self::Stopped { urn, reason },
        }
    }
}
