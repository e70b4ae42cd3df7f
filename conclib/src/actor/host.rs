//! The system of an actor, as the actor itself knows it.

use std::any::Any;
use std::sync::{Arc, Weak};

use tokio::time::Instant;

use crate::actor::any::AnyActor;
use crate::actor::closures::RunningClosures;
use crate::actor::{FailedActor, FailureEvent};
use crate::error::AskError;
use crate::stop_reason::StopReason;
use crate::time::schedule::{Due, Schedule, TickDecision};
use crate::urn::{ActorName, Urn};

/// A system that actors live in.
pub(crate) trait Host: Any + Send + Sync {
    /// Reports the failure of an actor to the observers.
    fn actor_failed(&self, event: &FailureEvent);
    /// The epoch of the lease that the system holds, or held last.
    fn token(&self) -> Option<u64>;
    /// True while other processes can ask the actors.
    fn is_serving(&self) -> bool;
    /// The closures of `spawn_blocking` that run.
    fn closures(&self) -> Arc<RunningClosures>;
    /// Finds the actor with this URN, or starts it if it is on demand.
    fn find(&self, urn: &str) -> Result<Arc<dyn AnyActor>, AskError>;
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// The part of a system to which its actors report their ends. It lives as long as any of them runs.
pub(crate) trait ActorEnds: Send + Sync {
    /// Frees the URN of an actor.
    fn release(&self, actor: &dyn AnyActor);
    /// Records that an actor has failed and will not start again, before its URN is freed. A private
    /// actor is not reported to the bus.
    fn note_failed(&self, actor: FailedActor, private: bool);
    /// Records that an actor has started again after a failure.
    fn note_restart(&self, name: &ActorName);
    /// Reports that a root actor that escalates has failed for good, or that an essential actor has
    /// ended.
    fn escalate(&self, urn: Urn, reason: StopReason);
    /// True if spawns are refused.
    fn is_closing(&self) -> bool;
    /// True once traces continue across a bus.
    fn is_traced(&self) -> bool;
}

/// A link to a system that does not keep it alive. The default leads to none, for unit tests of
/// handlers.
#[derive(Clone)]
pub(crate) struct HostLink(Weak<dyn Host>);

impl HostLink {
    pub(crate) fn new(host: Weak<dyn Host>) -> Self {
        Self(host)
    }

    /// The system, if it still exists and is an `H`.
    pub(crate) fn upgrade<H: Host>(&self) -> Option<Arc<H>> {
        self.0.upgrade()?.as_any().downcast().ok()
    }

    /// True while other processes can ask the system's actors.
    pub(crate) fn is_serving(&self) -> bool {
        self.0.upgrade().is_some_and(|host| host.is_serving())
    }

    /// Finds the actor with this URN, or starts it if it is on demand.
    ///
    /// # Errors
    ///
    /// The reason that there is no such actor.
    pub(crate) fn find(&self, urn: &str) -> Result<Arc<dyn AnyActor>, AskError> {
        self.0.upgrade().ok_or(AskError::Closed)?.find(urn)
    }
}

/// An actor's link to its system. It keeps the registry and the reports of ends, and not the system itself.
#[derive(Default)]
pub(crate) struct SystemLink {
    host: HostLink,
    /// `None` for unit tests of handlers.
    ends: Option<Arc<dyn ActorEnds>>,
}

impl SystemLink {
    pub(crate) fn new(host: HostLink, ends: Arc<dyn ActorEnds>) -> Self {
        let ends = Some(ends);
        Self { host, ends }
    }

    pub(crate) fn host(&self) -> &HostLink {
        &self.host
    }

    /// The part of the system to which the actor reports its end.
    pub(crate) fn ends(&self) -> Option<&dyn ActorEnds> {
        self.ends.as_deref()
    }

    /// True once traces continue across a bus of the system.
    pub(crate) fn is_traced(&self) -> bool {
        self.ends().is_some_and(ActorEnds::is_traced)
    }

    pub(crate) fn token(&self) -> Option<u64> {
        self.host.0.upgrade()?.token()
    }

    /// The closures that run, to count one; `None` if the system is gone.
    pub(crate) fn closures(&self) -> Option<Arc<RunningClosures>> {
        Some(self.host.0.upgrade()?.closures())
    }

    /// Decides on a tick of an actor that is due by now.
    pub(crate) fn decide(&self, schedule: &Schedule, due: &Due, now: Instant) -> TickDecision {
        if !schedule.is_while_serving() || self.host.is_serving() {
            return schedule.decide(due, now);
        }
        TickDecision {
            runs: false,
            next: schedule.defer(due, now),
        }
    }

    pub(crate) fn actor_failed(&self, event: &FailureEvent) {
        if let Some(host) = self.host.0.upgrade() {
            host.actor_failed(event);
        }
    }
}

impl Default for HostLink {
    fn default() -> Self {
        Self(Weak::<NoHost>::new())
    }
}

/// The type of a system that never exists.
struct NoHost;

impl Host for NoHost {
    fn actor_failed(&self, _event: &FailureEvent) {}

    fn token(&self) -> Option<u64> {
        None
    }

    fn is_serving(&self) -> bool {
        false
    }

    fn closures(&self) -> Arc<RunningClosures> {
        Arc::default()
    }

    fn find(&self, _urn: &str) -> Result<Arc<dyn AnyActor>, AskError> {
        Err(AskError::Closed)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
