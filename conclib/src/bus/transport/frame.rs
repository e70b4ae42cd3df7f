//! Encoded frames, in parts: large contents are sent from their own memory.

use bytes::Bytes;
use smallvec::SmallVec;

/// The parts of a frame; nearly always there is one.
pub(crate) type Parts = SmallVec<[Bytes; 1]>;

/// An encoded frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    parts: Parts,
}

impl Frame {
    /// The number of its bytes.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The bytes of the frame, copied if it has several parts.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.parts.len() > 1 {
            return self.parts.concat().into();
        }
        self.parts.pop().unwrap_or_default()
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self {
            parts: Parts::from_iter([bytes]),
        }
    }
}

impl From<Parts> for Frame {
    fn from(parts: Parts) -> Self {
        Self { parts }
    }
}
