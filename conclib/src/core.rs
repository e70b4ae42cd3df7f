//! The parts of an actor system that its actors and services share: the registry, the order of
//! spawning, the services, and failures.

use std::any::Any;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, warn};

use crate::actor::any::AnyActor;
use crate::actor::closures::RunningClosures;
use crate::actor::control::StopCause;
use crate::actor::host::{ActorEnds, Host, HostLink, SystemLink};
use crate::actor::type_counters::{TypeCounters, TypeNumber};
use crate::actor::{FailedActor, FailureEvent, Handlers};
use crate::error::{AskError, panics};
use crate::random::{self, Process};
use crate::stop_reason::StopReason;
use crate::urn::{ActorName, Urn};

pub(crate) use blocking_work::BlockingWork;
pub use escalations::ActorFailure;
pub use failure_log::FailureRecord;
pub use lookup_error::LookupError;
#[cfg(feature = "bus")]
pub(crate) use name_lists::ListedFuture;
pub(crate) use name_lists::NameLists;

use actor_types::ActorTypes;
use escalations::Escalations;
use failure_log::FailureLog;
use registry::Registry;

mod actor_types;
mod blocking_work;
mod escalations;
mod failure_log;
mod lookup_error;
mod name_lists;
pub(crate) mod registry;

/// Shared by the clones of a system; dropping the last one stops the system.
pub(crate) struct SystemHandle {
    core: Arc<SystemCore>,
    /// The link of the actors, shared by the contexts of all.
    link: Arc<SystemLink>,
}

/// The part of a system that lives as long as any actor of the system runs.
#[derive(Default)]
pub(crate) struct SystemCore {
    pub(crate) registry: Arc<Registry>,
    pub(crate) token: Arc<FencingToken>,
    /// Names the system in the URNs that it generates.
    process: OnceLock<Process>,
    /// The counters of its actor types.
    types: ActorTypes,
    /// The sequence number of the next actor.
    sequence: AtomicU64,
    /// True if spawns are refused.
    closing: AtomicBool,
    /// Notified when spawns are refused.
    closed: Notify,
    /// True once a proxy continues traces: then spans have the names that such traces show.
    is_traced: AtomicBool,
    /// Services, which are stopped before the actors: proxies.
    services: Mutex<Vec<Arc<dyn Service>>>,
    /// Lists the names of the actors, while the system is in a fleet.
    name_lists: Mutex<Option<Arc<dyn NameLists>>>,
    /// The system is in a fleet: read for each spawn with a name.
    has_name_lists: AtomicBool,
    /// The types of root actors that tick, and do not say that each member of a fleet is to.
    ticking: Mutex<BTreeSet<&'static str>>,
    /// Called for each failure of an actor.
    observers: Mutex<Vec<FailureObserver>>,
    /// The last failures of actors.
    failures: FailureLog,
    /// Failures of root actors, and ends of essential ones, that the program has not taken yet.
    pub(crate) escalations: Escalations,
    /// Closures of `spawn_blocking` that run.
    closures: Arc<RunningClosures>,
}

/// Called with each failure of an actor, in the actor's task.
pub(crate) type FailureObserver = Arc<dyn Fn(&FailureEvent) + Send + Sync>;

/// A future of a [`Service`].
pub(crate) type BoxFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A service that connects a system to the outside, and stops before the actors: a proxy.
pub(crate) trait Service: Send + Sync {
    /// Stops accepting requests, in good order.
    fn stop(&self) -> BoxFuture<'_>;
    /// Sends the remaining replies after the actors have stopped, lets other systems serve, and ends.
    fn finish(&self) -> BoxFuture<'_>;
    /// Stops the service without waiting for its end.
    fn abort(&self);
    /// True once the service has ended.
    fn is_over(&self) -> bool;
    /// True while other processes can ask the actors through the service.
    fn is_serving(&self) -> bool;
    /// The service, for a downcast to its type.
    fn as_any(&self) -> &dyn Any;
}

/// The fencing token of a system: the epoch of the lease that it holds, or held last; 0 for none.
#[derive(Default)]
pub(crate) struct FencingToken(AtomicU64);

impl FencingToken {
    /// Notes the epoch of a lease that was taken.
    #[cfg_attr(
        not(feature = "bus"),
        allow(dead_code, reason = "only the bus has leases")
    )]
    pub(crate) fn note(&self, epoch: u64) {
        self.0.fetch_max(epoch, Ordering::AcqRel);
    }

    pub(crate) fn get(&self) -> Option<u64> {
        let token = self.0.load(Ordering::Acquire);
        (token > 0).then_some(token)
    }
}

