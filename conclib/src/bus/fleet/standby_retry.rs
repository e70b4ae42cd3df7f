//! The times at which the names that stand by are listed again. No I/O.

use std::time::Duration;

use tokio::time::Instant;

use crate::bus::fleet::membership::GONE_AFTER;

/// Time for each name until the next time: with many names, Redis has other things to do.
const PAUSE_PER_NAME: Duration = Duration::from_micros(50);

/// Time after which names are listed again without a reason: the map may have lost that members stand by.
const INTERVAL: Duration = Duration::from_secs(30);

/// The times at which the names that stand by are listed again.
pub(super) struct StandbyRetry {
    /// Names may have been freed since the last time.
    is_requested: bool,
    /// Not before: those that have the names list them first, after the map may have lost them.
    pause: Option<Instant>,
    /// Not before, because of the last time.
    earliest: Instant,
    /// At that moment without a reason.
    latest: Instant,
}

impl StandbyRetry {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            is_requested: false,
            pause: None,
            earliest: now,
            latest: now + INTERVAL,
        }
    }

    /// Notes that names may have been freed.
    pub(super) fn request(&mut self) {
        self.is_requested = true;
    }

    /// Leaves the names to the members that have them, until these had time to list them once more.
    pub(super) fn pause(&mut self, now: Instant) {
        self.pause = Some(now + GONE_AFTER);
        self.is_requested = true;
    }

    /// True while the names are left to the members that have them.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.pause.is_some_and(|end| now < end)
    }

    /// True if the names are to be listed now; they are then.
    pub(super) fn take_due(&mut self, names: usize, now: Instant) -> bool {
        let is_due = self.is_requested || self.latest <= now;
        if !is_due || self.is_paused(now) || now < self.earliest {
            return false;
        }
        let names = u32::try_from(names).unwrap_or(u32::MAX);
        self.earliest = now + PAUSE_PER_NAME.saturating_mul(names);
        self.latest = self.earliest + INTERVAL;
        self.is_requested = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn many_names_are_listed_less_often() {
        let now = Instant::now();
        let mut retry = StandbyRetry::new(now);
        assert!(!retry.take_due(100_000, now));
        retry.request();
        assert!(retry.take_due(100_000, now));
        retry.request();
        assert!(!retry.take_due(100_000, now + 4 * SECOND));
        assert!(retry.take_due(10, now + 5 * SECOND));
        retry.request();
        assert!(retry.take_due(10, now + 6 * SECOND));
        assert!(!retry.take_due(10, now + 30 * SECOND));
        assert!(retry.take_due(10, now + 40 * SECOND));
    }

    #[test]
    fn names_are_left_alone_after_a_loss() {
        let now = Instant::now();
        let mut retry = StandbyRetry::new(now);
        retry.pause(now);
        assert!(retry.is_paused(now + 6 * SECOND));
        assert!(!retry.take_due(1, now + 6 * SECOND));
        assert!(retry.take_due(1, now + 7 * SECOND));
        assert!(!retry.is_paused(now + 7 * SECOND));
    }
}
