//! Acknowledgement: results are cached or dead letters written, then the entries are removed from the
//! stream, and then the callers get the result.

use std::collections::HashSet;
use std::iter::repeat;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::bus::durable::consumer::READ_WAIT;
use crate::bus::durable::consumer::link::{BATCH_BYTES, ConsumerLink, PAGE};
use crate::bus::durable::prefetch::{Caller, Delivery};
use crate::bus::durable::result_cache::CachedResult;
use crate::bus::link::log_once::Anomaly;
use crate::bus::link::retry::Retry;
use crate::bus::protocol::Received;
use crate::bus::server::counters::count;
use crate::bus::transport::TransportError;
use crate::bus::transport::stream::{Attempts, DeadLetterEntry, EntryAck, EntryId, StreamEntry};
use crate::error::AskError;
use crate::reply::remote::Outcome;

/// The maximum number of messages that wait for their acknowledgement, while the bus accepts none.
/// Beyond it no more messages are claimed or delivered.
const MAX_WAITING: usize = 1024;

/// The maximum size of their results together.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Messages on their way out of the stream.
pub(super) struct Acknowledger {
    link: Arc<ConsumerLink>,
    completed: CompletedQueue,
    /// A queue of its own, because a bus without memory accepts acknowledgements, and no dead letters.
    dead_letters: DeadLetterQueue,
    unhandled: Unhandled,
    /// The entries of both queues, which stay claimed until they are removed.
    claimed: HashSet<EntryId>,
}

/// Messages to be removed from the stream.
#[derive(Default)]
struct CompletedQueue {
    messages: Vec<Completed>,
    /// The bytes of their results.
    bytes: usize,
    retry: Retry,
}

/// Messages to be moved to the dead letters.
#[derive(Default)]
struct DeadLetterQueue {
    messages: Vec<(DeadLetterEntry, Completed)>,
    retry: Retry,
}

/// Messages that stay in the stream, with the deliveries to be written there.
#[derive(Default)]
struct Unhandled {
    /// Other consumers may claim them at once.
    released: Vec<(EntryId, Attempts)>,
    /// They stay claimed.
    still_claimed: Vec<(EntryId, Attempts)>,
}

/// A message with its outcome.
struct Completed {
    /// The entries of the message and its duplicates.
    ids: Vec<EntryId>,
    /// The dedup key and the encoded result to be cached.
    result: Option<(String, Bytes)>,
    callers: Vec<Caller>,
    outcome: Outcome,
}

impl Acknowledger {
    pub(super) fn new(link: Arc<ConsumerLink>) -> Self {
        Self {
            link,
            completed: CompletedQueue::default(),
            dead_letters: DeadLetterQueue::default(),
            unhandled: Unhandled::default(),
            claimed: HashSet::new(),
        }
    }

    /// Acknowledges a message that its actor has handled.
    pub(super) fn handled(&mut self, delivery: &Delivery, response: Vec<u8>) {
        count(&self.link.counters().handled);
        let message = &delivery.message;
        let result = CachedResult::encode(&response, message.fingerprint);
        let result = Some((message.dedup_key.clone(), result));
        self.complete(Completed::new(delivery, result, Ok(response)));
    }

    /// Acknowledges a message whose dedup key has a cached result: it is a duplicate, or another
    /// message has used its idempotency key.
    pub(super) fn has_result(&mut self, delivery: Delivery, result: &CachedResult) {
        if result.is_of(delivery.message.fingerprint) {
            count(&self.link.counters().duplicates);
            let response = result.response.to_vec();
            self.complete(Completed::new(&delivery, None, Ok(response)));
        } else {
            self.key_conflict(delivery);
        }
    }

    /// The result of a message that is not acknowledged yet, if it is to be cached.
    pub(super) fn result_of(&self, dedup_key: &str) -> Option<CachedResult> {
        let messages = self.completed.messages.iter();
        let mut results = messages.filter_map(|message| message.result.as_ref());
        let (_, encoded) = results.find(|(key, _)| key == dedup_key)?;
        CachedResult::decode(encoded).ok()
    }

    /// Refuses a message whose idempotency key was used for other contents. Its caller gets the error;
    /// if no caller waits, the message becomes a dead letter.
    pub(super) fn key_conflict(&mut self, delivery: Delivery) {
        count(&self.link.counters().key_conflicts);
        let now = Instant::now();
        let key = delivery.message.key.clone();
        let error = AskError::KeyReused { key };
        let mut callers = delivery.callers().into_iter();
        if callers.any(|caller| caller.deadline > now) {
            self.complete(Completed::new(&delivery, None, Err(error)));
        } else {
            let reason = error.to_string();
            self.dead_letter(delivery, &error, reason);
        }
    }

