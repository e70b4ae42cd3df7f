//! One moment on both clocks.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment, as the two clocks show it: intervals are measured with one, and the calendar is read
/// off the other, which people and time servers adjust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WallInstant {
    /// The clock that only goes on.
    pub(crate) instant: Instant,
    /// The system's clock.
    pub(crate) wall: SystemTime,
}

impl WallInstant {
    /// The present. Where tokio's time is paused, the system's clock stands and jumps with it.
    pub(crate) fn now() -> Self {
        let instant = Instant::now();
        let wall = SystemTime::now();
        // Read last: what passes in between makes the result early. A tick may be late by that,
        // but never comes before its time.
        let real = std::time::Instant::now();
        let virtual_now = instant.into_std();
        let wall = match virtual_now.checked_duration_since(real) {
            Some(ahead) => wall.checked_add(ahead),
            None => wall.checked_sub(real.duration_since(virtual_now)),
        };
        Self {
            instant,
            wall: wall.unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// By how much the system's clock was set since then, in either direction.
    pub(super) fn clock_set_since(self, earlier: Self) -> Duration {
        let passed = self.instant.duration_since(earlier.instant);
        let expected = earlier.wall.checked_add(passed).unwrap_or(self.wall);
        match self.wall.duration_since(expected) {
            Ok(forward) => forward,
            Err(back) => back.duration(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[tokio::test(start_paused = true)]
    async fn both_clocks_follow_a_time_that_is_paused() {
        let before = WallInstant::now();
        tokio::time::advance(10 * HOUR).await;
        let after = WallInstant::now();
        assert_eq!(after.instant - before.instant, 10 * HOUR);
        assert!(after.clock_set_since(before) < HOUR);
    }

    #[test]
    fn without_a_pause_it_is_the_system_s_clock() {
        let before = SystemTime::now();
        let now = WallInstant::now().wall;
        assert!(now <= SystemTime::now());
        assert!(now + HOUR > before);
    }

    #[test]
    fn a_clock_that_is_set_is_noticed() {
        let now = WallInstant::now();
        let later = |passed, wall| WallInstant {
            instant: now.instant + passed,
            wall,
        };
        let set = |moment: WallInstant| moment.clock_set_since(now);
        assert_eq!(set(later(HOUR, now.wall + HOUR)), Duration::ZERO);
        assert_eq!(set(later(HOUR, now.wall + 3 * HOUR)), 2 * HOUR);
        assert_eq!(set(later(HOUR, now.wall - HOUR)), 2 * HOUR);
    }
}
