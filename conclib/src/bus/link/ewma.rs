//! The mean size of frames, for buses that count frames where bytes matter. No I/O.

/// An exponentially weighted mean of frame sizes, in bytes.
#[derive(Debug)]
pub(crate) struct EwmaSize(usize);

impl EwmaSize {
    /// Starts with an estimate.
    pub(crate) fn expecting(bytes: usize) -> Self {
        Self(bytes)
    }

    pub(crate) fn record(&mut self, size: usize) {
        self.0 = (self.0 * 15 + size) / 16;
    }

    /// Number of frames that have about `bytes` bytes together: at least one, at most `most`.
    pub(crate) fn frames(&self, bytes: usize, most: usize) -> usize {
        (bytes / self.0.max(1)).min(most).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_limited_by_number_and_large_ones_by_bytes() {
        let bytes = 256 * 1024;
        let mut mean = EwmaSize::expecting(512);
        assert_eq!(mean.frames(bytes, 512), 512);
        (0..200).for_each(|_| mean.record(16 * 1024));
        assert!((16..=17).contains(&mean.frames(bytes, 512)));
        (0..200).for_each(|_| mean.record(4 * 1024 * 1024));
        assert_eq!(mean.frames(bytes, 512), 1);
        (0..2000).for_each(|_| mean.record(0));
        assert_eq!(mean.frames(bytes, 512), 512);
    }
}