    /// Turns a message into a dead letter, and removes its duplicates with it.
    pub(super) fn dead_letter(&mut self, delivery: Delivery, error: &AskError, reason: String) {
        let completed = Completed::new(&delivery, None, Err(error.clone()));
        let message = delivery.message;
        let letter = DeadLetterEntry {
            id: message.id,
            key: message.key,
            frame: message.frame,
            retry: message.retry,
            deliveries: message.attempts.deliveries,
            reason,
        };
        warn!(id = %letter.id, reason = letter.reason, "a durable message becomes a dead letter");
        self.push_dead_letter(letter, completed);
    }

    /// Turns an entry that cannot be decoded as a message into a dead letter.
    pub(super) fn unreadable(&mut self, entry: StreamEntry, attempts: Attempts, error: &AskError) {
        let origin = match Received::decode(&entry.frame) {
            Ok(request) => Some(request.origin),
            Err(unreadable) => unreadable.origin,
        };
        let deadline = Instant::now() + READ_WAIT;
        let caller = origin.map(|origin| Caller { origin, deadline });
        let completed = Completed {
            ids: vec![entry.id],
            result: None,
            callers: caller.into_iter().collect(),
            outcome: Err(error.clone()),
        };
        let letter = DeadLetterEntry {
            id: entry.id,
            key: entry.key,
            frame: entry.frame,
            retry: entry.options.retry,
            deliveries: attempts.deliveries,
            reason: error.to_string(),
        };
        self.push_dead_letter(letter, completed);
    }

    /// Releases messages that were not handled, so that other consumers may claim them at once.
    pub(super) fn release(&mut self, attempts: Vec<(EntryId, Attempts)>) {
        self.unhandled.released.extend(attempts);
    }

    /// Writes the deliveries of messages to the stream that stay claimed, since this process may end
    /// before their next one.
    pub(super) fn write_attempts(&mut self, attempts: Vec<(EntryId, Attempts)>) {
        self.unhandled.still_claimed.extend(attempts);
    }

    /// True if deliveries are to be written.
    pub(super) fn has_attempts(&self) -> bool {
        !self.unhandled.still_claimed.is_empty()
    }

    fn complete(&mut self, message: Completed) {
        self.claimed.extend(&message.ids);
        self.completed.bytes += message.outcome.as_ref().map_or(0, Vec::len);
        self.completed.messages.push(message);
    }

    fn push_dead_letter(&mut self, letter: DeadLetterEntry, completed: Completed) {
        self.claimed.extend(&completed.ids);
        count(&self.link.counters().dead_letters);
        self.dead_letters.messages.push((letter, completed));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.completed.messages.is_empty() && self.dead_letters.messages.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        let waiting = self.completed.messages.len() + self.dead_letters.messages.len();
        waiting >= MAX_WAITING || self.completed.bytes >= MAX_WAITING_BYTES
    }

    /// The entries that are about to be removed.
    pub(super) fn claimed(&self) -> &HashSet<EntryId> {
        &self.claimed
    }

