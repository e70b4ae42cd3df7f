//! The beginning of an actor: its cell, its URN and its task.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::actor::any::AnyActor;
use crate::actor::cell::{ActorCell, Extras, Lifetime};
use crate::actor::listing::NameKind;
use crate::actor::stats::Phase;
use crate::actor::{Actor, ActorRef, Context, Tick};
use crate::error::panics;
use crate::runner::{self, ActorGuard};
use crate::stop_reason::StopReason;
use crate::supervision::lifecycle::Lifecycle;
use crate::system::ActorSystem;
use crate::system::spawn::starting::Starting;
use crate::system::spawn::{Spawn, SpawnError, SpawnState};
use crate::urn::ActorName;

impl<A: Actor, S> Spawn<A, S> {
    /// Starts the actor without waiting for `on_start`.
    pub(crate) fn begin_now(mut self) -> Result<ActorRef<A>, SpawnError>
    where
        S: Lifecycle<A>,
    {
        let SpawnState::New(actor, source) =
            std::mem::replace(&mut self.state, SpawnState::Complete)
        else {
            unreachable!("the builder is consumed, so it has not been polled");
        };
        Ok(self.begin(actor, source)?.0)
    }

    fn make_cell(&self, system: &ActorSystem, name: ActorName, source: &S) -> ActorCell<A>
    where
        S: Lifecycle<A>,
    {
        let is_on_demand = self.kind.lifetime == Lifetime::OnDemand;
        let extras = Extras::new(
            self.parent.as_ref().map(Arc::downgrade),
            self.kind,
            is_on_demand.then(|| system.link().host().clone()),
        );
        let extras = extras.with_budget(source.budget());
        let sequence = source
            .place()
            .unwrap_or_else(|| system.core().next_sequence());
        let actor_type = system.core().type_number::<A>();
        let cell = ActorCell::new(name, sequence, self.mailbox, actor_type, extras);
        cell.control.note_supervision(source.supervision());
        cell
    }

    /// Tells the system of an actor that other processes may look for, or that ticks in each of them.
    fn announce(&self, system: &ActorSystem, actor: &dyn AnyActor) {
        let core = system.core();
        if actor.name_kind() != NameKind::Local
            && let Some(lists) = core.name_lists()
        {
            lists.claimed(actor);
        }
        if self.parent.is_none() && ticks_in_each_member::<A>() {
            core.note_ticking(std::any::type_name::<A>());
        }
    }

    /// Makes the actor's cell, and takes the URN for it.
    fn claim(
        &self,
        system: &ActorSystem,
        source: &S,
    ) -> Result<(Arc<ActorCell<A>>, ActorRef<A>), SpawnError>
    where
        S: Lifecycle<A>,
    {
        let core = system.core();
        let urn = self.urn.clone()?;
        let generate = || ActorName::generate(core.process());
        let name = urn.map_or_else(generate, ActorName::Given);
        let cell = Arc::new(self.make_cell(system, name, source));
        // Made before the actor is in the registry: otherwise a reference from a lookup, dropped
        // before this one is made, would count as the last and stop the actor.
        let reference = ActorRef::new(cell.clone());
        if !core.registry.claim(cell.clone()) {
            let urn = cell.name().to_urn();
            return Err(SpawnError::UrnTaken { urn, member: None });
        }
        Ok((cell, reference))
    }

    /// Takes the URN and starts the task. An actor without `on_start` has started then, unless it
    /// has ticks, which count from the first poll of its task.
    pub(super) fn begin(
        &self,
        actor: Option<A>,
        source: S,
    ) -> Result<(ActorRef<A>, Option<Starting>), SpawnError>
    where
        S: Lifecycle<A>,
    {
        let Some(system) = &self.system else {
            return Err(SpawnError::SystemClosed);
        };
        let core = system.core();
        let place = source.place();
        if core.is_closing() && place.is_none() {
            return Err(SpawnError::SystemClosed);
        }
        let at_once = S::RUNS_ONCE && A::STARTS_AT_ONCE && has_no_ticks::<A>();
        let (cell, reference) = self.claim(system, &source)?;
        let (started, result) = if at_once {
            (None, None)
        } else {
            let (started, result) = oneshot::channel();
            (Some(started), Some(result))
        };
        // From here on the guard frees the URN, also on an early return.
        let context = Context::new(cell.clone(), system.link());
        let guard = ActorGuard::new(context, actor, started);
        // A concurrent shutdown either finds the actor in the registry or is noticed here.
        if core.is_closing() && !source.starts_while_closing() {
            return Err(SpawnError::SystemClosed);
        }
        if let Some(parent) = &self.parent
            && !parent.add_child(cell.clone())
        {
            let parent = parent.urn().clone();
            guard.end(StopReason::ParentStopped);
            return Err(SpawnError::ParentStopped { parent });
        }
        self.announce(system, &*cell);
        let starting = result.map(|result| Starting::new(&cell, result));
        if at_once {
            cell.stats.enter(Phase::Running);
        }
        match runner::start_task(guard, source) {
            Ok(()) => Ok((reference, starting)),
            Err(failure) => {
                let urn = cell.name().to_urn();
                Err(SpawnError::StartFailed { urn, failure })
            }
        }
    }
}

/// True if the actor has ticks, and does not say that each member of a fleet is to tick.
fn ticks_in_each_member<A: Actor>() -> bool {
    let is_silent = |tick: &Tick<A>| !tick.schedule().is_for_each_member();
    panics::catch(A::ticks).is_ok_and(|ticks| ticks.iter().any(is_silent))
}

/// False also if `ticks` panics: the runner calls it again, and the actor fails there.
fn has_no_ticks<A: Actor>() -> bool {
    panics::catch(A::ticks).is_ok_and(<[_]>::is_empty)
}
