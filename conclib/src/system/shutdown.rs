//! Shutdown of a system, in order and within a timeout.

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
use crate::actor::stopped::{ended, stopped_first};
use crate::core::{Service, SystemCore, spawn_task};
use crate::deadlock::current::Current;
use crate::system::deadline::{Clock, ShutdownDeadline};
use crate::urn::Urn;

/// The timeout of a shutdown, unless it is changed.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that a killed actor, or an actor that called the shutdown in a handler, has for coming
/// to its next await.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The shutdown of an [`ActorSystem`](crate::ActorSystem), which begins when it is awaited; see
/// [`ActorSystem::shutdown`](crate::ActorSystem::shutdown).
///
/// # Panics
///
/// If it is polled after completion.
///
/// # Cancel safety
///
/// Dropped before completion, it leaves the remaining actors running; a second shutdown stops them.
#[must_use = "a shutdown begins when it is awaited"]
pub struct Shutdown {
    core: Arc<SystemCore>,
    timeout: Duration,
    /// `None` before the first poll.
    running: Option<Pin<Box<dyn Future<Output = ShutdownReport> + Send>>>,
}

impl Shutdown {
    pub(super) fn new(core: Arc<SystemCore>) -> Self {
        Self {
            core,
            timeout: DEFAULT_TIMEOUT,
            running: None,
        }
    }

    /// Sets the time for an orderly stop: 10 s by default. After that, the remaining actors are
    /// killed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn run(core: Arc<SystemCore>, timeout: Duration) -> ShutdownReport {
        let now = Instant::now();
        let deadline = now
            .checked_add(timeout)
            .unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        core.close();
        let clock = Clock::of_runtime();
        // A service that does not stop in time must not take the time of the actors.
        let half = deadline - deadline.saturating_duration_since(now) / 2;
        let half = ShutdownDeadline::at(half, clock);
        let services = core.take_services();
        for service in &services {
            if half.wait_for(service.stop()).await.is_none() {
                service.abort();
            }
        }
        drop(half);
        let deadline = ShutdownDeadline::at(deadline, clock);
        let mut actors = core.registry.newest_first();
        // An actor that shuts its own system down cannot wait for its own tree of actors.
        let own = Current::id().and_then(|id| actors.iter().find(|actor| actor.id() == id));
        let own = own.cloned().map(root_of);
        if let Some(own) = &own {
            actors.retain(|actor| root_of(actor.clone()).id() != own.id());
        }
        let report = stop_all(&actors, &deadline, clock).await;
        let grace = deadline.instant().max(Instant::now() + KILL_TIMEOUT);
        match own {
            None => finish(&services, &ShutdownDeadline::at(grace, clock)).await,
            // The calling handler continues and may have to reply, so its tree is stopped in the background.
            Some(own) => {
                own.stop(StopCause::Shutdown);
                spawn_task(async move {
                    let grace = ShutdownDeadline::at(grace, clock);
                    if grace.wait_for(ended(&*own)).await.is_none() {
                        warn!(urn = %own.urn(), "the actor that shut its system down did not stop in time; it is killed");
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

/// The root of an actor's tree.
fn root_of(mut actor: Arc<dyn AnyActor>) -> Arc<dyn AnyActor> {
    while let Some(parent) = actor.parent() {
        actor = parent;
    }
    actor
}

/// Has the services send the replies of the actors.
async fn finish(services: &[Arc<dyn Service>], deadline: &ShutdownDeadline) {
    for service in services {
        if deadline.wait_for(service.finish()).await.is_none() {
            warn!(
                "a proxy did not send its replies by the deadline of the shutdown; the rest is dropped"
            );
            service.abort();
        }
    }
}

/// Stops actors one after another until the deadline, and kills the remaining ones. Children are
/// stopped by their parents, which can still use them while they handle their queued messages.
async fn stop_all(
    actors: &[Arc<dyn AnyActor>],
    deadline: &ShutdownDeadline,
    clock: Clock,
) -> ShutdownReport {
    for actor in actors.iter().filter(|actor| actor.parent().is_none()) {
        actor.stop(StopCause::Shutdown);
        // If a handler called the shutdown, the stopping actor may be waiting for that handler.
        let stopped = stopped_first(actor.clone());
        if deadline.wait_for(stopped).await.is_none() {
            break;
        }
    }
    // Actors after the one that overran may have ended on their own.
    let remaining = actors.iter().filter(|actor| !actor.has_ended());
    let remaining: Vec<_> = remaining.collect();
    let mut report = ShutdownReport::default();
    if remaining.is_empty() {
        return report;
    }
    for actor in &remaining {
        actor.kill();
    }
    let grace = ShutdownDeadline::at(Instant::now() + KILL_TIMEOUT, clock);
    for actor in remaining {
        let list = match grace.wait_for(ended(&**actor)).await {
            Some(_) => &mut report.killed,
            None => &mut report.stuck,
        };
        warn!(urn = %actor.urn(), "an actor did not stop by the deadline of the shutdown; it is killed");
        list.push(actor.urn().clone());
    }
    report
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (core, timeout) = (self.core.clone(), self.timeout);
        self.running
            .get_or_insert_with(|| Box::pin(Self::run(core, timeout)))
            .as_mut()
            .poll(cx)
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The outcome of a shutdown: the actors that did not stop by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Actors that were killed after the timeout.
    pub killed: Vec<Urn>,
    /// Actors that still run, because their handler has not come to an await since the kill, such as one
    /// that blocks on its [own thread](crate::Actor::THREAD). They end when it does.
    pub stuck: Vec<Urn>,
}

impl ShutdownReport {
    /// True if all actors stopped by themselves.
    pub fn is_clean(&self) -> bool {
        self.killed.is_empty() && self.stuck.is_empty()
    }
}
