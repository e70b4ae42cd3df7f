//! Failures of root actors that escalate, until the program takes them.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// The most failures that are kept. Later failures are dropped: the first one is likely the cause,
/// and all of them are in the log.
const MAX_KEPT: usize = 64;

/// The final failure of a root actor that [escalates](crate::system::Spawn::escalate), returned by
/// [`ActorSystem::failed`](crate::ActorSystem::failed).
#[derive(Debug, Clone, thiserror::Error)]
#[error("the actor `{urn}` failed and will not start again: {reason}")]
#[non_exhaustive]
pub struct ActorFailure {
    /// The URN of the actor, which is free again.
    pub urn: Urn,
    /// The reason that the actor stopped: [`Failed`](StopReason::Failed) or
    /// [`Exhausted`](StopReason::Exhausted).
    pub reason: StopReason,
}

#[derive(Default)]
pub(crate) struct Escalations {
    /// Failures not yet taken, the oldest first.
    waiting: Mutex<VecDeque<ActorFailure>>,
    added: Notify,
}

impl Escalations {
    pub(super) fn add(&self, failure: ActorFailure) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MAX_KEPT {
            waiting.push_back(failure);
        }
        drop(waiting);
        self.added.notify_one();
    }

    pub(crate) async fn next(&self) -> ActorFailure {
        loop {
            // Created before the check, so that a failure added after the check ends the wait.
            let added = self.added.notified();
            if let Some(failure) = self.waiting.lock().pop_front() {
                return failure;
            }
            added.await;
        }
    }
}
