//! The inboxes of the bus in memory.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::bus::transport::Frame;

/// Capacity of one inbox in bytes; a batch beyond it is refused, as Redis does when it is out of
/// memory.
pub(super) const MAX_INBOX_BYTES: usize = 256 * 1024 * 1024;

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
    pub(super) fn len(&self) -> usize {
        self.queue.lock().frames.len()
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
    pub(super) async fn pop(&self, count: usize, block: Duration) -> Vec<Bytes> {
        if block.is_zero() {
            return self.take(count);
        }
        let _turn = self.turn.lock().await;
        let wait = tokio::time::sleep(block);
        tokio::pin!(wait);
        loop {
            // A permit left behind by frames that were taken long ago costs one round here.
            let taken = self.take(count);
            if !taken.is_empty() {
                return taken;
            }
            tokio::select! {
                biased;
                () = self.filled.notified() => {}
                () = &mut wait => return Vec::new(),
            }
        }
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
