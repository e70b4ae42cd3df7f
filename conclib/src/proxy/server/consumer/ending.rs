//! How messages leave the hand: their answers are remembered, or they are buried; then they are
//! removed from the stream, and then whoever waits for the answer hears it.

use std::mem;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{error, warn};

use super::{Consumer, LONG_AGO};
use crate::error::AskError;
use crate::proxy::durable::hand::{Asker, Card};
use crate::proxy::durable::record;
use crate::proxy::durable::verdict::pause_after;
use crate::proxy::frame::Received;
use crate::proxy::transport::TransportError;
use crate::proxy::transport::durable::{Dead, EntryId, Finished, Kept};
use crate::responder::{Outcome, ResponseSink};

/// How many messages that are over may wait for a bus that does not take their ends. Beyond it no
/// more are taken.
const MOST: usize = 1024;

/// The same, in bytes of answers.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What is over, and not yet removed from the stream.
#[derive(Default)]
pub(super) struct Endings {
    finished: Vec<Over>,
    /// What their answers come to.
    bytes: usize,
    dead: Vec<(Dead, Over)>,
    /// Messages that another may take at once.
    back: Vec<(EntryId, u32)>,
    /// When to try again after the bus has failed, and how often it has.
    again: Option<Instant>,
    failures: u32,
}

/// A message that is over.
struct Over {
    /// Its places in the stream.
    ids: Vec<EntryId>,
    /// What is to be remembered of it.
    record: Option<(String, Bytes)>,
    askers: Vec<Asker>,
    outcome: Outcome,
}

impl Endings {
    /// An actor has handled it.
    pub(super) fn handled(&mut self, card: &Card, answer: Vec<u8>) {
        self.bytes += answer.len();
        self.finished.push(Over {
            ids: card.ids(),
            record: Some((card.message.scope.clone(), record::write(&answer))),
            askers: card.askers(),
            outcome: Ok(answer),
        });
    }

    /// It was handled before.
    pub(super) fn known(&mut self, card: &Card, answer: &Bytes) {
        self.bytes += answer.len();
        self.finished.push(Over {
            ids: card.ids(),
            record: None,
            askers: card.askers(),
            outcome: Ok(answer.to_vec()),
        });
    }

    /// The answer of one that is over, while the bus has not taken its record.
    pub(super) fn answer_of(&self, scope: &str) -> Option<Bytes> {
        let is_it = |over: &&Over| {
            let record = over.record.as_ref();
            record.is_some_and(|(name, _)| name == scope)
        };
        let over = self.finished.iter().find(is_it)?;
        over.outcome
            .as_ref()
            .ok()
            .map(|answer| answer.clone().into())
    }

    /// It becomes a dead letter, and its repetitions with it.
    pub(super) fn dead(&mut self, card: Card, error: &AskError) {
        let over = Over {
            ids: card.ids(),
            record: None,
            askers: card.askers(),
            outcome: Err(error.clone()),
        };
        let dead = Dead {
            id: card.message.id,
            key: card.message.key,
            frame: card.message.frame,
            deliveries: card.message.deliveries,
            reason: error.to_string(),
        };
        self.bury(dead, over);
    }

    /// The same for one that cannot be read as a message.
    pub(super) fn unreadable(&mut self, kept: Kept, deliveries: u32, error: &AskError) {
        let origin = match Received::decode(&kept.frame) {
            Ok(request) => Some(request.origin),
            Err(unreadable) => unreadable.origin,
        };
        let deadline = Instant::now() + super::BLOCK;
        let asker = origin.map(|origin| Asker { origin, deadline });
        let over = Over {
            ids: vec![kept.id],
            record: None,
            askers: asker.into_iter().collect(),
            outcome: Err(error.clone()),
        };
        let Kept { id, key, frame } = kept;
        let reason = error.to_string();
        let dead = Dead {
            id,
            key,
            frame,
            deliveries,
            reason,
        };
        self.bury(dead, over);
    }

    fn bury(&mut self, dead: Dead, over: Over) {
        warn!(id = %dead.id, reason = dead.reason, "a durable message becomes a dead letter");
        self.dead.push((dead, over));
    }

    /// It was not handled, and this consumer leaves.
    pub(super) fn given_back(&mut self, deliveries: Vec<(EntryId, u32)>) {
        self.back.extend(deliveries);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.dead.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.finished.len() + self.dead.len() >= MOST || self.bytes >= MOST_BYTES
    }

    /// When to try again after the bus has failed.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.again
    }
}

impl Consumer {
    /// Ends what is over, as far as the bus takes it.
    pub(super) async fn end_all(&mut self) {
        let now = Instant::now();
        if self.endings.again.is_some_and(|again| now < again) {
            return;
        }
        let back = mem::take(&mut self.endings.back);
        self.lay_aside(back, LONG_AGO).await;
        let (finished, buried) = (self.finish().await, self.bury().await);
        self.endings.again = match finished.and(buried) {
            Ok(()) => {
                self.endings.failures = 0;
                None
            }
            Err(why) => {
                self.noise.hear("no way to end durable messages", &why);
                let pause = pause_after(self.endings.failures);
                self.endings.failures = self.endings.failures.saturating_add(1);
                Some(Instant::now() + pause)
            }
        };
    }

    async fn finish(&mut self) -> Result<(), TransportError> {
        if self.endings.finished.is_empty() {
            return Ok(());
        }
        let finished = self.endings.finished.iter().flat_map(|over| {
            let records = [over.record.clone()]
                .into_iter()
                .chain(std::iter::repeat(None));
            let ids = over.ids.iter().zip(records);
            ids.map(|(id, record)| Finished { id: *id, record })
        });
        let keep = self.bounds.keep_replies;
        let forgotten = self.transport.finish(finished.collect(), keep).await?;
        if forgotten > 0 {
            // It was handled, and would be again if it stayed: a Redis without memory must not make
            // that worse. Only a repetition with the same key is handled once more.
            self.noise.hear(
                "no room to remember the answers of durable messages",
                &forgotten,
            );
        }
        self.endings.bytes = 0;
        for over in mem::take(&mut self.endings.finished) {
            self.answer(over);
        }
        Ok(())
    }

    async fn bury(&mut self) -> Result<(), TransportError> {
        while let Some((dead, over)) = self.endings.dead.last() {
            let dropped = self.transport.bury(dead.clone()).await?;
            if dropped > 0 {
                error!(node = %self.shared.node, dropped, "too many dead letters: the oldest are lost");
            }
            // The repetitions; the message itself is gone.
            let ids = over.ids.iter().skip(1);
            let joined: Vec<_> = ids
                .map(|id| Finished {
                    id: *id,
                    record: None,
                })
                .collect();
            let over = self.endings.dead.pop();
            if !joined.is_empty() {
                let keep = self.bounds.keep_replies;
                if let Err(why) = self.transport.finish(joined, keep).await {
                    // They are given out again, and fail as this one has.
                    self.noise.hear("no way to end durable messages", &why);
                }
            }
            if let Some((_, over)) = over {
                self.answer(over);
            }
        }
        Ok(())
    }

    /// Lets go of a message that is removed, and tells those who wait.
    fn answer(&mut self, over: Over) {
        self.hand.release(&over.ids);
        let now = Instant::now();
        for Asker { origin, deadline } in over.askers {
            if deadline > now {
                let Some(outlet) = self.shared.outlet() else {
                    continue; // not reached: there was a reign
                };
                outlet.expect();
                outlet.respond(origin, Some(deadline), over.outcome.clone());
            }
        }
    }
}
