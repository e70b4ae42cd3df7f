//! A client's book of its requests that have no answer yet. No I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry::Occupied;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tracing::debug;

use crate::bus::transport::Epoch;
use crate::error::{AskError, Delivered};
use crate::reply::{Reply, ReplyReceiver};

/// How many requests of one client may be under way.
pub(crate) const MAX_REQUESTS: usize = 16_384;

/// How many bytes they may have together.
pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// When it is worth trying again after the book was full.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The book.
pub(crate) struct InFlight {
    requests: HashMap<u64, Entry, BuildHasherDefault<IdHasher>>,
    bytes: usize,
    /// Where frames are written.
    pieces: BytesMut,
    /// Starts at random, so that the ids of two clients have nothing to do with each other.
    next_id: u64,
    closed: bool,
}

/// Requests that go together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) ids: Vec<u64>,
    /// Cancels, and behind them those of the requests.
    pub(crate) frames: Vec<Bytes>,
}

struct Entry {
    reply: Reply<Bytes>,
    /// As it is to be written; empty once the bus has accepted it.
    frame: Bytes,
    bytes: usize,
    /// Whose inbox it was last given to: nobody else's answer counts.
    epoch: Option<Epoch>,
    delivered: Delivered,
    /// A tell ends when the bus has accepted it.
    ends_when_accepted: bool,
    /// It is in nobody's inbox, but kept until it is handled: whoever serves then may answer.
    is_durable: bool,
}

impl InFlight {
    pub(crate) fn new(first_id: u64) -> Self {
        Self {
            requests: HashMap::default(),
            bytes: 0,
            pieces: BytesMut::new(),
            next_id: first_id,
            closed: false,
        }
    }

    /// The id for the next request of that size, if the bounds allow one.
    pub(crate) fn check(&mut self, bytes: usize) -> Result<u64, AskError> {
        if self.closed {
            return Err(AskError::Closed);
        }
        // One that is larger than the bound goes alone.
        let is_heavy = self.bytes > 0 && self.bytes + bytes > MAX_BYTES;
        if self.requests.len() >= MAX_REQUESTS || is_heavy {
            return Err(AskError::Overloaded {
                retry_after: RETRY_AFTER,
            });
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        Ok(id)
    }

    /// For writing the next frame.
    pub(crate) fn pieces(&mut self) -> &mut BytesMut {
        &mut self.pieces
    }

    /// Enters a request; where its answer will arrive.
    pub(crate) fn insert(
        &mut self,
        id: u64,
        frame: Bytes,
        bytes: usize,
        ends_when_accepted: bool,
    ) -> ReplyReceiver<Bytes> {
        let (reply, receiver) = Reply::local();
        let entry = Entry {
            reply,
            frame,
            bytes,
            epoch: None,
            delivered: Delivered::No,
            ends_when_accepted,
            is_durable: false,
        };
        self.bytes += bytes;
        self.requests.insert(id, entry);
        receiver
    }

    /// The same for a durable request.
    pub(crate) fn insert_durable(
        &mut self,
        id: u64,
        frame: Bytes,
        bytes: usize,
        ends_when_accepted: bool,
    ) -> ReplyReceiver<Bytes> {
        let receiver = self.insert(id, frame, bytes, ends_when_accepted);
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.is_durable = true;
        }
        receiver
    }

    /// What is to be written for it, if somebody still waits for it. (Of a durable one that is nothing:
    /// its frame waits to be kept.)
    pub(crate) fn frame(&self, id: u64) -> Option<&Bytes> {
        self.requests.get(&id).map(|entry| &entry.frame)
    }

    /// Those of them that somebody still waits for, and that the bus has not accepted: what is to be
    /// written for them once more.
    pub(crate) fn batch(&self, ids: &[u64]) -> Batch {
        let mut batch = Batch::default();
        for id in ids {
            if let Some(entry) = self.requests.get(id)
                && entry.delivered != Delivered::Accepted
            {
                batch.ids.push(*id);
                batch.frames.push(entry.frame.clone());
            }
        }
        batch
    }

