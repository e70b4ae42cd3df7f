//! How many frames to ask for where the bus counts frames, and what matters are bytes.

/// The mean size of the frames that came, the newer ones weighing more.
#[derive(Debug)]
pub(crate) struct MeanSize(usize);

impl MeanSize {
    /// Before anything has come, frames are taken for such of this size.
    pub(crate) fn expecting(bytes: usize) -> Self {
        Self(bytes)
    }

    pub(crate) fn learn(&mut self, size: usize) {
        self.0 = (self.0 * 15 + size) / 16;
    }

    /// How many frames come to about so many bytes: at least one, and not more than `most`.
    pub(crate) fn frames(&self, bytes: usize, most: usize) -> usize {
        (bytes / self.0.max(1)).min(most).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_go_by_number_and_large_ones_by_bytes() {
        let bytes = 256 * 1024;
        let mut mean = MeanSize::expecting(512);
        assert_eq!(mean.frames(bytes, 512), 512);
        (0..200).for_each(|_| mean.learn(16 * 1024));
        assert!((16..=17).contains(&mean.frames(bytes, 512)));
        (0..200).for_each(|_| mean.learn(4 * 1024 * 1024));
        assert_eq!(mean.frames(bytes, 512), 1);
        (0..2000).for_each(|_| mean.learn(0));
        assert_eq!(mean.frames(bytes, 512), 512);
    }
}
