//! The starter of one pattern's actors, and their lifecycle.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::actor::any::{AnyActor, Unless};
use crate::actor::host::HostLink;
use crate::actor::supervision::{RestartBudget, Supervision};
use crate::actor::{Actor, MaybeActor};
use crate::core::registry::{Registry, Starter};
use crate::core::{LookupError, SystemHandle};
use crate::error::Failure;
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::Supervised;
use crate::supervision::lifecycle::sealed::StateSource;
use crate::supervision::{Backoff, Budget, Restart, log_last_failure};
use crate::system::on_demand::closing::ClosingStarts;
use crate::system::on_demand::idle::IdleQueue;
use crate::system::on_demand::pattern::Pattern;
use crate::system::on_demand::refusals::RecentRefusals;
use crate::system::{ActorSystem, Spawn, SpawnError};
use crate::urn::Urn;

/// The actors of one pattern, as shared by its starter, their lifecycles and the handles.
pub(super) struct DemandState {
    pub(super) pattern: Pattern,
    /// The most actors that are live at once.
    pub(super) max: usize,
    /// The number of live actors: those that start and those that end included.
    pub(super) live: AtomicUsize,
    pub(super) queue: IdleQueue,
    pub(super) refusals: RecentRefusals,
    /// Its starts while the system is closing.
    pub(super) closing: ClosingStarts,
}

/// The settings of each actor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ActorSettings {
    /// The capacity of the mailbox; that of the type if `None`.
    pub(super) mailbox: Option<usize>,
    pub(super) restart: Restart,
    pub(super) budget: Budget,
    pub(super) backoff: Backoff,
}

/// Starts the actors of one pattern.
pub(super) struct DemandStarter<F> {
    pub(super) factory: F,
    pub(super) settings: ActorSettings,
    pub(super) state: Arc<DemandState>,
    /// The place of the actors in the order of spawning.
    pub(super) place: u64,
    pub(super) registry: Weak<Registry>,
    pub(super) system: HostLink,
    /// The runtime of the actors: lookups may come from threads without one.
    pub(super) runtime: Handle,
    /// The task that looks for idle actors.
    pub(super) idle_task: AbortHandle,
}

impl<F> Drop for DemandStarter<F> {
    fn drop(&mut self) {
        self.idle_task.abort();
    }
}

impl DemandState {
    /// Takes one of the places of live actors.
    fn take_place(&self) -> bool {
        let more = |live| (live < self.max).then_some(live + 1);
        let taken = self
            .live
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok()
    }
}

