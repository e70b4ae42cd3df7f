//! Pauses between attempts: one formula for restarts of actors and for retries on the bus. No I/O.

use std::time::Duration;

/// Pauses before another attempt: each twice as long as the one before, up to the longest.
///
/// Restarts of an actor are attempts ([`Spawn::backoff`](crate::system::Spawn::backoff)): its pauses grow
/// until it has lived for as long as its budget's window without another failure. So are deliveries of
/// a durable message (`Config::retry_backoff`): its pauses grow with each failed delivery.
///
/// Each pause is shortened by a random part of up to one half, so that attempts that failed together
/// are not repeated together.
///
/// ```
/// use conclib::Backoff;
/// use std::time::Duration;
///
/// let patient = Backoff::from_secs(1).up_to(Duration::from_secs(60));
/// assert_ne!(patient, Backoff::default());    // 100 ms, up to 10 s
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// The first pause; the longest is 10 s, or this if it is longer.
    pub const fn starting_at(first: Duration) -> Self {
        const LONGEST: Duration = Duration::from_secs(10);
        let longest = if first.as_nanos() > LONGEST.as_nanos() {
            first
        } else {
            LONGEST
        };
        Self { first, longest }
    }

    /// [`starting_at`](Self::starting_at) so many seconds.
    pub const fn from_secs(first: u64) -> Self {
        Self::starting_at(Duration::from_secs(first))
    }

    /// The longest pause.
    #[must_use]
    pub const fn up_to(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Tries again at once.
    pub const fn none() -> Self {
        Self {
            first: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    /// The same, with no pause longer than this.
    #[cfg_attr(
        not(feature = "bus"),
        allow(dead_code, reason = "durable messages have a longest pause")
    )]
    pub(crate) fn at_most(self, longest: Duration) -> Self {
        self.up_to(self.longest.min(longest))
    }

    /// The first and the longest pause, without their random part.
    #[cfg_attr(
        not(feature = "bus"),
        allow(dead_code, reason = "durable messages carry them")
    )]
    pub(crate) fn bounds(&self) -> (Duration, Duration) {
        (self.delay(0), self.longest)
    }

    /// The pause after `failures` earlier failures in a row and one more: the first one is for zero.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures);
        self.first.saturating_mul(doubled).min(self.longest)
    }

    /// [`delay`](Self::delay), shortened by up to one half; `jitter` is in `0.0..=1.0`.
    pub(crate) fn jittered_delay(&self, failures: u32, jitter: f64) -> Duration {
        let delay = self.delay(failures);
        // A subtraction, since a product with the rest overflows for the longest duration.
        delay.saturating_sub(delay.mul_f64(jitter / 2.0))
    }
}

impl Default for Backoff {
    /// 100 ms at first, 10 s at most.
    fn default() -> Self {
        Self::starting_at(Duration::from_millis(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_longest() {
        let backoff = Backoff::starting_at(50 * SECOND / 1000).up_to(SECOND);
        let millis = [0, 1, 2, 4, 5, u32::MAX].map(|failures| backoff.delay(failures).as_millis());
        assert_eq!(millis, [50, 100, 200, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_shortens_delays_by_half_at_most() {
        let backoff = Backoff::from_secs(1);
        assert_eq!(backoff.jittered_delay(0, 0.0), SECOND);
        assert_eq!(backoff.jittered_delay(0, 0.5), SECOND * 3 / 4);
        assert!(backoff.jittered_delay(0, 0.999) > SECOND / 2);
    }

    #[test]
    fn long_streak_does_not_overflow() {
        let backoff = Backoff::starting_at(Duration::MAX / 2).up_to(Duration::MAX);
        assert_eq!(backoff.jittered_delay(u32::MAX, 0.0), Duration::MAX);
        assert!(backoff.jittered_delay(u32::MAX, 0.999) > SECOND);
    }
}
