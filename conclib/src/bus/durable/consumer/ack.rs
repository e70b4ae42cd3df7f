//! How messages leave the hand: their answers are remembered, or they are buried; then they are
//! removed from the stream, and then whoever waits for the answer hears it.

use std::iter::repeat;
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::bus::durable::consumer::{BATCH_BYTES, Consumer, LONG_AGO, PAGE};
use crate::bus::durable::prefetch::{Caller, Delivery};
use crate::bus::durable::result_cache as record;
use crate::bus::durable::result_cache::CachedResult;
use crate::bus::durable::retry::Retry;
use crate::bus::protocol::Received;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{Attempts, DeadLetterEntry, EntryAck, EntryId, StreamEntry};
use crate::error::AskError;
use crate::reply::remote::{Outcome, ResponseSink};

/// How many messages that are over may wait for a bus that does not take their ends. Beyond it no
/// more are taken.
const MOST: usize = 1024;

/// The same, in bytes of answers.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What is over, and not yet removed from the stream.
#[derive(Default)]
pub(super) struct AckQueue {
    finished: Vec<Completed>,
    /// What their answers come to.
    bytes: usize,
    dead: Vec<(DeadLetterEntry, Completed)>,
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
struct Completed {
    /// Its places in the stream.
    ids: Vec<EntryId>,
    /// What is to be remembered of it.
    record: Option<(String, Bytes)>,
    callers: Vec<Caller>,
    outcome: Outcome,
}

impl AckQueue {
    /// An actor has handled it.
    pub(super) fn handled(&mut self, delivery: &Delivery, answer: Vec<u8>) {
        self.bytes += answer.len();
        self.finished.push(Completed {
            ids: delivery.ids(),
            record: Some((
                delivery.message.dedup_key.clone(),
                record::write(&answer, delivery.message.fingerprint),
            )),
            callers: delivery.callers(),
            outcome: Ok(answer),
        });
    }

    /// It was handled before.
    pub(super) fn known(&mut self, delivery: &Delivery, answer: &Bytes) {
        self.bytes += answer.len();
        self.finished.push(Completed {
            ids: delivery.ids(),
            record: None,
            callers: delivery.callers(),
            outcome: Ok(answer.to_vec()),
        });
    }

    /// The record of one that is over, while the bus has not taken it.
    pub(super) fn result_of(&self, dedup_key: &str) -> Option<CachedResult> {
        let records = self.finished.iter().filter_map(|over| over.record.as_ref());
        let (_, bytes) = records.clone().find(|(name, _)| name == dedup_key)?;
        record::read(bytes).ok()
    }

    /// It has the key of a message with other contents. An caller that waits hears so; without one,
    /// it becomes a dead letter.
    pub(super) fn refused(&mut self, delivery: Delivery) {
        let now = Instant::now();
        let key = &delivery.message.key;
        let error = AskError::BadRequest {
            reason: format!(
                "the idempotency key `{key}` was used before with other contents; use another key"
            ),
        };
        if delivery
            .callers()
            .iter()
            .any(|caller| caller.deadline > now)
        {
            self.finished.push(Completed {
                ids: delivery.ids(),
                record: None,
                callers: delivery.callers(),
                outcome: Err(error),
            });
        } else {
            let reason = error.to_string();
            self.dead(delivery, &error, reason);
        }
    }

    /// It becomes a dead letter, and its repetitions with it.
    pub(super) fn dead(&mut self, delivery: Delivery, error: &AskError, reason: String) {
        let over = Completed {
            ids: delivery.ids(),
            record: None,
            callers: delivery.callers(),
            outcome: Err(error.clone()),
        };
        let dead = DeadLetterEntry {
            id: delivery.message.id,
            key: delivery.message.key,
            frame: delivery.message.frame,
            deliveries: delivery.message.attempts.deliveries,
            reason,
        };
        warn!(id = %dead.id, reason = dead.reason, "a durable message becomes a dead letter");
        self.dead.push((dead, over));
    }

