//! Failures of root actors that escalate, and ends of essential actors, until the program takes them.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// The most ends that are kept. Later ones are dropped: the first one is likely the cause,
/// and all of them are in the log.
const MAX_KEPT: usize = 64;

/// The end of an actor that the program must know of, returned by
/// [`ActorSystem::failed`](crate::ActorSystem::failed): the final failure of a root actor that
/// [escalates](crate::system::Spawn::escalate), or any end of an
/// [essential](crate::system::Spawn::essential) one.
///
/// The actor's failure is the [`source`](Error::source) of this error, and not part of its text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ActorFailure {
    /// The URN of the actor, which is free again.
    pub urn: Urn,
    /// The reason that the actor stopped: [`Failed`](StopReason::Failed) or
    /// [`Exhausted`](StopReason::Exhausted), unless the actor is essential.
    pub reason: StopReason,
}

impl fmt::Display for ActorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { urn, reason } = self;
        match reason {
            StopReason::Exhausted(_) => {
                write!(
                    f,
                    "the actor `{urn}` failed too often, and will not start again"
                )
            }
            StopReason::Failed(_) => {
                write!(f, "the actor `{urn}` failed, and will not start again")
            }
            reason => write!(
                f,
                "the actor `{urn}`, which is essential, has ended: {reason}"
            ),
        }
    }
}

impl Error for ActorFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let failure = self.reason.failure()?;
        Some(failure.as_error())
    }
}

#[derive(Default)]
pub(crate) struct Escalations {
    /// Ends not yet taken, the oldest first.
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
            if let Some(failure) = self.waiting.lock().pop_front() {
                return failure;
            }
            self.wait().await;
        }
    }

    /// Waits until there is one, and does not take it.
    pub(crate) async fn wait(&self) {
        loop {
            // Created before the check, so that a failure added after the check ends the wait.
            let added = self.added.notified();
            if !self.waiting.lock().is_empty() {
                return;
            }
            added.await;
        }
    }
}
