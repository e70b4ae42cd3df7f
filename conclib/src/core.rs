//! The parts of an actor system that its actors and services share: the registry, the order of spawning,
//! services to be stopped, and failures.

use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::actor::control::StopCause;
use crate::actor::host::{Host, SystemLink};
use crate::error::{AskError, Failure};
use crate::stop_reason::StopReason;
use crate::urn::Urn;

pub use escalations::ActorFailure;

use escalations::Escalations;
use registry::Registry;

mod escalations;
pub(crate) mod registry;

/// What the clones of a system share; when the last is dropped, everything stops.
pub(crate) struct SystemHandle {
    core: Arc<SystemCore>,
    /// Shared by the contexts of all actors.
    link: Arc<SystemLink>,
}

/// What outlives the system for as long as an actor of it runs.
#[derive(Default)]
pub(crate) struct SystemCore {
    pub(crate) registry: Arc<Registry>,
    /// The next actor's place in the order of spawning.
    sequence: AtomicU64,
    /// No more spawns.
    closing: AtomicBool,
    /// What is stopped before the actors: proxies.
    services: Mutex<Vec<Arc<dyn Service>>>,
    /// Who hears of each actor that fails; nobody in a system that is not under test.
    failures: OnceLock<FailureObserver>,
    /// Failures of root actors that the program has not heard of yet.
    pub(crate) escalations: Escalations,
}

/// Hears which actor failed, and how. Called in the actor's task: it must not block or panic.
pub(crate) type FailureObserver = Box<dyn Fn(&Urn, &Failure) + Send + Sync>;

/// Something that serves a system from outside and stops before its actors.
#[async_trait]
pub(crate) trait Service: Send + Sync {
    /// Stops taking requests, in good order.
    async fn stop(&self);
    /// After the actors have stopped: sends what they answered, and ends.
    async fn finish(&self);
    /// Stops by itself; nobody waits for it.
    fn abort(&self);
    /// True once it has ended.
    fn is_over(&self) -> bool;
}

impl SystemHandle {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|handle: &Weak<Self>| Self {
            core: Arc::default(),
            link: Arc::new(SystemLink::new(handle.clone())),
        })
    }

    pub(crate) fn core(&self) -> &Arc<SystemCore> {
        &self.core
    }

    pub(crate) fn link(&self) -> Arc<SystemLink> {
        self.link.clone()
    }
}

impl Drop for SystemHandle {
    fn drop(&mut self) {
        self.core.close();
        for service in self.core.take_services() {
            service.abort();
        }
        // Children are their parents' affair.
        for actor in self.core.registry.newest_first() {
            if actor.parent().is_none() {
                actor.stop(StopCause::Shutdown);
            }
        }
    }
}

impl Host for SystemHandle {
    fn actor_failed(&self, urn: &Urn, failure: &Failure) {
        if let Some(observer) = self.core.failures.get() {
            observer(urn, failure);
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl SystemCore {
    /// Reports that a root actor that escalates has failed for good.
    pub(crate) fn escalate(&self, urn: Urn, reason: StopReason) {
        self.escalations.add(ActorFailure { urn, reason });
    }

    /// Waits for such a failure, and takes it.
    pub(crate) async fn next_escalation(&self) -> ActorFailure {
        self.escalations.next().await
    }

    /// Says who hears of each actor that fails, from now on. The first one stays.
    #[cfg(feature = "test-util")]
    pub(crate) fn observe_failures(&self, observer: FailureObserver) {
        drop(self.failures.set(observer));
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses spawns from now on.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Adds what is to be stopped before the actors; false if it is too late for that.
    pub(crate) fn attach(&self, service: Arc<dyn Service>) -> bool {
        let mut services = self.services.lock();
        if self.is_closing() {
            return false;
        }
        services.retain(|service| !service.is_over());
        services.push(service);
        true
    }

    #[cfg(test)]
    pub(crate) fn services(&self) -> usize {
        let services = self.services.lock();
        services.len()
    }

    pub(crate) fn take_services(&self) -> Vec<Arc<dyn Service>> {
        let mut services = self.services.lock();
        std::mem::take(&mut services)
    }
}

/// Why a lookup found nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// No actor lives there.
    #[error("no actor has the URN `{urn}`")]
    NotFound {
        /// The URN that was looked up.
        urn: Urn,
    },
    /// The actor there failed and will not start again; see [`Snapshot::failed`]. Another may be
    /// spawned at its URN.
    #[error("the actor `{urn}` failed and will not start again")]
    Failed {
        /// The URN that was looked up.
        urn: Urn,
    },
    /// An actor of another type lives there.
    #[error("the actor `{urn}` is a `{found}`, not a `{expected}`")]
    WrongType {
        /// The URN that was looked up.
        urn: Urn,
        /// The type that was wanted.
        expected: &'static str,
        /// The type that lives there.
        found: &'static str,
    },
    /// The actor there has no handler for the message.
    #[error("the actor `{urn}` has no handler for `{message}`")]
    Unhandled {
        /// The URN that was looked up.
        urn: Urn,
        /// The message's Rust type.
        message: &'static str,
    },
}

impl From<LookupError> for AskError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NotFound { urn } => Self::ActorNotFound { urn },
            LookupError::Failed { urn } => Self::ActorFailed { urn },
            LookupError::WrongType { urn, expected, .. } => Self::Unhandled {
                urn,
                message: expected.to_owned(),
            },
            LookupError::Unhandled { urn, message } => Self::Unhandled {
                urn,
                message: message.to_owned(),
            },
        }
    }
}

/// Spawns a task of the library itself.
pub(crate) fn spawn_task(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task)); // it reports its own end
}
