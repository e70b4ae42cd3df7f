//! An instant in 8 bytes, for state that every actor has.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// The number of the instant [`BASE`].
const MIDDLE: u64 = 1 << 63;

/// Any instant near those that are to be stored. Read from the system's clock, since runtimes with paused
/// time differ.
static BASE: LazyLock<Instant> = LazyLock::new(|| Instant::from_std(std::time::Instant::now()));

/// An instant of at most 292 years before or after the start of the process, exact to a nanosecond. An
/// `Option` of it takes 8 bytes as well, instead of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactInstant(NonZeroU64);

impl From<Instant> for CompactInstant {
    fn from(instant: Instant) -> Self {
        let number = match instant.checked_duration_since(*BASE) {
            Some(after) => MIDDLE.saturating_add(nanos(after)),
            None => MIDDLE.saturating_sub(nanos(BASE.duration_since(instant))),
        };
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<CompactInstant> for Instant {
    fn from(CompactInstant(number): CompactInstant) -> Self {
        let number = number.get();
        let moved = if number >= MIDDLE {
            BASE.checked_add(Duration::from_nanos(number - MIDDLE))
        } else {
            BASE.checked_sub(Duration::from_nanos(MIDDLE - number))
        };
        moved.unwrap_or(*BASE) // not reached: the instant existed
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_come_back_as_they_were() {
        let spans = [0, 1, 999_999_999, 5_000_000_001].map(Duration::from_nanos);
        let now = Instant::now();
        for span in spans {
            for instant in [now + span, now - span, *BASE + span, *BASE - span] {
                assert_eq!(Instant::from(CompactInstant::from(instant)), instant);
            }
        }
        assert_eq!(size_of::<Option<CompactInstant>>(), 8);
    }
}
