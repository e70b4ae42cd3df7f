//! Replies from the bus, dispatched to the requests that wait for them.

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use crate::bus::client::pending::PendingRequests;
use crate::bus::link::log_once::{Anomaly, LogOnce};
use crate::bus::protocol::decode_reply;
use crate::bus::transport::ReplySink;

/// The pending requests of a client; the connection hands their replies to it.
pub(super) struct ReplyDispatcher {
    pending: Mutex<PendingRequests>,
    log: LogOnce,
}

impl ReplyDispatcher {
    pub(super) fn new(first_id: u64) -> Self {
        Self {
            pending: Mutex::new(PendingRequests::new(first_id)),
            log: LogOnce::default(),
        }
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, PendingRequests> {
        self.pending.lock()
    }
}

impl ReplySink for ReplyDispatcher {
    /// Completes requests with their answers.
    fn receive(&self, frame: Bytes) {
        let (epoch, answers) = match decode_reply(&frame) {
            Ok(answers) => answers,
            Err(problem) => return self.log.record(Anomaly::UnreadableReply, &problem),
        };
        let answered = self.pending().answered(answers, epoch);
        // Outside the lock: an asker that is woken may ask again at once.
        for (reply, outcome) in answered {
            match outcome {
                Ok(contents) => reply.send(contents),
                Err(error) => reply.refuse(error),
            }
        }
    }
}
