//! The hasher of the table of pending requests.

use std::hash::Hasher;

/// Hashes ids. They are counted here, so that a peer cannot choose them to collide. Consecutive ids lie
/// beside each other in the table: batches are gathered, accepted and answered in that order, and so
/// find most entries in the cache.
#[derive(Default)]
pub(super) struct IdHasher(u64);

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
        // The table takes the place from the lower bits, and distinguishes neighbours by the upper
        // seven.
        self.0 = (id << 57) | (id & (u64::MAX >> 7));
    }
}
