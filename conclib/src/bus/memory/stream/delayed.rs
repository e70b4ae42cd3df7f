//! The delayed messages of a stream.

use crate::bus::memory::stream::StreamState;
use crate::bus::transport::ServerTime;
use crate::bus::transport::stream::StreamEntry;

impl StreamState {
    /// Moves an entry from the stream to the delayed ones.
    pub(super) fn delay(&mut self, entry: StreamEntry) {
        self.remove(entry.id);
        let due = entry.options.due.unwrap_or_default();
        self.bytes += entry.frame.len();
        if let Some(before) = self.delayed.insert((due, entry.id), entry) {
            self.bytes -= before.frame.len();
        }
    }

    /// Moves a delayed entry to the end of the stream.
    pub(super) fn resume(&mut self, entry: &StreamEntry, now: ServerTime) {
        let due = entry.options.due.unwrap_or_default();
        if let Some(entry) = self.delayed.remove(&(due, entry.id)) {
            self.bytes -= entry.frame.len();
            let id = self.next_id(now);
            self.insert(id, entry.into());
        }
    }
}
