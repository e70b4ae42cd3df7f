//! The answers that an inspector waits for. No I/O.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::bus::link::log_once::{Anomaly, LogOnce};
use crate::bus::protocol::{LARGE_REPLY, decode_reply};
use crate::bus::transport::{Epoch, ReplySink};
use crate::error::AskError;

type Outcome = Result<Bytes, AskError>;

/// The answers that are waited for; the connection hands them in.
#[derive(Default)]
pub(super) struct PendingAnswers {
    state: Mutex<State>,
    log: LogOnce,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Waiting>,
    next_id: Option<u64>,
    /// The bytes of large answers of each node that were not confirmed yet: a process sends only so many ahead.
    unconfirmed: HashMap<String, Arc<AtomicU64>>,
}

struct Waiting {
    /// Only answers of this epoch count.
    epoch: Epoch,
    unconfirmed: Arc<AtomicU64>,
    answer: oneshot::Sender<Outcome>,
}

/// A wait for an answer. Dropping it ends the wait.
pub(super) struct AnswerWait {
    answers: Arc<PendingAnswers>,
    id: u64,
    unconfirmed: Arc<AtomicU64>,
    answer: oneshot::Receiver<Outcome>,
}

impl PendingAnswers {
    /// Begins to wait for the answer of a node.
    pub(super) fn begin(self: &Arc<Self>, epoch: Epoch, node: &str) -> AnswerWait {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        // At random at first: the answers to an earlier inspector go to another channel in any case.
        let id = state.next_id.unwrap_or_else(|| fastrand::u64(..));
        state.next_id = Some(id.wrapping_add(1));
        let unconfirmed = state.unconfirmed.entry(node.to_owned());
        let unconfirmed = unconfirmed.or_default().clone();
        state.waiting.insert(
            id,
            Waiting {
                epoch,
                unconfirmed: unconfirmed.clone(),
                answer: sender,
            },
        );
        AnswerWait {
            answers: self.clone(),
            id,
            unconfirmed,
            answer: receiver,
        }
    }

    /// Ends all waits.
    pub(super) fn close(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        drop(waiting); // outside the lock
    }
}

impl AnswerWait {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The bytes that are to be confirmed along with the request, if there are any.
    pub(super) fn take_unconfirmed(&self) -> Option<u64> {
        let bytes = self.unconfirmed.swap(0, Ordering::Relaxed);
        (bytes > 0).then_some(bytes)
    }

    /// Waits for the answer.
    pub(super) async fn answer(mut self) -> Outcome {
        let answer = (&mut self.answer).await;
        answer.unwrap_or(Err(AskError::Closed))
    }
}

impl Drop for AnswerWait {
    fn drop(&mut self) {
        let mut state = self.answers.state.lock();
        state.waiting.remove(&self.id);
        // Nodes of members that are gone are forgotten.
        if Arc::strong_count(&self.unconfirmed) == 2
            && self.unconfirmed.load(Ordering::Relaxed) == 0
        {
            let own = &self.unconfirmed;
            state
                .unconfirmed
                .retain(|_, other| !Arc::ptr_eq(other, own));
        }
    }
}

impl ReplySink for PendingAnswers {
    fn receive(&self, frame: Bytes) {
        let (epoch, answers) = match decode_reply(&frame) {
            Ok(answers) => answers,
            Err(problem) => return self.log.record(Anomaly::UnreadableReply, &problem),
        };
        let mut is_counted = frame.len() < LARGE_REPLY;
        for answer in answers {
            let mut state = self.state.lock();
            let waiting = state.waiting.get(&answer.id);
            let is_awaited = waiting.is_some_and(|waiting| waiting.epoch == epoch);
            let waiting = if is_awaited {
                state.waiting.remove(&answer.id)
            } else {
                None // it came after its deadline
            };
            drop(state);
            let Some(waiting) = waiting else { continue };
            if !is_counted {
                is_counted = true;
                let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
                waiting.unconfirmed.fetch_add(bytes, Ordering::Relaxed);
            }
            drop(waiting.answer.send(answer.outcome)); // fails if the call was dropped
        }
    }

    fn unreadable_member(&self, problem: &dyn Display) {
        self.log.record(Anomaly::UnreadableMember, problem);
    }
}
