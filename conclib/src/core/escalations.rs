//! Failures of root actors that escalate, until the program has heard of them.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::actor::StopReason;
use crate::system::ActorSystem;
use crate::urn::Urn;

/// The most failures that are kept. Later ones are dropped: the first is the cause, and the log has
/// all.
const KEPT: usize = 64;

/// A root actor that [escalates](crate::Spawn::escalate) has failed and will not start again; see
/// [`ActorSystem::failed`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("the actor `{urn}` failed and will not start again: {reason}")]
#[non_exhaustive]
pub struct ActorFailure {
    /// Its URN, which is free again.
    pub urn: Urn,
    /// The reason for its end: [`Failed`](StopReason::Failed) or [`Exhausted`](StopReason::Exhausted).
    pub reason: StopReason,
}

#[derive(Default)]
pub(crate) struct Escalations {
    /// The oldest first.
    waiting: Mutex<VecDeque<ActorFailure>>,
    more: Notify,
}

impl Escalations {
    fn add(&self, failure: ActorFailure) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < KEPT {
            waiting.push_back(failure);
        }
        drop(waiting);
        self.more.notify_one();
    }

    async fn next(&self) -> ActorFailure {
        loop {
            // Before the look: what comes after that is heard.
            let more = self.more.notified();
            if let Some(failure) = self.waiting.lock().pop_front() {
                return failure;
            }
            more.await;
        }
    }
}

impl ActorSystem {
    /// Waits until a root actor has failed for good, and says which: one that was spawned or
    /// supervised with [`escalate`](crate::Spawn::escalate) and will not start again. (A child
    /// escalates to its parent, which may be such a root.)
    ///
    /// A program decides here what becomes of it: it may end, spawn the actor anew, or go on
    /// without it.
    ///
    /// Each failure is returned once, in the order in which they came, also one from before this was
    /// called; up to 64 are kept for the next call, and later ones are only logged. An actor that was
    /// asked to stop, or was killed, has not failed. A shutdown does not end the wait.
    ///
    /// ```
    /// use conclib::prelude::*;
    ///
    /// #[derive(ActorMessage, Serialize, Deserialize)]
    /// #[message(response = u32)]
    /// struct Parse(String);
    ///
    /// #[derive(Actor)]
    /// #[actor(urn = "desk")]
    /// struct Desk;
    ///
    /// #[handlers]
    /// impl Desk {
    ///     #[handler]
    ///     fn parse(&mut self, Parse(text): Parse) -> Result<u32, Failure> { Ok(text.parse()?) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let system = ActorSystem::new();
    /// let desk = system.supervise(|| async { Desk }).escalate().await?;
    /// # for _ in 0..4 { drop(desk.ask(Parse("x".to_owned())).await); }
    ///
    /// let ended = tokio::select! {
    ///     _ = tokio::signal::ctrl_c() => Ok(()),
    ///     failure = system.failed() => Err(failure),
    /// };
    /// system.shutdown().await;
    /// # assert_eq!(ended.as_ref().unwrap_err().urn, "desk");
    /// # let ended: Result<(), conclib::ActorFailure> = Ok(());
    /// ended?;                                  // the process ends with an exit code that says so
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has taken nothing.
    pub async fn failed(&self) -> ActorFailure {
        self.core().escalations.next().await
    }
}

impl crate::system::SystemCore {
    /// A root actor that escalates has failed for good.
    pub(crate) fn escalate(&self, urn: Urn, reason: StopReason) {
        self.escalations.add(ActorFailure { urn, reason });
    }
}
