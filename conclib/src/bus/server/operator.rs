//! Requests of those who inspect and operate the process, on their way from the receiver to the task that answers
//! them. They pass no mailbox: a process whose actors are stuck can be inspected.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::bus::keys::Right;
use crate::bus::server::counters::{ProxyCounters, count};
use crate::bus::server::fence::Fence;
use crate::bus::server::tracker::RequestTracker;
use crate::error::AskError;
use crate::reply::remote::{Origin, Outcome};

/// The number of requests that wait to be answered.
const MAX_WAITING: usize = 64;

/// A request that was taken off a list beside the inbox.
pub(crate) struct OperatorRequest {
    /// The right of the list.
    pub(crate) right: Right,
    /// The name of the request.
    pub(crate) name: String,
    pub(crate) contents: Bytes,
    /// The fence of the term that it was taken in: an action is executed only inside it.
    pub(crate) fence: Arc<Fence>,
    pub(crate) reply: OperatorReply,
}

/// The answer to such a request, which is given once: on drop at the latest, with an error.
pub(crate) struct OperatorReply {
    requests: Arc<RequestTracker>,
    counters: Arc<ProxyCounters>,
    origin: Origin,
    deadline: Instant,
    is_given: bool,
}

impl OperatorReply {
    pub(super) fn new(
        requests: Arc<RequestTracker>,
        counters: Arc<ProxyCounters>,
        origin: Origin,
        deadline: Instant,
    ) -> Self {
        requests.begin_reply();
        Self {
            requests,
            counters,
            origin,
            deadline,
            is_given: false,
        }
    }

    /// The moment after which the asker no longer waits.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn send(mut self, contents: Vec<u8>) {
        self.give(Ok(contents));
    }

    /// Ends the request with an error: nothing was executed.
    pub(crate) fn refuse(mut self, error: AskError) {
        count(&self.counters.operators.refused);
        self.give(Err(error));
    }

    fn give(&mut self, outcome: Outcome) {
        if !self.is_given {
            self.is_given = true;
            self.requests
                .respond_operator(self.origin, self.deadline, outcome);
        }
    }
}

impl Drop for OperatorReply {
    fn drop(&mut self) {
        self.give(Err(AskError::NoReply));
    }
}

/// The requests that wait to be answered.
pub(crate) struct OperatorQueue {
    sender: mpsc::Sender<OperatorRequest>,
    /// Taken by the task that answers.
    receiver: Mutex<Option<mpsc::Receiver<OperatorRequest>>>,
}

impl Default for OperatorQueue {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl OperatorQueue {
    /// Queues a request, or refuses it: the receiver does not wait.
    pub(super) fn push(&self, request: OperatorRequest) {
        match self.sender.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => request.reply.refuse(AskError::overloaded()),
            Err(TrySendError::Closed(request)) => request.reply.refuse(AskError::NoResponder),
        }
    }

    /// The number of requests that wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        MAX_WAITING - self.sender.capacity()
    }

    /// The receiving end; `None` if it was taken before.
    pub(crate) fn receiver(&self) -> Option<mpsc::Receiver<OperatorRequest>> {
        self.receiver.lock().take()
    }
}
