//! Requests of those who inspect and operate the process.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bus::keys::Right;
use crate::bus::link::log_once::Anomaly;
use crate::bus::protocol::{Kind, Received};
use crate::bus::server::operator::{OperatorReply, OperatorRequest};
use crate::bus::server::receiver::{Intake, MAX_DEADLINE, RequestReceiver};
use crate::bus::transport::OperatorFrames;
use crate::error::{AskError, Delivered};
use crate::reply::remote::Origin;

/// The most requests of one pop that are answered. Further ones are refused: that costs little, and leaves none in
/// the list.
const MAX_ANSWERED: usize = 16;

/// The largest request, in bytes.
const MAX_REQUEST: usize = 16 * 1024;

/// The most actions that are remembered. Those of an operator come one by one, and older ones are past their deadlines.
const MAX_REMEMBERED: usize = 1_024;

/// Time for which the refusal of a request is published, whose deadline was not read.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// The actions that were taken last in a term, each of which is executed once at most.
#[derive(Default)]
pub(super) struct TakenActions(VecDeque<Origin>);

impl TakenActions {
    /// Records an action; false if it was recorded before.
    fn record(&mut self, origin: Origin) -> bool {
        if self.0.contains(&origin) {
            return false;
        }
        if self.0.len() == MAX_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(origin);
        true
    }
}

impl RequestReceiver {
    /// Hands frames of a list beside the inbox to the task that answers them, or refuses them.
    pub(super) fn handle_operator(&mut self, taken: OperatorFrames, intake: Intake) {
        let right = taken.right;
        let now = Instant::now();
        for (place, frame) in taken.frames.into_iter().enumerate() {
            if let Ok(request) = Received::decode(&frame)
                && request.kind == Kind::Confirm
            {
                let bytes = usize::try_from(request.origin.id).unwrap_or(usize::MAX);
                let publisher = self.requests.publisher();
                publisher.confirm(request.origin.client, bytes);
            } else if right == Right::Admin && self.is_taken_action(&frame) {
                // The first one has its answer, or will have it.
                self.log.record(Anomaly::DuplicateRequest, &"an action");
            } else if intake == Intake::Reject {
                self.refuse_operator(&frame, AskError::NoResponder);
            } else if place >= MAX_ANSWERED {
                self.refuse_operator(&frame, AskError::overloaded());
            } else {
                self.take_operator(right, &frame, now);
            }
        }
        for cut in taken.cut {
            let size = cut.length;
            let limit = MAX_REQUEST;
            self.refuse_operator(&cut.head, AskError::TooLarge { size, limit });
        }
    }

    /// True if this action was taken, or refused, before: Redis may have been set back to the data from before its
    /// pop.
    fn is_taken_action(&mut self, frame: &[u8]) -> bool {
        let origin = Received::origin_of(frame);
        origin.is_some_and(|origin| !self.actions.record(origin))
    }

    fn take_operator(&self, right: Right, frame: &Bytes, now: Instant) {
        let request = match Received::decode(frame) {
            Ok(request) => request,
            Err(unreadable) => {
                self.log
                    .record(Anomaly::UnreadableRequest, &unreadable.problem);
                return self.refuse_operator(frame, unreadable.as_ask_error());
            }
        };
        match request.kind {
            Kind::Ask => {}
            Kind::Tell | Kind::Cancel | Kind::Confirm | Kind::Wake => return,
        }
        let deadline = self
            .shared
            .clock
            .to_local(request.deadline, now, MAX_DEADLINE);
        let reply = self.reply_to(request.origin, deadline);
        let size = request.contents.len();
        if deadline <= now {
            let delivered = Delivered::No;
            reply.refuse(AskError::Timeout { delivered });
        } else if size > MAX_REQUEST {
            let limit = MAX_REQUEST;
            reply.refuse(AskError::TooLarge { size, limit });
        } else {
            self.shared.operators.push(OperatorRequest {
                right,
                name: request.message.to_owned(),
                contents: Bytes::copy_from_slice(&request.contents),
                fence: self.fence.clone(),
                reply,
            });
        }
    }

    fn reply_to(&self, origin: Origin, deadline: Instant) -> OperatorReply {
        let counters = self.shared.counters.clone();
        OperatorReply::new(self.requests.clone(), counters, origin, deadline)
    }

    /// Refuses a request of which its beginning is enough.
    fn refuse_operator(&self, frame: &[u8], error: AskError) {
        if let Some(origin) = Received::origin_of(frame) {
            let soon = Instant::now() + REFUSAL_DEADLINE;
            self.reply_to(origin, soon).refuse(error);
        }
    }
}
