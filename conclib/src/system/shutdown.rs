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
use crate::actor::stopped::ended;
use crate::core::{Service, SystemCore, spawn_task};
use crate::deadlock::current::Current;
use crate::system::deadline::{Clock, ShutdownDeadline};
use crate::urn::Urn;

use order::StopOrder;

mod order;

/// The timeout of a shutdown, unless it is changed.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time after the deadline for the actors that have had no turn by then. An actor that called the
/// shutdown in a handler has it as well.
const GRACE: Duration = Duration::from_secs(1);

/// The time after that for a killed actor to come to its next await, and for services to send the
/// replies of the actors.
const KILL_TIMEOUT: Duration = Duration::from_millis(500);

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
    pub(crate) fn new(core: Arc<SystemCore>) -> Self {
        Self {
            core,
            timeout: DEFAULT_TIMEOUT,
            running: None,
        }
    }

    /// Sets the time for an orderly stop: 10 s by default. After that, an actor that has overrun it is
    /// killed, and the remaining ones have 1 s; then they are killed as well. At the latest 2 s after the
    /// timeout the shutdown returns.
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
        let own_id = own.as_ref().map(|own| own.id());
        let order = StopOrder::new(&core.registry, &actors, own_id);
        let report = order.stop_all(&actors, &deadline, clock).await;
        let last = |time| deadline.instant().max(Instant::now() + time);
        match own {
            None => {
                let deadline = ShutdownDeadline::at(last(KILL_TIMEOUT), clock);
                finish(&services, &deadline).await;
            }
            // The calling handler continues and may have to reply, so its tree is stopped in the background.
            Some(own) => {
                own.stop(StopCause::Shutdown);
                let grace = last(GRACE);
                spawn_task(async move {
                    let grace = ShutdownDeadline::at(grace, clock);
                    if grace.wait_for(ended(&*own)).await.is_none() {
                        warn!(urn = %own.name(), "the actor that shut its system down did not stop in time; it is killed");
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
    /// Actors that were killed after the timeout. (Not those that stopped in the second after it.)
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
