//! The restarts of a supervised actor, as its spawn sets them.

use std::time::Duration;

use super::{Spawn, SpawnState};
use crate::actor::Actor;
use crate::supervision::lifecycle::Supervised;
use crate::supervision::{Backoff, Budget, Restart};

impl<A: Actor, F> Spawn<A, Supervised<F>> {
    /// Sets the ends after which the actor starts again: failures by default.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.kind.restarts_itself = restart == Restart::Always;
        if let SpawnState::New(_, source) = &mut self.state {
            source.restart = restart;
        }
        self
    }

    /// Limits the restarts: to 3 within 5 s by default. One failure more, and the actor stops
    /// as [`Exhausted`](crate::StopReason::Exhausted).
    pub fn budget(self, restarts: u32, within: Duration) -> Self {
        self.with_budget(Budget::new(restarts, within))
    }

    /// Restarts without a limit: for an actor whose cause of failure may last, such as an outage of a
    /// service that it needs.
    ///
    /// The delay grows with each failure up to the longest of its [`Backoff`] (10 s unless
    /// [set](Self::backoff)), and is the first one again once an incarnation has lasted for the window
    /// of the budget: 5 s, or the one of a [`budget`](Self::budget) that was set before. With
    /// [`Backoff::none`], an actor that cannot start keeps a processor busy.
    ///
    /// The spawn waits until the actor has started, however often that fails.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(Actor)]
    /// struct Feed;
    ///
    /// #[handlers]
    /// impl Feed {}
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let mut attempts = 0;
    /// let connect = move || {
    ///     attempts += 1;
    ///     std::future::ready(if attempts < 100 { Err(std::fmt::Error) } else { Ok(Feed) })
    /// };
    /// system.supervise(connect).unlimited().await?;     // the hundredth attempt succeeds
    /// # Ok(()) }
    /// ```
    pub fn unlimited(mut self) -> Self {
        if let SpawnState::New(_, source) = &mut self.state {
            source.budget = source.budget.unlimited();
        }
        self
    }

    /// Sets the delay before a restart.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        if let SpawnState::New(_, source) = &mut self.state {
            source.backoff = backoff;
        }
        self
    }

    /// Sets the limit of restarts and its window.
    pub(crate) fn with_budget(mut self, budget: Budget) -> Self {
        if let SpawnState::New(_, source) = &mut self.state {
            source.budget = budget;
        }
        self
    }
}
