//! Leases that are contested: the Redis that requests are popped from does not know a lease that stands where it was
//! taken. Behind one address there may be two primaries then, and each new term would end as the one before. No I/O.

use std::time::Duration;

use crate::bus::server::fence::DeniedBy;
use crate::bus::server::receiver::POP_TIMEOUT;
use crate::time::backoff::Backoff;

/// The pauses before terms that will probably be contested too.
const PAUSES: Backoff = Backoff::starting_at(Duration::from_secs(2)).up_to(Duration::from_secs(60));

/// The contested terms in a row.
#[derive(Default)]
pub(super) struct ContestedTerms {
    count: u32,
    /// The last term was ended by a pop, soon after it began.
    is_suspect: bool,
}

/// A pause before the next term.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TermPause {
    pub(super) duration: Duration,
    /// There was none before it.
    pub(super) is_first: bool,
}

impl ContestedTerms {
    /// Records the end of a term that has lasted so long; returns the pause before the next one. The first contested
    /// term has none: a lease can be lost once.
    pub(super) fn end(
        &mut self,
        lasted: Duration,
        lease: Duration,
        denied_by: Option<DeniedBy>,
    ) -> Option<TermPause> {
        // A lease that was taken cannot have expired before.
        let is_soon = lasted < lease.max(2 * POP_TIMEOUT);
        self.is_suspect = is_soon && denied_by == Some(DeniedBy::Pop);
        if !self.is_suspect {
            self.count = 0;
        }
        let attempt = self.count.checked_sub(1)?;
        Some(TermPause {
            duration: PAUSES.jittered_delay(attempt, fastrand::f64()),
            is_first: attempt == 0,
        })
    }

    /// Records the next term. `follows_own`: where the lease is taken, the term before is known as this system's.
    pub(super) fn begin(&mut self, follows_own: bool) {
        self.count = if self.is_suspect && follows_own {
            self.count.saturating_add(1)
        } else {
            0
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ends terms that a pop has contested after 2 s; returns the seconds of the pauses, rounded up to whole ones.
    fn pauses(terms: &mut ContestedTerms, count: usize) -> Vec<Option<TermPause>> {
        let end = |_| {
            let pause = terms.end(2 * SECOND, 6 * SECOND, Some(DeniedBy::Pop));
            terms.begin(true);
            pause
        };
        (0..count).map(end).collect()
    }

    #[test]
    fn pauses_grow_while_terms_are_contested() {
        let mut terms = ContestedTerms::default();
        let all = pauses(&mut terms, 9);
        assert_eq!(all[0], None);
        let longest = [2, 4, 8, 16, 32, 60, 60, 60];
        for (place, (pause, longest)) in all[1..].iter().zip(longest).enumerate() {
            let TermPause { duration, is_first } = pause.as_ref().unwrap();
            let longest = longest * SECOND;
            assert!(
                *duration <= longest && *duration >= longest / 2,
                "{pause:?}"
            );
            assert_eq!(*is_first, place == 0);
        }
    }

    #[test]
    fn other_ends_have_no_pause() {
        let (lease, by_pop) = (6 * SECOND, Some(DeniedBy::Pop));
        for (lasted, denied_by) in [
            (7 * SECOND, by_pop), // the lease may have expired
            (SECOND, Some(DeniedBy::Lease)),
            (SECOND, None),
        ] {
            let mut terms = ContestedTerms::default();
            pauses(&mut terms, 3);
            assert_eq!(terms.end(lasted, lease, denied_by), None);
            terms.begin(true);
            assert_eq!(terms.end(SECOND, lease, by_pop), None);
        }
        // The data was lost where the lease is taken too.
        let mut terms = ContestedTerms::default();
        pauses(&mut terms, 3);
        terms.begin(false);
        assert_eq!(terms.end(SECOND, lease, by_pop), None);
    }
}