    /// The same for one that cannot be read as a message.
    pub(super) fn unreadable(&mut self, kept: StreamEntry, attempts: Attempts, error: &AskError) {
        let origin = match Received::decode(&kept.frame) {
            Ok(request) => Some(request.origin),
            Err(unreadable) => unreadable.origin,
        };
        let deadline = Instant::now() + super::BLOCK;
        let caller = origin.map(|origin| Caller { origin, deadline });
        let over = Completed {
            ids: vec![kept.id],
            record: None,
            callers: caller.into_iter().collect(),
            outcome: Err(error.clone()),
        };
        let StreamEntry { id, key, frame } = kept;
        let reason = error.to_string();
        let dead = DeadLetterEntry {
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
            ids <= PAGE && bytes <= BATCH_BYTES
        });
        fits.count().max(1).min(self.finished.len())
    }
}

impl Completed {
    /// What is to be removed and remembered.
    fn finished(&self) -> impl Iterator<Item = EntryAck> {
        let records = [self.record.clone()].into_iter();
        let ids = self.ids.iter().zip(records.chain(repeat(None)));
        ids.map(|(id, record)| EntryAck { id: *id, record })
    }
}

impl Consumer {
    /// Ends what is over, as far as the bus takes it.
    pub(super) async fn end_all(&mut self) {
        let back = mem::take(&mut self.acks.back);
        self.release(back, LONG_AGO).await;
        let failed = mem::take(&mut self.acks.failed);
        self.release(failed, Duration::ZERO).await;
        if self.acks.finishing.begins(Instant::now()) {
            match self.finish().await {
                Ok(()) => {
                    if self.acks.finishing.has_succeeded() {
                        info!(node = %self.shared.node, "handled durable messages are removed again");
                    }
                }
                Err(why) => {
                    if !self.acks.finishing.is_failing() {
                        warn!(
                            node = %self.shared.node, %why,
                            "handled durable messages cannot be removed: their callers wait"
                        );
                    }
                    self.acks.finishing.has_failed(Instant::now());
                }
            }
        }
        if self.acks.burying.begins(Instant::now()) {
            match self.bury().await {
                Ok(()) => {
                    if self.acks.burying.has_succeeded() {
                        info!(node = %self.shared.node, "dead letters are written again");
                    }
                }
                Err(why) => {
                    if !self.acks.burying.is_failing() {
                        warn!(
                            node = %self.shared.node, %why,
                            "dead letters cannot be written: they stay in the stream"
                        );
                    }
                    self.acks.burying.has_failed(Instant::now());
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<(), TransportError> {
        while !self.acks.finished.is_empty() {
            let count = self.acks.batch();
            let batch = self.acks.finished[..count].iter();
            let finished = batch.flat_map(Completed::finished).collect();
            self.remove(finished).await?;
            for over in self.acks.finished.drain(..count).collect::<Vec<_>>() {
                self.acks.bytes -= over.outcome.as_ref().map_or(0, Vec::len);
                self.answer(over);
            }
        }
        Ok(())
    }

    /// Removes messages, after writing what is to be remembered of them.
    async fn remove(&mut self, finished: Vec<EntryAck>) -> Result<(), TransportError> {
        let keep = self.limits.keep_replies;
        for some in finished.chunks(PAGE) {
            let forgotten = self.transport.acknowledge(some.to_vec(), keep).await?;
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
        while let Some((dead, _)) = self.acks.dead.last() {
            let dropped = self.transport.dead_letter(dead.clone()).await?;
            if dropped > 0 {
                error!(node = %self.shared.node, dropped, "too many dead letters: the oldest are lost");
            }
            let Some((_, over)) = self.acks.dead.pop() else {
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
    fn answer(&mut self, over: Completed) {
        self.prefetch.release(&over.ids);
        let now = Instant::now();
        for Caller { origin, deadline } in over.callers {
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
