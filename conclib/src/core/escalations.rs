//! Failures of root actors that escalate, until the program has heard of them.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// The most failures that are kept. Later ones are dropped: the first is the cause, and the log has
/// all.
const KEPT: usize = 64;

/// A root actor that [escalates](crate::Spawn::escalate) has failed and will not start again; see
/// [`ActorSystem::failed`](crate::ActorSystem::failed).
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
    pub(super) fn add(&self, failure: ActorFailure) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < KEPT {
            waiting.push_back(failure);
        }
        drop(waiting);
        self.more.notify_one();
    }

    pub(crate) async fn next(&self) -> ActorFailure {
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
