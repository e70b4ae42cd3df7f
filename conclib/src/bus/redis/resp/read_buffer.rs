//! The memory into which a connection is read. No I/O.

use std::collections::VecDeque;
use std::mem;
use std::ops::{Deref, DerefMut, RangeInclusive};

use bytes::{Bytes, BytesMut};

/// Free space for the next read, at least and at most. A string keeps the memory of the whole read, so
/// it must not be large.
const READ_SIZE: (usize, usize) = (4 * 1024, 64 * 1024);

/// A string of at least this length has memory of its own.
const LARGE_STRING: usize = 64 * 1024;

/// Sizes of memory that is used again. The allocator has smaller memory at hand; larger memory it
/// returns to the system, and asks for it anew, page by page.
const REUSED: RangeInclusive<usize> = 32 * 1024..=1024 * 1024;

/// Number of memories that wait to be used again.
const MAX_RETIRED: usize = 4;

/// Bytes that were read and not decoded yet. Strings are split off from it without being copied, and
/// keep its memory until they are dropped; then it is used again.
#[derive(Default)]
pub(super) struct ReadBuffer {
    bytes: BytesMut,
    /// Size of the memory of `bytes`, with that of the strings that were split off.
    size: usize,
    /// Memories that strings may still keep, with their sizes; the longest retired first.
    retired: VecDeque<(BytesMut, usize)>,
    /// Free space for the next read.
    read_size: usize,
    /// Length of the large string that comes in; zero if none does.
    expected: usize,
}

impl ReadBuffer {
    /// The buffer for the next read, with space for the bytes that are expected.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        let (least, most) = READ_SIZE;
        let free = self.bytes.capacity() - self.bytes.len();
        if self.bytes.len() < self.expected {
            return &mut self.bytes; // bytes behind the string go elsewhere
        }
        if free < least || free < self.read_size / 2 {
            self.reserve(self.read_size.clamp(least, most));
        }
        &mut self.bytes
    }

    /// Notes the size of a read: the next one may be as large.
    pub(super) fn note_read(&mut self, bytes: usize) {
        let (least, most) = READ_SIZE;
        let grown = if self.bytes.len() == self.bytes.capacity() {
            2 * bytes
        } else {
            bytes
        };
        self.read_size = grown.max(self.read_size / 2).clamp(least, most);
    }

    /// Makes space for a string that has come in in part, and has that length.
    pub(super) fn make_room(&mut self, length: usize) {
        if length >= LARGE_STRING {
            self.expected = length;
        }
        self.reserve(length - self.bytes.len());
    }

    /// Splits a string off.
    pub(super) fn split_off(&mut self, length: usize) -> Bytes {
        self.expected = 0;
        self.bytes.split_to(length).freeze()
    }

    /// Makes space for that many bytes more.
    fn reserve(&mut self, additional: usize) {
        if self.bytes.try_reclaim(additional) {
            return;
        }
        let (mut memory, size) = self.unused(self.bytes.len() + additional);
        memory.extend_from_slice(&self.bytes);
        let mut retired = mem::replace(&mut self.bytes, memory);
        let retired_size = mem::replace(&mut self.size, size);
        if REUSED.contains(&retired_size) {
            retired.clear();
            self.retired.push_back((retired, retired_size));
            if self.retired.len() > MAX_RETIRED {
                self.retired.pop_front();
            }
        }
    }

    /// Empty memory of at least that size, with its size.
    fn unused(&mut self, least: usize) -> (BytesMut, usize) {
        let mut retired = self.retired.iter_mut();
        let unused = retired.position(|(memory, size)| {
            (least..=2 * least).contains(size) && memory.try_reclaim(least)
        });
        if let Some(memory) = unused.and_then(|place| self.retired.remove(place)) {
            return memory;
        }
        let size = if least >= LARGE_STRING {
            least
        } else {
            least.max(self.read_size)
        };
        (BytesMut::with_capacity(size), size)
    }

    /// Releases memory for large replies that has not been used for a while.
    pub(super) fn release_memory(&mut self) {
        self.retired.clear();
        self.read_size = 0;
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            self.size = 0;
        }
    }
}

impl Deref for ReadBuffer {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.bytes
    }
}

impl DerefMut for ReadBuffer {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads strings of that size, of which the last `held` are kept; returns the places in memory
    /// that they have had.
    fn read(buffer: &mut ReadBuffer, size: usize, held: usize) -> Vec<*const u8> {
        let mut strings: VecDeque<Bytes> = VecDeque::new();
        let mut places = Vec::new();
        for _ in 0..100 {
            buffer.make_room(size);
            buffer.space().extend_from_slice(&vec![7; size]);
            buffer.note_read(size);
            let string = buffer.split_off(size);
            places.push(string.as_ptr());
            strings.push_back(string);
            if strings.len() > held {
                strings.pop_front();
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    #[test]
    fn memory_is_used_again_once_its_strings_are_dropped() {
        for (size, held) in [(100_000, 0), (100_000, 2), (1_000_000, 2)] {
            let places = read(&mut ReadBuffer::default(), size, held);
            assert!(places.len() <= 12, "{size} {held}: {}", places.len());
        }
    }

    #[test]
    fn memory_of_held_strings_is_not_written_again() {
        let mut buffer = ReadBuffer::default();
        let places = read(&mut buffer, 100_000, 100);
        assert_eq!(places.len(), 100);
        assert!(buffer.retired.len() <= MAX_RETIRED);
    }

    #[test]
    fn memory_of_a_large_string_is_its_own() {
        let mut buffer = ReadBuffer::default();
        buffer.space().extend_from_slice(&[7; 100]);
        buffer.make_room(LARGE_STRING);
        let space = buffer.space();
        assert_eq!(space.capacity(), LARGE_STRING);
        space.extend_from_slice(&vec![7; LARGE_STRING - 100]);
        let string = buffer.split_off(LARGE_STRING);
        assert_eq!(string, vec![7; LARGE_STRING]);
        assert!(buffer.space().capacity() < LARGE_STRING);
    }

    #[test]
    fn very_large_and_unused_memory_is_released() {
        let mut buffer = ReadBuffer::default();
        read(&mut buffer, 4_000_000, 1);
        assert!(
            buffer
                .retired
                .iter()
                .all(|(_, size)| *size <= *REUSED.end())
        );
        buffer.release_memory();
        assert!(buffer.retired.is_empty());
        assert!(buffer.space().capacity() < 10_000);
    }
}
