//! The system of an actor, as the actor itself knows it.

use std::any::Any;
use std::sync::{Arc, Weak};

use crate::actor::FailureEvent;
use crate::actor::any::AnyActor;
use crate::actor::closures::RunningClosures;
use crate::error::AskError;
use crate::time::schedule::{Due, Schedule, TickDecision, WallInstant};

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

/// An actor's link to its system: weak, so that no actor keeps its system alive. The default leads to
/// none, for unit tests of handlers.
pub(crate) struct SystemLink(Weak<dyn Host>);

impl SystemLink {
    pub(crate) fn new(host: Weak<dyn Host>) -> Self {
        Self(host)
    }

    /// The system, if it still exists and is an `H`.
    pub(crate) fn upgrade<H: Host>(&self) -> Option<Arc<H>> {
        self.0.upgrade()?.as_any().downcast().ok()
    }

    pub(crate) fn token(&self) -> Option<u64> {
        self.0.upgrade()?.token()
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.0.upgrade().is_some_and(|host| host.is_serving())
    }

    /// The closures that run, to count one; `None` if the system is gone.
    pub(crate) fn closures(&self) -> Option<Arc<RunningClosures>> {
        Some(self.0.upgrade()?.closures())
    }

    /// Decides on a tick of an actor that is due now.
    pub(crate) fn decide(&self, schedule: &Schedule, due: &Due) -> TickDecision {
        let now = WallInstant::now();
        if !schedule.is_while_serving() || self.is_serving() {
            return schedule.decide(due, now);
        }
        TickDecision {
            runs: false,
            next: schedule.defer(due, now),
        }
    }

    /// Finds the actor with this URN, or starts it if it is on demand.
    ///
    /// # Errors
    ///
    /// The reason that there is no such actor.
    pub(crate) fn find(&self, urn: &str) -> Result<Arc<dyn AnyActor>, AskError> {
        self.0.upgrade().ok_or(AskError::Closed)?.find(urn)
    }

    pub(crate) fn actor_failed(&self, event: &FailureEvent) {
        if let Some(host) = self.0.upgrade() {
            host.actor_failed(event);
        }
    }
}

impl Default for SystemLink {
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
