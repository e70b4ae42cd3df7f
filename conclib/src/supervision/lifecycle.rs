//! Where an actor's states come from: one value, or a factory for one life after another.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::actor::{Actor, IntoActor, StopReason};
use crate::error::Failure;
use crate::supervision::{Backoff, Budget, History, Restart, Verdict, log_last_failure};
use crate::urn::Urn;

/// Where an actor's states come from. Implemented by [`Once`] and [`Supervised`]; what is in it is
/// between the library and them.
pub trait Source<A: Actor>: Send + 'static + sealed::Source<A> {}

impl<A: Actor, S: sealed::Source<A>> Source<A> for S {}

pub(crate) mod sealed {
    use super::Actor;
    use super::Failure;
    use super::Future;
    use super::StopReason;
    use super::Urn;

    pub trait Source<A: Actor>: Send + 'static {
        /// There is one life, and its state is there already.
        const ONCE: bool;

        /// Makes the state of the next life.
        fn make(&mut self) -> impl Future<Output = Result<A, Failure>> + Send;

        /// `on_start` has run.
        fn started(&mut self) {}

        /// A life begins.
        fn begin(&mut self) {}

        /// After a life of the actor with this URN: waits until the next one may begin, or says why
        /// there is none.
        fn next(
            &mut self,
            urn: &Urn,
            end: StopReason,
        ) -> impl Future<Output = Result<(), StopReason>> + Send;
    }
}

/// An actor that is spawned as it is, and lives once.
#[derive(Debug, Clone, Copy)]
pub struct Once;

impl<A: Actor> sealed::Source<A> for Once {
    const ONCE: bool = true;

    async fn make(&mut self) -> Result<A, Failure> {
        Err(Failure::msg("its state is gone")) // not reached: it was there before
    }

    async fn next(&mut self, _: &Urn, end: StopReason) -> Result<(), StopReason> {
        Err(end)
    }
}

/// An actor that a factory makes, and makes again after a failure.
#[derive(Debug)]
pub struct Supervised<F> {
    factory: F,
    pub(crate) restart: Restart,
    pub(crate) budget: Budget,
    pub(crate) backoff: Backoff,
    history: History,
    /// When the last life began.
    born: Option<Instant>,
}

impl<F> Supervised<F> {
    pub(crate) fn new(factory: F) -> Self {
        Self {
            factory,
            restart: Restart::default(),
            budget: Budget::default(),
            backoff: Backoff::default(),
            history: History::default(),
            born: None,
        }
    }
}

impl<A, F, Fut> sealed::Source<A> for Supervised<F>
where
    A: Actor,
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output: IntoActor<Actor = A>> + Send + 'static,
{
    const ONCE: bool = false;

    // Not `async fn`: what the factory returns need not be `Send` by itself.
    fn make(&mut self) -> impl Future<Output = Result<A, Failure>> + Send {
        let making = (self.factory)();
        async move { making.await.into_actor() }
    }

    fn begin(&mut self) {
        self.born = Some(Instant::now());
    }

    async fn next(&mut self, urn: &Urn, end: StopReason) -> Result<(), StopReason> {
        if !self.restart.follows(&end) {
            self.restart.log_last_failure(urn, &end);
            return Err(end);
        }
        let (budget, backoff) = (self.budget, self.backoff);
        let lived = lived_since(self.born);
        let jitter = fastrand::f64();
        match self
            .history
            .judge(budget, backoff, lived, Instant::now(), jitter)
        {
            Verdict::Restart(wait) => {
                warn!(%urn, reason = %end, ?wait, "an actor starts again");
                // A start without a wait needs no timer: a runtime may have none.
                if wait.is_zero() {
                    tokio::task::yield_now().await;
                } else {
                    tokio::time::sleep(wait).await;
                }
                Ok(())
            }
            Verdict::Exhausted => {
                log_last_failure(urn, &end, &budget.spent_by(&end));
                Err(exhausted(&end))
            }
        }
    }
}

/// How long a life has lasted.
pub(crate) fn lived_since(born: Option<Instant>) -> Duration {
    born.map_or(Duration::ZERO, |born| born.elapsed())
}

/// The end of one that has failed once too often.
pub(crate) fn exhausted(end: &StopReason) -> StopReason {
    let failure = end.failure().cloned();
    StopReason::Exhausted(failure.unwrap_or_else(|| Failure::msg(end.to_string())))
}
