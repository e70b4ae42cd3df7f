//! Shutting a system down, in order and within a bound.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::actor::any::AnyActor;
use crate::actor::control::StopCause;
use crate::actor::wait_stopped::{ended, stopped_first};
use crate::core::{Service, SystemCore, spawn_task};
use crate::deadlock::current::Current;
use crate::system::bound::{Bound, Clock};
use crate::urn::Urn;

/// How long a shutdown takes at most, unless it is told otherwise.
const BOUND: Duration = Duration::from_secs(10);

/// After a kill, or for whoever called the shutdown from a handler, how long a handler has to come to its next await.
const GRACE: Duration = Duration::from_secs(1);

/// A shutdown about to begin: awaited, it stops everything.
///
/// # Cancel safety
///
/// Dropped midway, it leaves the rest running; it may be called again.
#[must_use = "a shutdown begins when it is awaited"]
pub struct Shutdown {
    core: Arc<SystemCore>,
    bound: Duration,
    /// Nothing until it is polled.
    running: Option<Pin<Box<dyn Future<Output = ShutdownReport> + Send>>>,
}

impl Shutdown {
    pub(super) fn new(core: Arc<SystemCore>) -> Self {
        Self {
            core,
            bound: BOUND,
            running: None,
        }
    }

    /// How long an orderly stop may take: 10 s unless changed. Then what is left is killed.
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    async fn run(core: Arc<SystemCore>, bound: Duration) -> ShutdownReport {
        let now = Instant::now();
        let deadline = now
            .checked_add(bound)
            .unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        core.close();
        let clock = Clock::of_runtime();
        let deadline = Bound::at(deadline, clock);
        let services = core.take_services();
        for service in &services {
            if deadline.wait_for(service.stop()).await.is_none() {
                service.abort();
            }
        }
        let mut actors = core.registry.newest_first();
        // An actor that shuts its own system down cannot wait for itself, nor for the tree it is in.
        let own = Current::id().and_then(|id| actors.iter().find(|actor| actor.id() == id));
        let own = own.cloned().map(root_of);
        if let Some(own) = &own {
            actors.retain(|actor| root_of(actor.clone()).id() != own.id());
        }
        let report = stop_all(&actors, &deadline, clock).await;
        let grace = deadline.moment().max(Instant::now() + GRACE);
        match own {
            None => finish(&services, &Bound::at(grace, clock)).await,
            // It goes on with the handler that called, which may have an answer to give.
            Some(own) => {
                own.stop(StopCause::Shutdown);
                spawn_task(async move {
                    let grace = Bound::at(grace, clock);
                    if grace.wait_for(ended(&*own)).await.is_none() {
                        warn!(urn = %own.urn(), "the actor that shut its system down is killed");
                        own.kill();
                    }
                    finish(&services, &grace).await;
                });
            }
        }
        debug!(
            actors = actors.len(),
            ?report,
            "the actor system has shut down"
        );
        report
    }
}

/// The actor that has no parent, at the top of the tree that this one is in.
fn root_of(mut actor: Arc<dyn AnyActor>) -> Arc<dyn AnyActor> {
    while let Some(parent) = actor.parent() {
        actor = parent;
    }
    actor
}

/// Lets services send what the actors answered.
async fn finish(services: &[Arc<dyn Service>], deadline: &Bound) {
    for service in services {
        if deadline.wait_for(service.finish()).await.is_none() {
            warn!("some answers were not sent in time");
            service.abort();
        }
    }
}

/// Stops actors one after another until the deadline, and kills the rest. Children are stopped by
/// their parents, so that these can still handle what is queued.
async fn stop_all(actors: &[Arc<dyn AnyActor>], deadline: &Bound, clock: Clock) -> ShutdownReport {
    for actor in actors.iter().filter(|actor| actor.parent().is_none()) {
        actor.stop(StopCause::Shutdown);
        // Within a handler it may wait for the actor that this is.
        let stopped = stopped_first(actor.clone());
        if deadline.wait_for(stopped).await.is_none() {
            break;
        }
    }
    // Some may have ended on their own.
    let overran = actors.iter().filter(|actor| !actor.has_ended());
    let overran: Vec<_> = overran.collect();
    let mut report = ShutdownReport::default();
    if overran.is_empty() {
        return report;
    }
    for actor in &overran {
        actor.kill();
    }
    let grace = Bound::at(Instant::now() + GRACE, clock);
    for actor in overran {
        let list = match grace.wait_for(ended(&**actor)).await {
            Some(_) => &mut report.killed,
            None => &mut report.stuck,
        };
        warn!(urn = %actor.urn(), "an actor did not stop in time");
        list.push(actor.urn().clone());
    }
    report
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (core, bound) = (self.core.clone(), self.bound);
        self.running
            .get_or_insert_with(|| Box::pin(Self::run(core, bound)))
            .as_mut()
            .poll(cx)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

/// What did not stop in good order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Actors that were killed because the bound had passed.
    pub killed: Vec<Urn>,
    /// Actors that run on, because their handler never comes to an await.
    pub stuck: Vec<Urn>,
}

impl ShutdownReport {
    /// True if everything stopped in good order.
    pub fn is_clean(&self) -> bool {
        self.killed.is_empty() && self.stuck.is_empty()
    }
}
