//! Lifecycles: an actor's states come from one value, or from a factory for each incarnation.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::actor::supervision::{RestartBudget, Supervision};
use crate::actor::{Actor, IntoActor};
use crate::error::Failure;
use crate::stop_reason::StopReason;
use crate::supervision::{Backoff, Budget, History, Restart, RestartDecision, log_last_failure};
use crate::urn::Urn;

/// The lifecycle of an actor: makes its states and decides about restarts. Sealed: implemented by
/// [`Unsupervised`] and [`Supervised`].
pub trait Lifecycle<A: Actor>: Send + 'static + sealed::StateSource<A> {}

impl<A: Actor, S: sealed::StateSource<A>> Lifecycle<A> for S {}

pub(crate) mod sealed {
    use super::Actor;
    use super::Failure;
    use super::Future;
    use super::StopReason;
    use super::Urn;
    use super::{RestartBudget, Supervision};

    /// See [`Lifecycle`](super::Lifecycle).
    pub trait StateSource<A: Actor>: Send + 'static {
        /// True if the actor has only one incarnation, and its state exists already.
        const RUNS_ONCE: bool;

        /// Makes the state of the next incarnation; `None` if there is no such actor.
        fn make(&mut self) -> impl Future<Output = Result<Option<A>, Failure>> + Send;

        /// The actor's place in the order of spawning; `None` for the next one.
        fn place(&self) -> Option<u64> {
            None
        }

        /// The effect of a failure, for those who look.
        fn supervision(&self) -> Supervision {
            Supervision::Unsupervised
        }

        /// The bound of restarts, for those who look; `None` if the actor has none of its own.
        fn budget(&self) -> Option<RestartBudget> {
            None
        }

        /// True if the actor may start although its system is closing. Asked once the actor is in the
        /// registry.
        fn starts_while_closing(&self) -> bool {
            false
        }

        /// Called when `on_start` has run.
        fn started(&mut self) {}

        /// Called at the start of an incarnation.
        fn begin(&mut self) {}

        /// Waits after the end of an incarnation until the next one may start.
        ///
        /// # Errors
        ///
        /// The reason that the actor stops, if it does not start again.
        fn next(
            &mut self,
            urn: &Urn,
            end: StopReason,
        ) -> impl Future<Output = Result<(), StopReason>> + Send;
    }
}

/// The lifecycle of an actor that is spawned from a value, and does not start again.
#[derive(Debug, Clone, Copy)]
pub struct Unsupervised;

impl<A: Actor> sealed::StateSource<A> for Unsupervised {
    const RUNS_ONCE: bool = true;

    async fn make(&mut self) -> Result<Option<A>, Failure> {
        unreachable!("the state was given to the spawn")
    }

    async fn next(&mut self, _: &Urn, end: StopReason) -> Result<(), StopReason> {
        Err(end)
    }
}

/// The lifecycle of an actor that a factory makes, and makes again after a failure.
#[derive(Debug)]
pub struct Supervised<F> {
    factory: F,
    pub(crate) restart: Restart,
    pub(crate) budget: Budget,
    pub(crate) backoff: Backoff,
    history: History,
    /// The start of the current incarnation.
    started_at: Option<Instant>,
}

impl<F> Supervised<F> {
    pub(crate) fn new(factory: F) -> Self {
        Self {
            factory,
            restart: Restart::default(),
            budget: Budget::default(),
            backoff: Backoff::default(),
            history: History::default(),
            started_at: None,
        }
    }
}

impl<A, F, Fut> sealed::StateSource<A> for Supervised<F>
where
    A: Actor,
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output: IntoActor<Actor = A>> + Send + 'static,
{
    const RUNS_ONCE: bool = false;

    fn supervision(&self) -> Supervision {
        self.restart.shown()
    }

    fn budget(&self) -> Option<RestartBudget> {
        Some(self.budget.shown())
    }

    // Not an `async fn`: the factory's output need not be `Send` by itself.
    fn make(&mut self) -> impl Future<Output = Result<Option<A>, Failure>> + Send {
        let making = (self.factory)();
        async move { making.await.into_actor().map(Some) }
    }

    fn begin(&mut self) {
        self.note_begin();
    }

    fn next(
        &mut self,
        urn: &Urn,
        end: StopReason,
    ) -> impl Future<Output = Result<(), StopReason>> + Send {
        self.wait_for_restart(urn, end)
    }
}

impl<F> Supervised<F> {
    /// Notes the start of an incarnation.
    pub(crate) fn note_begin(&mut self) {
        self.started_at = Some(Instant::now());
    }

    /// Waits after the end of an incarnation until the next one may start.
    ///
    /// # Errors
    ///
    /// The reason that the actor stops, if it does not start again.
    pub(crate) async fn wait_for_restart(
        &mut self,
        urn: &Urn,
        end: StopReason,
    ) -> Result<(), StopReason> {
        if matches!(end, StopReason::Restarted) {
            tokio::task::yield_now().await;
            return Ok(()); // by an operator, whatever the policy says; it takes none of the budget
        }
        if !self.restart.follows(&end) {
            self.restart.log_last_failure(urn, &end);
            return Err(end);
        }
        let (budget, backoff) = (self.budget, self.backoff);
        let uptime = uptime_since(self.started_at);
        let jitter = fastrand::f64();
        match self
            .history
            .decide(budget, backoff, uptime, Instant::now(), jitter)
        {
            RestartDecision::Restart(wait) => {
                warn!(%urn, reason = %end, ?wait, "an actor starts again");
                // A restart without a delay uses no timer: the runtime may have none.
                if wait.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(wait).await;
                }
                Ok(())
            }
            RestartDecision::Exhausted => {
                log_last_failure(urn, &end, &budget.spent_by(&end));
                Err(StopReason::Exhausted(exhausted(&end)))
            }
        }
    }
}

/// The time since the start of the incarnation.
pub(crate) fn uptime_since(started_at: Option<Instant>) -> Duration {
    started_at.map_or(Duration::ZERO, |started_at| started_at.elapsed())
}

/// The failure of an end that has spent the budget.
pub(crate) fn exhausted(end: &StopReason) -> Failure {
    let failure = end.failure().cloned();
    failure.unwrap_or_else(|| Failure::msg(end.to_string()))
}
