//! Writes the frames of requests and replies. Large contents stay in their own memory.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use crate::bus::transport::{Frame, Parts};

/// Contents of at least this length are a part of their own. Shorter ones are copied.
const LARGE_CONTENTS: usize = 4 * 1024;

/// Size of the memory that the frames of small requests share. A frame that waits keeps all of it, so
/// it must not be large.
const CHUNK: usize = 8 * 1024;

/// Writes a frame at the end of a buffer, which may be shared with other frames: many small ones need
/// one allocation, and are cloned without another.
pub(super) struct FrameWriter<'a> {
    buffer: &'a mut BytesMut,
    parts: Parts,
}

impl<'a> FrameWriter<'a> {
    /// Begins a frame of that size, with its contents. Large contents will not need their space; without
    /// it, 64 callers with 16 KiB ask 7 % less, probably since the allocator gives memory back more often.
    pub(super) fn new(buffer: &'a mut BytesMut, size: usize) -> Self {
        if buffer.capacity() - buffer.len() < size {
            buffer.reserve(size.max(CHUNK));
        }
        let parts = Parts::new();
        Self { buffer, parts }
    }

    /// Begins an array.
    pub(super) fn array(&mut self, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        // Writing to memory cannot fail.
        drop(rmp::encode::write_array_len(
            &mut self.buffer.writer(),
            length,
        ));
    }

    /// Writes a value whose type can always be encoded.
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        drop(rmp_serde::encode::write(&mut self.buffer.writer(), value));
    }

    /// Writes contents as bytes.
    pub(super) fn contents(&mut self, contents: Vec<u8>) {
        let length = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        drop(rmp::encode::write_bin_len(
            &mut self.buffer.writer(),
            length,
        ));
        if contents.len() < LARGE_CONTENTS {
            self.buffer.put_slice(&contents);
        } else {
            let before = self.buffer.split().freeze();
            self.parts.extend([before, contents.into()]);
        }
    }

    pub(super) fn finish(mut self) -> Frame {
        if !self.buffer.is_empty() {
            self.parts.push(self.buffer.split().freeze());
        }
        self.parts.into()
    }
}