    /// They are given to the connection, for that inbox: from now on their fate may be unknown. Those
    /// that have ended meanwhile leave the batch: their askers were told that nothing was done.
    pub(crate) fn give(&mut self, batch: &mut Batch, epoch: Epoch) {
        let mut have_ended = false;
        for id in &batch.ids {
            match self.requests.get_mut(id) {
                Some(entry) => {
                    entry.epoch = Some(epoch);
                    entry.delivered = Delivered::Unknown;
                }
                None => have_ended = true,
            }
        }
        if have_ended {
            let cancels = batch.frames.len() - batch.ids.len();
            let mut ids = batch.ids.iter();
            let mut place = 0;
            batch.frames.retain(|_| {
                place += 1;
                let id = if place > cancels { ids.next() } else { None };
                id.is_none_or(|id| self.requests.contains_key(id))
            });
            batch.ids.retain(|id| self.requests.contains_key(id));
        }
    }

    /// They are given to the connection, to be kept.
    pub(crate) fn given_to_keep(&mut self, ids: &[u64]) {
        self.mark(ids, Delivered::Unknown);
    }

    /// They are certainly not kept.
    pub(crate) fn not_given(&mut self, ids: &[u64]) {
        self.mark(ids, Delivered::No);
    }

    fn mark(&mut self, ids: &[u64], delivered: Delivered) {
        for id in ids {
            if let Some(entry) = self.requests.get_mut(id) {
                entry.delivered = delivered;
            }
        }
    }

    /// The bus has accepted them. The tells among them end; their replies come back, to be sent
    /// outside the lock.
    pub(crate) fn accepted(&mut self, ids: &[u64]) -> Vec<Reply<Bytes>> {
        let mut done = Vec::new();
        for id in ids {
            match self.requests.get_mut(id) {
                Some(entry) if entry.ends_when_accepted => done.extend(self.end(*id)),
                Some(entry) => {
                    entry.delivered = Delivered::Accepted;
                    entry.frame = Bytes::new();
                }
                None => {}
            }
        }
        done
    }

    /// Takes a request out, to end it.
    pub(crate) fn end(&mut self, id: u64) -> Option<Reply<Bytes>> {
        self.remove(id).map(|entry| entry.reply)
    }

    /// Takes those out, to end them.
    pub(crate) fn end_all(&mut self, ids: &[u64]) -> Vec<Reply<Bytes>> {
        ids.iter().filter_map(|id| self.end(*id)).collect()
    }

    /// Takes the requests out that were answered in that epoch: the owner of an earlier one may
    /// refuse what the owner of this one executes. Their replies come back with what they are to
    /// say, outside the lock.
    pub(crate) fn answered<T>(
        &mut self,
        answers: Vec<(u64, T)>,
        epoch: Epoch,
    ) -> Vec<(Reply<Bytes>, T)> {
        let mut ended = Vec::with_capacity(answers.len());
        for (id, answer) in answers {
            match self.requests.entry(id) {
                Occupied(entry) if entry.get().epoch == Some(epoch) || entry.get().is_durable => {
                    let entry = entry.remove();
                    self.bytes -= entry.bytes;
                    ended.push((entry.reply, answer));
                }
                // Nobody waits for it: it came after its deadline, or twice, or from an owner that
                // has been succeeded.
                _ => debug!(id, "an answer that nobody waits for"),
            }
        }
        ended
    }

    /// Takes a request out that its asker gave up; how far it had come.
    pub(crate) fn give_up(&mut self, id: u64) -> Option<Delivered> {
        self.remove(id).map(|entry| {
            entry.reply.forget();
            entry.delivered
        })
    }

    /// Takes a request out whose asker has gone; true if that is worth telling: it is an ask, and
    /// was given to the connection.
    pub(crate) fn abandon(&mut self, id: u64) -> bool {
        let Some(entry) = self.remove(id) else {
            return false;
        };
        let asks = !entry.ends_when_accepted;
        entry.reply.forget();
        asks && entry.delivered != Delivered::No
    }

    /// Takes all out, and takes no more.
    pub(crate) fn close(&mut self) -> Vec<Reply<Bytes>> {
        self.closed = true;
        self.bytes = 0;
        self.requests
            .drain()
            .map(|(_, entry)| entry.reply)
            .collect()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.requests.remove(&id)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}

/// Ids are counted by ourselves, so that nobody chooses them to collide. Those that follow each
/// other shall lie beside each other in the table: batches are gathered, accepted and answered in
/// that order, and so find most of it in the cache.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // The table takes the place from the lower bits, and tells neighbours apart by the upper
        // seven.
        self.0 = (id << 57) | (id & (u64::MAX >> 7));
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    const EPOCH: Epoch = Epoch(7);

    /// Those requests, with their ids as frames, behind a cancel.
    fn batch(ids: &[u64]) -> Batch {
        let frame = |id: &u64| Bytes::copy_from_slice(&id.to_be_bytes());
        let frames = iter::once(Bytes::new()).chain(ids.iter().map(frame));
        Batch {
            ids: ids.to_vec(),
            frames: frames.collect(),
        }
    }

