//! Replies from the bus, dispatched to the requests that wait for them.

use std::fmt::Display;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use crate::bus::client::batch::UNKNOWN;
use crate::bus::client::pending::{Answered, PendingRequests};
use crate::bus::client::shared::ClientShared;
use crate::bus::link::health::Health;
use crate::bus::link::log_once::{Anomaly, AnomalyCount, LogOnce};
use crate::bus::protocol::{LARGE_REPLY, ReceivedAnswer, decode_reply};
use crate::bus::transport::ReplySink;
use crate::error::AskError;

/// The pending requests of a client; the connection hands their replies to it.
pub(super) struct ReplyDispatcher {
    pending: Mutex<PendingRequests>,
    /// The state of the client's connections.
    health: Arc<Health>,
    /// The client, which confirms them; set once it is connected.
    pub(super) client: OnceLock<Weak<ClientShared>>,
    log: LogOnce,
}

impl ReplyDispatcher {
    pub(super) fn new(first_id: u64, health: Arc<Health>) -> Self {
        Self {
            health,
            pending: Mutex::new(PendingRequests::new(first_id)),
            client: OnceLock::new(),
            log: LogOnce::default(),
        }
    }

    pub(super) fn anomalies(&self) -> Vec<AnomalyCount> {
        self.log.counts()
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        self.pending.lock()
    }

    /// Confirms large frames from time to time, to the node that has sent them: its actor system sends only so
    /// many ahead, since Redis would cut the connection of a subscriber that is too far behind. In a fleet, a frame
    /// whose requests have all ended does not say its node, and is not confirmed: the system waits a second.
    fn confirm(&self, bytes: usize, answers: &[ReceivedAnswer]) {
        if bytes < LARGE_REPLY {
            return;
        }
        let Some(client) = self.client.get().and_then(Weak::upgrade) else {
            return;
        };
        let pending = self.pending();
        let link = answers
            .iter()
            .find_map(|answer| pending.link_of(answer.id, &client.link));
        drop(pending);
        let own = || (!client.is_in_fleet).then(|| client.link.clone());
        if let Some(link) = link.or_else(own)
            && let Some(unconfirmed) = link.confirm_later(bytes)
        {
            client.confirm(&link, unconfirmed);
        }
    }
}

impl ReplySink for ReplyDispatcher {
    /// Completes requests with their answers.
    fn receive(&self, frame: Bytes) {
        let (epoch, answers) = match decode_reply(&frame) {
            Ok(answers) => answers,
            Err(problem) => return self.log.record(Anomaly::UnreadableReply, &problem),
        };
        self.confirm(frame.len(), &answers);
        let losses = self.health.losses();
        let answers = answers.into_iter().map(|answer| (answer.id, answer));
        let answers = self
            .pending()
            .answered(answers, epoch, losses, ReceivedAnswer::refusal);
        if !answers.refused.is_empty()
            && let Some(client) = self.client.get().and_then(Weak::upgrade)
        {
            client.end_refused(answers.refused, losses);
        }
        // Outside the lock: an asker that is woken may ask again at once.
        for Answered {
            reply,
            answer,
            may_be_copy,
        } in answers.ended
        {
            match answer.outcome {
                Ok(contents) => reply.send(contents),
                // The owner of the next lease refuses a request that its predecessor has left. That
                // says nothing about a copy that the predecessor may have executed.
                Err(AskError::NoResponder) if may_be_copy => reply.refuse(UNKNOWN),
                Err(error) => reply.refuse(error),
            }
        }
    }

    fn unreadable_member(&self, problem: &dyn Display) {
        self.log.record(Anomaly::UnreadableMember, problem);
    }

    fn map_changed(&self) {
        if let Some(router) = self.pending().router() {
            router.map_changed();
        }
    }
}
