//! Shutting a system down, in order and within a bound.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::{Service, SystemCore, spawn_task};
use crate::actor::cell::{AnyActor, Current, StopCause};
use crate::urn::Urn;

/// How long a shutdown takes at most, unless it is told otherwise.
const BOUND: Duration = Duration::from_secs(10);

/// After a kill, how long a handler has to come to its next await.
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
}

impl Shutdown {
    pub(super) fn new(core: Arc<SystemCore>) -> Self {
        Self { core, bound: BOUND }
    }

    /// How long an orderly stop may take: 10 s unless changed. Then what is left is killed.
    pub fn timeout(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    async fn run(self) -> ShutdownReport {
        let Self { core, bound } = self;
        let now = Instant::now();
        let deadline = now
            .checked_add(bound)
            .unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        core.close();
        let services = core.take_services();
        for service in &services {
            if timeout_at(deadline, service.stop()).await.is_err() {
                service.abort();
            }
        }
        // An actor that shuts its own system down cannot wait for itself.
        let (own, others): (Vec<_>, Vec<_>) = core
            .registry
            .newest_first()
            .into_iter()
            .partition(|actor| Current::is(actor.id()));
        let report = stop_all(&others, deadline).await;
        let grace = deadline.max(Instant::now() + GRACE);
        if own.is_empty() {
            finish(&services, grace).await;
        } else {
            // It goes on with the handler that called, which may have an answer to give.
            for actor in &own {
                actor.stop(StopCause::Shutdown);
            }
            spawn_task(async move {
                for actor in &own {
                    drop(timeout_at(grace, actor.stopped().wait()).await);
                }
                finish(&services, grace).await;
            });
        }
        debug!(
            actors = others.len(),
            ?report,
            "the actor system has shut down"
        );
        report
    }
}

/// Lets services send what the actors answered.
async fn finish(services: &[Arc<dyn Service>], deadline: Instant) {
    for service in services {
        if timeout_at(deadline, service.finish()).await.is_err() {
            warn!("some answers were not sent in time");
            service.abort();
        }
    }
}

/// Stops actors one after another until the deadline, and kills the rest.
async fn stop_all(actors: &[Arc<dyn AnyActor>], deadline: Instant) -> ShutdownReport {
    let mut left = actors.iter();
    let mut overran = Vec::new();
    for actor in left.by_ref() {
        actor.stop(StopCause::Shutdown);
        if timeout_at(deadline, actor.stopped().wait()).await.is_err() {
            overran.push(actor);
            break;
        }
    }
    // Some may have ended on their own.
    overran.extend(left.filter(|actor| !actor.stopped().initialized()));
    for actor in &overran {
        actor.kill();
    }
    let grace = Instant::now() + GRACE;
    let mut report = ShutdownReport::default();
    for actor in overran {
        let list = match timeout_at(grace, actor.stopped().wait()).await {
            Ok(_) => &mut report.killed,
            Err(_) => &mut report.stuck,
        };
        warn!(urn = %actor.urn(), "an actor did not stop in time");
        list.push(actor.urn().clone());
    }
    report
}

impl IntoFuture for Shutdown {
    type Output = ShutdownReport;
    type IntoFuture = Pin<Box<dyn Future<Output = ShutdownReport> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
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