    /// The time of the next attempt, after the bus has failed.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let attempts = [self.completed.retry.next(), self.dead_letters.retry.next()];
        attempts.into_iter().flatten().min()
    }

    /// Acknowledges all messages, as far as the bus accepts that.
    pub(super) async fn flush(&mut self) {
        self.link
            .release(mem::take(&mut self.unhandled.released))
            .await;
        self.link
            .set_attempts(mem::take(&mut self.unhandled.still_claimed))
            .await;
        let link = self.link.clone();
        let node = &link.shared.node;
        if self.completed.retry.begins(Instant::now()) {
            match self.flush_completed().await {
                Ok(()) if self.completed.retry.has_succeeded() => {
                    info!(%node, "durable messages are acknowledged again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !self.completed.retry.is_failing() {
                        warn!(
                            %node, %error,
                            "cannot acknowledge handled durable messages: their callers wait for the results"
                        );
                    }
                    self.completed.retry.has_failed(Instant::now());
                }
            }
        }
        if self.dead_letters.retry.begins(Instant::now()) {
            match self.flush_dead_letters().await {
                Ok(()) if self.dead_letters.retry.has_succeeded() => {
                    info!(%node, "dead letters are written again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !self.dead_letters.retry.is_failing() {
                        warn!(
                            %node, %error,
                            "cannot write dead letters: the messages stay in the stream"
                        );
                    }
                    self.dead_letters.retry.has_failed(Instant::now());
                }
            }
        }
    }

    async fn flush_completed(&mut self) -> Result<(), TransportError> {
        while !self.completed.messages.is_empty() {
            let count = self.completed.next_batch();
            let batch = self.completed.messages[..count].iter();
            let acks = batch.flat_map(Completed::acks).collect();
            self.acknowledge(acks).await?;
            let acknowledged: Vec<_> = self.completed.messages.drain(..count).collect();
            for message in acknowledged {
                self.completed.bytes -= message.outcome.as_ref().map_or(0, Vec::len);
                self.reply(message);
            }
        }
        Ok(())
    }

    async fn flush_dead_letters(&mut self) -> Result<(), TransportError> {
        while !self.dead_letters.messages.is_empty() {
            let count = next_letters(&self.dead_letters.messages);
            let batch = self.dead_letters.messages[..count].iter();
            let letters = batch.map(|(letter, _)| letter.clone()).collect();
            let dropped = self.link.transport.dead_letter(letters).await?;
            if dropped > 0 {
                let counter = &self.link.counters().dropped_dead_letters;
                counter.fetch_add(dropped, Ordering::Relaxed);
                let node = &self.link.shared.node;
                error!(%node, dropped, "too many dead letters: the oldest were dropped");
            }
            let moved: Vec<_> = self.dead_letters.messages.drain(..count).collect();
            // The entries of the messages themselves were moved.
            let duplicates = moved.iter().flat_map(|(_, message)| message.acks().skip(1));
            if let Err(error) = self.acknowledge(duplicates.collect()).await {
                // They are delivered again, and fail in the same way.
                debug!(%error, "cannot remove duplicates of a dead letter");
            }
            for (_, message) in moved {
                self.reply(message);
            }
        }
        Ok(())
    }

    async fn acknowledge(&self, acks: Vec<EntryAck>) -> Result<(), TransportError> {
        let result_ttl = self.link.limits.result_ttl;
        for acks in acks.chunks(PAGE) {
            let acknowledged = self.link.transport.acknowledge(acks.to_vec(), result_ttl);
            let uncached = acknowledged.await?;
            if uncached > 0 {
                // The message is removed all the same: it was handled, and would be handled again if
                // it stayed. Without a cached result only later duplicates are handled again.
                self.link.log.record(Anomaly::UnwrittenResult, &uncached);
            }
        }
        Ok(())
    }

    /// Ends the claim of a removed message, and sends the outcome to its callers.
    fn reply(&mut self, message: Completed) {
        for id in &message.ids {
            self.claimed.remove(id);
        }
        let now = Instant::now();
        for Caller { origin, deadline } in message.callers {
            if deadline <= now {
                continue;
            }
            // Messages are claimed only with the lease, so that there is a term.
            if let Some(requests) = self.link.shared.requests() {
                requests.respond_durable(origin, deadline, message.outcome.clone());
            }
        }
    }
}

impl CompletedQueue {
    /// The number of messages that are acknowledged together: the first, and more if they are small.
    fn next_batch(&self) -> usize {
        let (mut ids, mut bytes) = (0, 0);
        let fits = self.messages.iter().take_while(|message| {
            ids += message.ids.len();
            bytes += message
                .result
                .as_ref()
                .map_or(0, |(_, result)| result.len());
            ids <= PAGE && bytes <= BATCH_BYTES
        });
        fits.count().max(1).min(self.messages.len())
    }
}

impl Completed {
    fn new(delivery: &Delivery, result: Option<(String, Bytes)>, outcome: Outcome) -> Self {
        Self {
            ids: delivery.ids(),
            result,
            callers: delivery.callers(),
            outcome,
        }
    }

    /// The acknowledgements of all entries; the first one carries the result.
    fn acks(&self) -> impl Iterator<Item = EntryAck> {
        let results = [self.result.clone()].into_iter().chain(repeat(None));
        let entries = self.ids.iter().zip(results);
        entries.map(|(id, result)| EntryAck { id: *id, result })
    }
}

/// The number of dead letters that are written together.
fn next_letters(waiting: &[(DeadLetterEntry, Completed)]) -> usize {
    let mut bytes = 0;
    let fits = |(letter, _): &&(DeadLetterEntry, Completed)| {
        bytes += letter.frame.len();
        bytes <= BATCH_BYTES
    };
    let count = waiting.iter().take(PAGE).take_while(fits).count();
    count.max(1)
}
