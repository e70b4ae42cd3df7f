//! The inboxes of the bus in memory.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::keys::Right;
use crate::bus::transport::{Frame, Lists, OperatorFrames};

/// Capacity of one inbox in bytes; a batch beyond it is refused, as Redis does when it is out of
/// memory.
pub(super) const MAX_INBOX_BYTES: usize = 256 * 1024 * 1024;

/// Capacity of a list beside the inbox, in frames; one beyond it is refused. (Redis has no such bound, and needs none:
/// each pop takes hundreds of frames.)
const MAX_OPERATOR_FRAMES: usize = 4_096;

/// The requests for one epoch.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    /// One permit when there may be something in the queue.
    filled: Notify,
    /// Held by the pop that may take frames: pops take turns in the order in which they came.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    /// Total size of the frames.
    bytes: usize,
    /// The lists beside the inbox.
    admin: VecDeque<Bytes>,
    inspect: VecDeque<Bytes>,
}

/// Frames that were taken.
#[derive(Default)]
pub(super) struct TakenFrames {
    pub(super) frames: Vec<Bytes>,
    pub(super) operator: Option<OperatorFrames>,
}

impl Inbox {
    /// Appends all frames or none; returns the new length, `None` if they do not fit.
    pub(super) fn push(&self, frames: Vec<Frame>) -> Option<usize> {
        let mut queue = self.queue.lock();
        let bytes = queue.bytes + frames.iter().map(Frame::len).sum::<usize>();
        if bytes > MAX_INBOX_BYTES {
            return None;
        }
        queue.bytes = bytes;
        queue
            .frames
            .extend(frames.into_iter().map(Frame::into_bytes));
        self.filled.notify_one();
        Some(queue.frames.len())
    }

    /// The number of frames.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.queue.lock().frames.len()).unwrap_or(u64::MAX)
    }

    /// Appends a frame to the list of a right; false if it is full.
    pub(super) fn push_operator(&self, right: Right, frame: Frame) -> bool {
        let mut queue = self.queue.lock();
        let list = queue.list(right);
        let has_room = list.len() < MAX_OPERATOR_FRAMES;
        if has_room {
            list.push_back(frame.into_bytes());
            self.filled.notify_one();
        }
        has_room
    }

    /// Removes frames; returns for each if it was there.
    pub(super) fn take_back(&self, frames: Vec<Frame>) -> Vec<bool> {
        let mut queue = self.queue.lock();
        let mut taken = Vec::with_capacity(frames.len());
        for frame in frames {
            let (frame, before) = (frame.into_bytes(), queue.frames.len());
            queue.frames.retain(|other| *other != frame);
            let removed = before - queue.frames.len();
            queue.bytes -= removed * frame.len();
            taken.push(removed > 0);
        }
        taken
    }

    /// Takes up to `count` frames, waiting up to `block` for the first one.
    pub(super) async fn pop(&self, lists: Lists, count: usize, block: Duration) -> TakenFrames {
        if let Lists::Rest(right) = lists {
            return TakenFrames {
                frames: self.take(count),
                operator: self.take_rest(right),
            };
        }
        if block.is_zero() {
            return TakenFrames {
                frames: self.take(count),
                operator: None,
            };
        }
        let _turn = self.turn.lock().await;
        let wait = tokio::time::sleep(block);
        tokio::pin!(wait);
        loop {
            // A permit left behind by frames that were taken long ago costs one round here.
            let operator = match lists {
                Lists::All => self.take_operator(count),
                Lists::Inbox | Lists::Rest(_) => None,
            };
            let frames = match &operator {
                None => self.take(count),
                Some(_) => Vec::new(),
            };
            if !frames.is_empty() || operator.is_some() {
                return TakenFrames { frames, operator };
            }
            tokio::select! {
                biased;
                () = self.filled.notified() => {}
                () = &mut wait => return TakenFrames::default(),
            }
        }
    }

    fn take_operator(&self, count: usize) -> Option<OperatorFrames> {
        let mut queue = self.queue.lock();
        let mut rights = [Right::Admin, Right::Inspect].into_iter();
        rights.find_map(|right| queue.take_operator(right, count))
    }

    /// Takes the rest of the list of a right.
    fn take_rest(&self, right: Right) -> Option<OperatorFrames> {
        self.queue.lock().take_operator(right, MAX_OPERATOR_FRAMES)
    }

    fn take(&self, count: usize) -> Vec<Bytes> {
        let mut queue = self.queue.lock();
        let count = count.min(queue.frames.len());
        let taken: Vec<_> = queue.frames.drain(..count).collect();
        queue.bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        if queue.frames.is_empty() {
            // The memory of a burst is given back.
            queue.frames.shrink_to(64);
        }
        taken
    }
}

impl Queue {
    fn take_operator(&mut self, right: Right, count: usize) -> Option<OperatorFrames> {
        let list = self.list(right);
        let count = count.min(list.len());
        (count > 0).then(|| OperatorFrames {
            right,
            frames: list.drain(..count).collect(),
            cut: Vec::new(),
            may_have_more: !list.is_empty(),
        })
    }

    fn list(&mut self, right: Right) -> &mut VecDeque<Bytes> {
        match right {
            Right::Admin => &mut self.admin,
            Right::Inspect => &mut self.inspect,
        }
    }
}
