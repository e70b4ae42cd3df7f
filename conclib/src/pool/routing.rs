//! The choice of a worker for a message.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Pool, Route};
use crate::actor::Handlers;
use crate::actor::cell::ActorCell;
use crate::deadlock::{Cycle, Participant, PendingReply, assign_reply};

impl<W: Handlers> Pool<W> {
    /// The hash of a message's key, if it has one.
    pub(super) fn key(&self, inbox: &mut Option<W::Inbox>) -> Option<u64> {
        if self.keys.is_empty() {
            return None;
        }
        let find = |inbox: &W::Inbox| self.keys.iter().find_map(|key| key(inbox));
        let Some(envelope) = W::unframe(inbox) else {
            return inbox.as_ref().and_then(find);
        };
        // The worker gets the request undecoded: it may expire in the mailbox, and keeps its share
        // of the bound on waiting bytes.
        let decoded = W::decode(Box::new(envelope.to_look_at()));
        *inbox = Some(W::frame(envelope));
        decoded.as_ref().and_then(find)
    }

    /// Chooses the worker for a message with this key, or without one. There must be at least one
    /// worker.
    pub(super) fn choose(&mut self, key: Option<u64>) -> Choice {
        let indices = 0..self.workers.len();
        if let Some(key) = key {
            // Hashes the index of the worker, and not its URN: a replacement gets the same keys.
            let weight = |index: &usize| hash(&(key, *index));
            let index = indices.max_by_key(weight).unwrap_or_default();
            let is_keyed = true;
            return Choice { index, is_keyed };
        }
        let first = self.next_worker % self.workers.len().max(1);
        self.next_worker = first + 1;
        let index = match self.route {
            Route::RoundRobin => first,
            Route::LeastLoaded => indices
                .map(|step| (first + step) % self.workers.len())
                .min_by_key(|index| load(self.workers[*index].cell()))
                .unwrap_or_default(),
        };
        let is_keyed = false;
        Choice { index, is_keyed }
    }

    /// Makes a worker the responder: the chosen worker, or else, for a message without a key, the
    /// next worker that does not wait for this reply itself.
    ///
    /// # Errors
    ///
    /// The cycle of the chosen worker, if no worker can reply.
    pub(super) fn assign_worker(
        &self,
        choice: Choice,
        pending: &Arc<dyn PendingReply>,
    ) -> Result<usize, Cycle> {
        let assign = |index: usize| {
            let worker: Arc<dyn Participant> = self.workers[index].cell().clone();
            assign_reply(&worker, pending).map(|()| index)
        };
        assign(choice.index).or_else(|cycle| {
            let count = self.workers.len();
            let others = if choice.is_keyed { 0..0 } else { 1..count };
            others
                .map(|step| (choice.index + step) % count)
                .find_map(|index| assign(index).ok())
                .ok_or(cycle)
        })
    }
}

/// The choice of a worker for a message.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) index: usize,
    /// True if the key of the message determines the worker: no other may handle the message.
    is_keyed: bool,
}

/// The load of a worker, in messages. A worker that is about to start comes last: the time of its
/// start is unknown.
fn load<W: Handlers>(worker: &ActorCell<W>) -> (bool, usize) {
    let messages = worker.mailbox.depth() + usize::from(worker.stats.is_busy());
    (worker.is_starting(), messages)
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