    #[test]
    fn what_has_ended_is_not_given() {
        let mut book = InFlight::new(0);
        for _ in 0..4 {
            let id = book.check(1).unwrap();
            drop(book.insert(id, Bytes::new(), 1, false));
        }
        let mut given = batch(&[0, 1, 2, 3]);
        book.give(&mut given, EPOCH);
        assert_eq!(given.frames, batch(&[0, 1, 2, 3]).frames);
        drop(book.end_all(&[1, 3]));
        book.give(&mut given, EPOCH);
        assert_eq!(given.ids, [0, 2]);
        assert_eq!(given.frames, batch(&[0, 2]).frames);
    }

    #[tokio::test]
    async fn a_tell_ends_when_it_is_accepted_and_an_ask_when_it_is_answered() {
        let mut book = InFlight::new(u64::MAX); // ids wrap around
        let (ask, tell) = (book.check(1).unwrap(), book.check(1).unwrap());
        let asked = book.insert(ask, Bytes::new(), 1, false);
        let told = book.insert(tell, Bytes::new(), 1, true);
        book.give(&mut batch(&[ask, tell]), EPOCH);
        for reply in book.accepted(&[ask, tell]) {
            reply.send(Bytes::new());
        }
        assert_eq!(told.await, Ok(Bytes::new()));
        assert_eq!(book.len(), 1);
        assert!(book.answered(vec![(ask, ())], Epoch(6)).is_empty());
        let answers = vec![(ask, Bytes::from_static(b"x")), (tell, Bytes::new())];
        let mut answered = book.answered(answers, EPOCH);
        let (reply, answer) = answered.pop().unwrap();
        assert!(answered.is_empty());
        reply.send(answer);
        assert_eq!(asked.await, Ok(Bytes::from_static(b"x")));
        assert!(book.end(ask).is_none());
    }

    #[test]
    fn it_knows_how_far_a_request_had_come() {
        let mut book = InFlight::new(0);
        let enter = |book: &mut InFlight| {
            let id = book.check(1).unwrap();
            drop(book.insert(id, Bytes::new(), 1, false));
            id
        };
        let (a, b, c) = (enter(&mut book), enter(&mut book), enter(&mut book));
        book.give(&mut batch(&[b, c]), EPOCH);
        assert!(book.accepted(&[c]).is_empty());
        assert_eq!(book.give_up(a), Some(Delivered::No));
        assert_eq!(book.give_up(b), Some(Delivered::Unknown));
        assert_eq!(book.give_up(c), Some(Delivered::Accepted));
        assert_eq!(book.give_up(c), None);
    }

    #[tokio::test]
    async fn a_durable_request_is_answered_by_whoever_serves() {
        let mut book = InFlight::new(0);
        let id = book.check(1).unwrap();
        let asked = book.insert_durable(id, Bytes::from_static(b"f"), 1, false);
        book.given_to_keep(&[id]);
        book.not_given(&[id]);
        book.given_to_keep(&[id]);
        assert!(book.frame(id).is_some());
        assert!(book.accepted(&[id]).is_empty());
        let answers = vec![(id, Bytes::from_static(b"x"))];
        let (reply, answer) = book.answered(answers, EPOCH).pop().unwrap();
        reply.send(answer);
        assert_eq!(asked.await, Ok(Bytes::from_static(b"x")));

        let id = book.check(1).unwrap();
        drop(book.insert_durable(id, Bytes::new(), 1, false));
        book.given_to_keep(&[id]);
        book.not_given(&[id]);
        assert_eq!(book.give_up(id), Some(Delivered::No));
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes() {
        let mut book = InFlight::new(0);
        let id = book.check(MAX_BYTES).unwrap();
        drop(book.insert(id, Bytes::new(), MAX_BYTES, false));
        assert!(matches!(book.check(1), Err(AskError::Overloaded { .. })));
        book.give_up(id);
        // It would never fit otherwise.
        assert!(book.check(MAX_BYTES + 1).is_ok());
        for _ in 0..MAX_REQUESTS {
            let id = book.check(1).unwrap();
            drop(book.insert(id, Bytes::new(), 1, false));
        }
        assert!(matches!(book.check(1), Err(AskError::Overloaded { .. })));
        assert_eq!(book.close().len(), MAX_REQUESTS);
        assert_eq!(book.check(1), Err(AskError::Closed));
    }
}
