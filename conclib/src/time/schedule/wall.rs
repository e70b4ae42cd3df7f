//! One instant on both clocks: the monotonic one and the system's.

#[cfg(any(test, feature = "cron"))]
use std::time::Duration;
#[cfg(any(test, feature = "cron"))]
use std::time::SystemTime;

use tokio::time::Instant;

/// An instant, as both clocks show it: intervals are measured with one, and the calendar is read off
/// the other, which people and time servers adjust.
#[cfg(any(test, feature = "cron"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WallInstant {
    /// The monotonic clock.
    pub(crate) instant: Instant,
    /// The system's clock.
    pub(crate) wall: SystemTime,
}

/// The present, at which a schedule decides.
pub(crate) trait Now: Copy {
    fn instant(self) -> Instant;
    /// The moment on both clocks. Intervals never ask for it: each read of a clock counts with many
    /// actors.
    #[cfg(feature = "cron")]
    fn on_both_clocks(self) -> WallInstant;
}

impl Now for Instant {
    fn instant(self) -> Instant {
        self
    }

    #[cfg(feature = "cron")]
    fn on_both_clocks(self) -> WallInstant {
        WallInstant::at(self)
    }
}

#[cfg(feature = "cron")]
impl Now for WallInstant {
    fn instant(self) -> Instant {
        self.instant
    }

    #[cfg(feature = "cron")]
    fn on_both_clocks(self) -> WallInstant {
        self
    }
}

#[cfg(any(test, feature = "cron"))]
impl WallInstant {
    /// A moment about now. Where tokio's time is paused, the system's clock stands and jumps with it.
    fn at(instant: Instant) -> Self {
        let wall = SystemTime::now();
        // Read last: time that passes in between makes the result early. A tick may be late by that,
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

    /// The amount by which the system's clock was set since then, in either direction.
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
    async fn both_clocks_follow_paused_time() {
        let before = WallInstant::at(Instant::now());
        tokio::time::advance(10 * HOUR).await;
        let after = WallInstant::at(Instant::now());
        assert_eq!(after.instant - before.instant, 10 * HOUR);
        assert!(after.clock_set_since(before) < HOUR);
    }

    #[test]
    fn wall_is_the_systems_clock_if_time_is_not_paused() {
        let before = SystemTime::now();
        let now = WallInstant::at(Instant::now()).wall;
        assert!(now <= SystemTime::now());
        assert!(now + HOUR > before);
    }

    #[test]
    fn setting_the_clock_is_noticed() {
        let now = WallInstant::at(Instant::now());
        let later = |passed, wall| WallInstant {
            instant: now.instant + passed,
            wall,
        };
        let set = |at: WallInstant| at.clock_set_since(now);
        assert_eq!(set(later(HOUR, now.wall + HOUR)), Duration::ZERO);
        assert_eq!(set(later(HOUR, now.wall + 3 * HOUR)), 2 * HOUR);
        assert_eq!(set(later(HOUR, now.wall - HOUR)), 2 * HOUR);
    }
}