impl<A, F, Fut> Starter for DemandStarter<F>
where
    A: Actor,
    F: Fn(Urn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: MaybeActor<Actor = A>> + Send + 'static,
{
    fn is_private(&self) -> bool {
        A::PRIVATE
    }

    fn start(self: Arc<Self>, urn: &Urn) -> Result<Option<Arc<dyn AnyActor>>, LookupError> {
        if let Some(refusal) = self.state.refusals.error_of(urn) {
            return Err(refusal);
        }
        let handle = self.system.upgrade::<SystemHandle>();
        let system = ActorSystem::from_handle(handle.ok_or(LookupError::SystemClosed)?);
        if !self.state.take_place() {
            return Err(LookupError::overloaded(urn.clone()));
        }
        let (settings, runtime, state) = (self.settings, self.runtime.clone(), self.state.clone());
        let lifecycle = DemandLifecycle::new(urn.clone(), self);
        let spawn = Spawn::new(Some(system), None, None, lifecycle);
        let spawn = spawn.urn(urn).on_demand();
        let spawn = spawn.mailbox(settings.mailbox.unwrap_or(A::MAILBOX));
        let _runtime = runtime.enter();
        match spawn.begin_now() {
            Ok(actor) => Ok(Some(actor.cell().clone())),
            Err(SpawnError::UrnTaken { .. }) => Ok(None),
            // It has no thread.
            Err(SpawnError::StartFailed { urn, failure, .. }) => {
                state.refusals.note_end(&urn, &StopReason::Failed(failure));
                Err(LookupError::Failed { urn })
            }
            Err(_) => Err(LookupError::SystemClosed),
        }
    }

    fn place(&self) -> u64 {
        self.place
    }

    fn close(&self) -> Vec<Arc<dyn AnyActor>> {
        self.state.closing.close()
    }
}

/// The lifecycle of an actor on demand. It has a place among the live ones until it is dropped.
pub(super) struct DemandLifecycle<F> {
    urn: Urn,
    starter: Arc<DemandStarter<F>>,
    /// Decides about restarts after failures.
    restarts: Supervised<()>,
    /// True if the current incarnation has started.
    has_started: bool,
    /// True once the actor is in the queue of those that may be idle.
    is_queued: bool,
}

impl<F> DemandLifecycle<F> {
    fn new(urn: Urn, starter: Arc<DemandStarter<F>>) -> Self {
        let mut restarts = Supervised::new(());
        restarts.restart = starter.settings.restart;
        restarts.budget = starter.settings.budget;
        restarts.backoff = starter.settings.backoff;
        Self {
            urn,
            starter,
            restarts,
            has_started: false,
            is_queued: false,
        }
    }

    /// The actor, from the registry.
    fn registered(&self) -> Option<Weak<dyn AnyActor>> {
        let registry = self.starter.registry.upgrade()?;
        registry.get_weak(self.urn.as_str())
    }

    /// True if a message waits for the actor, or it is referenced.
    fn is_awaited(&self) -> bool {
        let actor = self.registered().and_then(|actor| actor.upgrade());
        actor.is_some_and(|actor| actor.is_awaited())
    }

    /// Ends the actor, unless a message waits or `unless` holds.
    fn retire(&self, unless: Unless, end: StopReason) -> Result<(), StopReason> {
        let registry = self.starter.registry.upgrade();
        let retires = registry.is_some_and(|registry| registry.retire(self.urn.as_str(), unless));
        if retires { Err(end) } else { Ok(()) }
    }
}

impl<F> Drop for DemandLifecycle<F> {
    fn drop(&mut self) {
        self.starter.state.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<A, F, Fut> StateSource<A> for DemandLifecycle<F>
where
    A: Actor,
    F: Fn(Urn) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: MaybeActor<Actor = A>> + Send + 'static,
{
    const RUNS_ONCE: bool = false;

    fn supervision(&self) -> Supervision {
        Supervision::OnDemand
    }

    fn budget(&self) -> Option<RestartBudget> {
        Some(self.restarts.budget.shown())
    }

    fn place(&self) -> Option<u64> {
        Some(self.starter.place)
    }

    fn starts_while_closing(&self) -> bool {
        let closing = &self.starter.state.closing;
        self.registered().is_some_and(|actor| closing.admit(actor))
    }

    // Not an `async fn`: the factory's output need not be `Send` by itself.
    fn make(&mut self) -> impl Future<Output = Result<Option<A>, Failure>> + Send {
        let making = (self.starter.factory)(self.urn.clone());
        async move { making.await.into_maybe() }
    }

    fn begin(&mut self) {
        self.has_started = false;
        self.restarts.note_begin();
    }

    fn started(&mut self) {
        self.has_started = true;
        if self.is_queued {
            return;
        }
        if let Some(actor) = self.registered() {
            let state = &self.starter.state;
            state.queue.add(actor, state.live.load(Ordering::Relaxed));
            self.is_queued = true;
        }
    }

    async fn next(&mut self, urn: &Urn, end: StopReason) -> Result<(), StopReason> {
        let next = match end {
            StopReason::Absent => Err(end),
            StopReason::Idle => self.retire(Unless::Referenced, end),
            // It would keep a place among the live ones, and try again for none.
            end if end.is_failure() && !self.has_started && !self.is_awaited() => {
                log_last_failure(urn, &end, "no message waits for it");
                Err(end)
            }
            end if end.is_failure() || self.restarts.restart == Restart::Always => {
                self.restarts.wait_for_restart(urn, end).await
            }
            end => self.retire(Unless::Never, end),
        };
        if let Err(end) = &next {
            self.starter.state.refusals.note_end(urn, end);
        }
        next
    }
}
