//! How messages leave the hand: their answers are remembered, or they are buried; then they are
//! removed from the stream, and then whoever waits for the answer hears it.

use std::iter::repeat;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::bus::durable::consumer::{BYTES, Consumer, LONG_AGO, PAGE};
use crate::bus::durable::prefetch::{Asker, Card};
use crate::bus::durable::result_cache as record;
use crate::bus::durable::result_cache::Record;
use crate::bus::durable::retry::Retry;
use crate::bus::protocol::Received;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{Attempts, Dead, EntryId, Finished, Kept};
use crate::error::AskError;
use crate::reply::remote::{Outcome, ResponseSink};

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
    back: Vec<(EntryId, Attempts)>,
    /// Messages that are delivered again when they are due, and how often they have failed.
    failed: Vec<(EntryId, Attempts)>,
    /// When to try again to finish, after the bus has failed …
    finishing: Retry,
    /// … and to bury: a bus without memory does the one, and not the other.
    burying: Retry,
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
            record: Some((
                card.message.scope.clone(),
                record::write(&answer, card.message.fingerprint),
            )),
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

    /// The record of one that is over, while the bus has not taken it.
    pub(super) fn record_of(&self, scope: &str) -> Option<Record> {
        let records = self.finished.iter().filter_map(|over| over.record.as_ref());
        let (_, bytes) = records.clone().find(|(name, _)| name == scope)?;
        record::read(bytes).ok()
    }

    /// It has the key of a message with other contents. An asker that waits hears so; without one,
    /// it becomes a dead letter.
    pub(super) fn refused(&mut self, card: Card) {
        let now = Instant::now();
        let key = &card.message.key;
        let error = AskError::BadRequest {
            reason: format!(
                "the idempotency key `{key}` was used before with other contents; use another key"
            ),
        };
        if card.askers().iter().any(|asker| asker.deadline > now) {
            self.finished.push(Over {
                ids: card.ids(),
                record: None,
                askers: card.askers(),
                outcome: Err(error),
            });
        } else {
            let reason = error.to_string();
            self.dead(card, &error, reason);
        }
    }

    /// It becomes a dead letter, and its repetitions with it.
    pub(super) fn dead(&mut self, card: Card, error: &AskError, reason: String) {
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
            deliveries: card.message.attempts.deliveries,
            reason,
        };
        warn!(id = %dead.id, reason = dead.reason, "a durable message becomes a dead letter");
        self.dead.push((dead, over));
    }

    /// The same for one that cannot be read as a message.
    pub(super) fn unreadable(&mut self, kept: Kept, attempts: Attempts, error: &AskError) {
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
            deliveries: attempts.deliveries,
            reason,
        };
        self.dead.push((dead, over));
    }

    /// It was not handled, and this consumer leaves.
    pub(super) fn given_back(&mut self, attempts: Vec<(EntryId, Attempts)>) {
        self.back.extend(attempts);
    }

    /// It was handled in vain. The bus is told so, since this process may not live to count it.
    pub(super) fn failed(&mut self, attempts: Vec<(EntryId, Attempts)>) {
        self.failed.extend(attempts);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.finished.is_empty() && self.dead.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.finished.len() + self.dead.len() >= MOST || self.bytes >= MOST_BYTES
    }

    /// When to try again after the bus has failed.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let attempts = [self.finishing.next(), self.burying.next()];
        attempts.into_iter().flatten().min()
    }

    /// How many of those that are finished go together: the first, and more if they are small.
    fn batch(&self) -> usize {
        let (mut ids, mut bytes) = (0, 0);
        let fits = self.finished.iter().take_while(|over| {
            ids += over.ids.len();
            bytes += over.record.as_ref().map_or(0, |(_, record)| record.len());
            ids <= PAGE && bytes <= BYTES
        });
        fits.count().max(1).min(self.finished.len())
    }
}

impl Over {
    /// What is to be removed and remembered.
    fn finished(&self) -> impl Iterator<Item = Finished> {
        let records = [self.record.clone()].into_iter();
        let ids = self.ids.iter().zip(records.chain(repeat(None)));
        ids.map(|(id, record)| Finished { id: *id, record })
    }
}

impl Consumer {
    /// Ends what is over, as far as the bus takes it.
    pub(super) async fn end_all(&mut self) {
        let back = mem::take(&mut self.endings.back);
        self.lay_aside(back, LONG_AGO).await;
        let failed = mem::take(&mut self.endings.failed);
        self.lay_aside(failed, Duration::ZERO).await;
        if self.endings.finishing.begins(Instant::now()) {
            match self.finish().await {
                Ok(()) => {
                    if self.endings.finishing.has_succeeded() {
                        info!(node = %self.shared.node, "handled durable messages are removed again");
                    }
                }
                Err(why) => {
                    if !self.endings.finishing.is_failing() {
                        warn!(
                            node = %self.shared.node, %why,
                            "handled durable messages cannot be removed: their askers wait"
                        );
                    }
                    self.endings.finishing.has_failed(Instant::now());
                }
            }
        }
        if self.endings.burying.begins(Instant::now()) {
            match self.bury().await {
                Ok(()) => {
                    if self.endings.burying.has_succeeded() {
                        info!(node = %self.shared.node, "dead letters are written again");
                    }
                }
                Err(why) => {
                    if !self.endings.burying.is_failing() {
                        warn!(
                            node = %self.shared.node, %why,
                            "dead letters cannot be written: they stay in the stream"
                        );
                    }
                    self.endings.burying.has_failed(Instant::now());
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<(), TransportError> {
        while !self.endings.finished.is_empty() {
            let count = self.endings.batch();
            let batch = self.endings.finished[..count].iter();
            let finished = batch.flat_map(Over::finished).collect();
            self.remove(finished).await?;
            for over in self.endings.finished.drain(..count).collect::<Vec<_>>() {
                self.endings.bytes -= over.outcome.as_ref().map_or(0, Vec::len);
                self.answer(over);
            }
        }
        Ok(())
    }

    /// Removes messages, after writing what is to be remembered of them.
    async fn remove(&mut self, finished: Vec<Finished>) -> Result<(), TransportError> {
        let keep = self.bounds.keep_replies;
        for some in finished.chunks(PAGE) {
            let forgotten = self.transport.finish(some.to_vec(), keep).await?;
            if forgotten > 0 {
                // It was handled, and would be again if it stayed: a Redis without memory must not
                // make that worse. Only a repetition with the same key is handled once more.
                self.noise.hear(
                    "no room to remember the answers of durable messages",
                    &forgotten,
                );
            }
        }
        Ok(())
    }

    async fn bury(&mut self) -> Result<(), TransportError> {
        while let Some((dead, _)) = self.endings.dead.last() {
            let dropped = self.transport.bury(dead.clone()).await?;
            if dropped > 0 {
                error!(node = %self.shared.node, dropped, "too many dead letters: the oldest are lost");
            }
            let Some((_, over)) = self.endings.dead.pop() else {
                break; // not reached
            };
            // The repetitions; the message itself is gone.
            if let Err(why) = self.remove(over.finished().skip(1).collect()).await {
                // They are given out again, and fail as this one has.
                debug!(%why, "repetitions of a dead letter cannot be removed");
            }
            self.answer(over);
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
