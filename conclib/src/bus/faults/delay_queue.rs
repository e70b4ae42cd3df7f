//! Frames on their way, each delayed, lost or doubled as [`Faults`] decide. No I/O.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use crate::bus::faults::{Direction, Faults};
use crate::bus::protocol::{Answer, Kind, Received, decode_reply, encode_reply};
use crate::reply::remote::ClientId;

/// Frames that are on their way, in the order in which they arrive.
pub(super) struct DelayQueue {
    faults: Faults,
    /// Frames by their arrival, and among those that arrive together by the order of sending.
    frames: BTreeMap<(Instant, u64), Bytes>,
    /// Number of frames that were ever sent.
    sent: u64,
    /// Arrival of the last frame of each client: no frame that was sent later overtakes it.
    last: HashMap<ClientId, Instant>,
    /// Delays are off.
    is_flushed: bool,
}

impl DelayQueue {
    pub(super) fn new(faults: &Faults) -> Self {
        Self {
            faults: faults.clone(),
            frames: BTreeMap::new(),
            sent: 0,
            last: HashMap::new(),
            is_flushed: false,
        }
    }

    /// Sends a request. Frames that are no client's request (a wake, unreadable ones) meet no faults.
    pub(super) fn send_request(&mut self, frame: Bytes, now: Instant) {
        match Received::decode(&frame) {
            Ok(request) if matches!(request.kind, Kind::Ask | Kind::Tell) => {
                self.send(request.origin.client, Direction::Request, &frame, now);
            }
            _ => self.put(now, frame),
        }
    }

    /// Sends each answer of a reply on its own: they travel together by chance.
    pub(super) fn send_reply(&mut self, client: ClientId, frame: &Bytes, now: Instant) {
        let Ok((epoch, answers)) = decode_reply(frame) else {
            self.send(client, Direction::Response, frame, now);
            return;
        };
        for received in answers {
            let alone = encode_reply(epoch, vec![Answer::again(received)]).into_bytes();
            self.send(client, Direction::Response, &alone, now);
        }
    }

    /// Sends a notice, which has no contents, to a client: it meets the faults of a response.
    pub(super) fn send_notice(&mut self, client: ClientId, now: Instant) {
        self.send(client, Direction::Response, &Bytes::new(), now);
    }

    /// Sends a frame through the faults.
    fn send(&mut self, client: ClientId, direction: Direction, frame: &Bytes, now: Instant) {
        let delays = self.faults.decide(client, direction);
        match delays.len() {
            0 => debug!(?client, ?direction, "injected fault: a frame is lost"),
            1 => {}
            _ => debug!(?client, ?direction, "injected fault: a frame is doubled"),
        }
        for delay in delays {
            let due = self.due(client, now, delay);
            self.put(due, frame.clone());
        }
    }

    /// Arrival of a client's next frame.
    fn due(&mut self, client: ClientId, now: Instant, delay: Duration) -> Instant {
        if self.is_flushed {
            return now;
        }
        let last = self.last.entry(client).or_insert(now);
        *last = (*last).max(now + delay);
        *last
    }

    fn put(&mut self, due: Instant, frame: Bytes) {
        self.frames.insert((due, self.sent), frame);
        self.sent += 1;
    }

    /// Lets every frame arrive now, and later ones at once, behind them.
    pub(super) fn flush(&mut self, now: Instant) {
        if !self.is_flushed {
            self.is_flushed = true;
            for frame in mem::take(&mut self.frames).into_values() {
                self.put(now, frame);
            }
        }
    }

    /// Delays frames again that are sent from now on.
    pub(super) fn end_flush(&mut self) {
        self.is_flushed = false;
    }

    /// Arrival of the next frame.
    pub(super) fn next(&self) -> Option<Instant> {
        self.frames.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes up to `count` frames that have arrived.
    pub(super) fn take(&mut self, now: Instant, count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(first) = self.frames.first_entry()
            && first.key().0 <= now
        {
            taken.push(first.remove());
        }
        taken
    }
}
