//! Answers that come in: the requests that they end, and those that they leave pending.

use bytes::Bytes;
use tracing::debug;

use crate::bus::client::pending::PendingRequests;
use crate::bus::protocol::ReceivedRefusal;
use crate::bus::transport::Epoch;
use crate::error::{AskError, Delivered};
use crate::reply::Reply;

/// The requests of a frame of answers.
pub(crate) struct Answers<T> {
    pub(crate) ended: Vec<Answered<T>>,
    /// Requests that the bus has accepted, and that were refused: still pending.
    pub(crate) refused: Vec<u64>,
}

/// A request that was answered.
pub(crate) struct Answered<T> {
    pub(crate) reply: Reply<Bytes>,
    pub(crate) answer: T,
    /// The bus may have had the request twice: that one copy was not executed says nothing about the
    /// other one.
    pub(crate) may_be_copy: bool,
}

impl PendingRequests {
    /// Removes the requests that were answered in that epoch: the owner of an earlier epoch may
    /// have refused a request that the current owner executes. Returns their replies with the answers, to be sent
    /// outside the lock. `losses` counts the connections that were lost so far: with one of them the
    /// bus may have lost what happened since the request was given to it. `refusal_of` returns the error of a
    /// request that no handler has begun.
    ///
    /// A request that the bus has accepted and that was refused as `NoResponder` stays, to be ended when the
    /// refusal is certain: it may come from a bus that has taken the place of the one that has accepted it.
    /// In a fleet, one that was certainly not executed goes to another member.
    pub(crate) fn answered<T>(
        &mut self,
        answers: impl IntoIterator<Item = (u64, T), IntoIter: ExactSizeIterator>,
        epoch: Epoch,
        losses: u32,
        refusal_of: impl Fn(&T) -> Option<ReceivedRefusal<'_>>,
    ) -> Answers<T> {
        let answers = answers.into_iter();
        let mut all = Answers {
            ended: Vec::with_capacity(answers.len()),
            refused: Vec::new(),
        };
        for (id, answer) in answers {
            match self.requests.get(&id) {
                Some(request) if request.epoch == Some(epoch) || request.is_durable => {
                    let refusal = refusal_of(&answer);
                    let is_of_all_copies = refusal.is_some_and(|refusal| refusal.is_of_all_copies);
                    let may_be_copy =
                        request.is_repeated || (request.losses != losses && !is_of_all_copies);
                    let is_accepted =
                        matches!(request.delivered, Delivered::Accepted | Delivered::Stored);
                    let refusal = refusal.map(|refusal| refusal.error);
                    let is_refused = refusal == Some(&AskError::NoResponder);
                    if is_accepted && is_refused && !may_be_copy && !is_of_all_copies {
                        all.refused.push(id);
                        continue;
                    }
                    if request.route.is_some() && !(is_refused && may_be_copy) {
                        let refusal = refusal.cloned();
                        if self.heard(id, refusal.as_ref()) {
                            continue;
                        }
                    }
                    let Some(request) = self.remove(id) else {
                        continue;
                    };
                    all.ended.push(Answered {
                        may_be_copy,
                        reply: request.reply,
                        answer,
                    });
                }
                // It came after the deadline, or twice, or from the owner of an earlier epoch.
                _ => {
                    self.late_answers += 1;
                    debug!(id, "ignored an answer: its request is not pending");
                }
            }
        }
        all
    }
}