impl SystemHandle {
    pub(crate) fn new() -> Arc<Self> {
        let core = Arc::<SystemCore>::default();
        Arc::new_cyclic(|handle: &Weak<Self>| {
            let host = HostLink::new(handle.clone());
            Self {
                link: Arc::new(SystemLink::new(host, core.clone())),
                core,
            }
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
        self.core.abandon();
    }
}

impl Host for SystemHandle {
    fn actor_failed(&self, event: &FailureEvent) {
        self.core.failures.add(event);
        // A copy, so that an observer may add another.
        let observers = self.core.observers.lock().clone();
        for observer in observers {
            if let Err(failure) = panics::catch(|| observer(event)) {
                let urn = &event.urn;
                error!(%urn, %failure, "an observer of the failure of `{urn}` panicked");
            }
        }
    }

    fn token(&self) -> Option<u64> {
        self.core.token.get()
    }

    fn is_serving(&self) -> bool {
        self.core.is_serving()
    }

    fn closures(&self) -> Arc<RunningClosures> {
        self.core.closures.clone()
    }

    fn find(&self, urn: &str) -> Result<Arc<dyn AnyActor>, AskError> {
        Ok(self.core.registry.find(urn)?)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl ActorEnds for SystemCore {
    fn release(&self, actor: &dyn AnyActor) {
        self.failures.decide(actor.name(), false);
        self.registry.release(actor);
        if let Some(lists) = self.name_lists() {
            lists.released(actor);
        }
    }

    fn note_failed(&self, actor: FailedActor, private: bool) {
        self.registry.note_failed(actor, private);
    }

    fn note_restart(&self, name: &ActorName) {
        self.failures.decide(name, true);
    }

    fn escalate(&self, urn: Urn, reason: StopReason) {
        self.escalations.add(ActorFailure { urn, reason });
    }

    fn is_closing(&self) -> bool {
        SystemCore::is_closing(self)
    }

    fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }
}

impl SystemCore {
    /// Waits for the end of an actor that is [escalated](ActorEnds::escalate), and takes it.
    pub(crate) async fn next_escalation(&self) -> ActorFailure {
        self.escalations.next().await
    }

    /// The number of an actor type in this system.
    pub(crate) fn type_number<A: Handlers>(&self) -> TypeNumber {
        self.types.number::<A>()
    }

    /// The counters of all actor types.
    pub(crate) fn types(&self) -> Vec<Arc<TypeCounters>> {
        self.types.all()
    }

    /// The last failures of actors, the oldest first.
    pub(crate) fn failures(&self) -> Vec<FailureRecord> {
        self.failures.all()
    }

    /// Adds an observer of failures.
    pub(crate) fn observe_failures(&self, observer: FailureObserver) {
        self.observers.lock().push(observer);
    }

    /// The number that names the system in the URNs that it generates.
    pub(crate) fn process(&self) -> Process {
        *self.process.get_or_init(random::process)
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Refuses spawns from now on. Actors on demand still start, until the shutdown comes to their
    /// pattern: older actors may need them for their queued messages.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.closed.notify_waiters();
    }

    /// Ends the system without waiting: refuses spawns and starts, aborts the services, and stops the
    /// actors, all at once.
    pub(crate) fn abandon(&self) {
        self.close();
        self.registry.starters.close();
        for service in self.take_services() {
            service.abort();
        }
        // Parents stop their children.
        for actor in self.registry.newest_first() {
            if actor.parent().is_none() {
                actor.stop(StopCause::Shutdown);
            }
        }
    }

    /// Waits until spawns are refused.
    pub(crate) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.is_closing() {
            closed.await;
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Notes that a proxy continues traces.
    #[cfg(feature = "bus")]
    pub(crate) fn note_traced(&self) {
        self.is_traced.store(true, Ordering::Relaxed);
    }

    /// Adds a service; false if the system is shutting down.
    pub(crate) fn attach(&self, service: Arc<dyn Service>) -> bool {
        let mut services = self.services.lock();
        if self.is_closing() {
            return false;
        }
        services.retain(|service| !service.is_over());
        services.push(service);
        true
    }

    /// Lists the names of all actors from now on; false if the system is in a fleet already.
    pub(crate) fn list_names(&self, lists: &Arc<dyn NameLists>) -> bool {
        {
            let mut current = self.name_lists.lock();
            if current.is_some() {
                return false;
            }
            *current = Some(lists.clone());
            self.has_name_lists.store(true, Ordering::SeqCst);
        }
        let ticking = self.ticking.lock().clone();
        ticking.into_iter().for_each(warn_of_ticks);
        // A concurrent spawn either is in the registry by now, or sees the flag.
        for actor in self.registry.newest_first().into_iter().rev() {
            lists.claimed(&*actor);
            if actor.has_ended() {
                lists.released(&*actor);
            }
        }
        true
    }

    /// Notes that a root actor of this type ticks, and does not say that each member of a fleet is to.
    pub(crate) fn note_ticking(&self, actor_type: &'static str) {
        let is_first = self.ticking.lock().insert(actor_type);
        if is_first && self.has_name_lists.load(Ordering::SeqCst) {
            warn_of_ticks(actor_type);
        }
    }

    /// Lists no more names.
    pub(crate) fn end_name_lists(&self) {
        self.has_name_lists.store(false, Ordering::SeqCst);
        self.name_lists.lock().take();
    }

    /// The part of the system that lists names, while it is in a fleet.
    pub(crate) fn name_lists(&self) -> Option<Arc<dyn NameLists>> {
        if !self.has_name_lists.load(Ordering::SeqCst) {
            return None;
        }
        self.name_lists.lock().clone()
    }

    /// True while other processes can ask the actors.
    pub(crate) fn is_serving(&self) -> bool {
        let services = self.services.lock();
        services.iter().any(|service| service.is_serving())
    }

    /// The work of the actors that may keep a runtime that ends.
    #[cfg_attr(
        not(feature = "bus"),
        allow(dead_code, reason = "only a service ends its process")
    )]
    pub(crate) fn blocking_work(&self) -> BlockingWork {
        BlockingWork::new(self.closures.clone(), self.registry.clone())
    }

    /// Calls a function with each service.
    #[cfg_attr(
        not(feature = "bus"),
        allow(dead_code, reason = "only the bus has services")
    )]
    pub(crate) fn each_service(&self, mut call: impl FnMut(&dyn Service)) {
        let services = self.services.lock();
        services.iter().for_each(|service| call(&**service));
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

/// Warns of actors that tick in each member of a fleet, and may not be meant to.
fn warn_of_ticks(actor_type: &'static str) {
    warn!(
        actor_type,
        "an actor with ticks is in a fleet: it ticks in each member that has it; write `each_member` in its \
         `#[periodic(..)]` if it is to"
    );
}

/// Spawns a task of the library itself, and detaches it.
pub(crate) fn spawn_task(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task)); // detached: the task reports its end by other means
}
