//! How long to wait before what has failed is tried again. No I/O.

use std::time::Duration;

/// How long to wait before an attempt: from 50 ms, doubling up to 1.6 s, and up to half less by
/// `luck` (0 to 1), so that not all who lost the same Redis come back at the same moment.
pub(crate) fn pause(attempt: u32, luck: f64) -> Duration {
    let longest = Duration::from_millis(50 << attempt.min(5));
    longest.mul_f64(1.0 - luck / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_but_never_rare() {
        assert_eq!(pause(0, 0.0), Duration::from_millis(50));
        assert_eq!(pause(0, 1.0), Duration::from_millis(25));
        assert_eq!(pause(3, 0.0), Duration::from_millis(400));
        assert_eq!(pause(u32::MAX, 0.0), Duration::from_millis(1600));
    }
}
