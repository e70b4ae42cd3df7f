//! Starts that failed a moment ago: lookups get the same error, and start nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::core::LookupError;
use crate::stop_reason::StopReason;
use crate::urn::Urn;

/// Time for which a failed start is remembered.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The most failed starts that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// The failed starts of one pattern.
#[derive(Default)]
pub(super) struct RecentRefusals(Mutex<Refusals>);

#[derive(Default)]
struct Refusals {
    /// The time up to which a refusal is remembered, and its kind.
    by_urn: HashMap<Urn, (Instant, Refusal)>,
    /// The URNs in the order of their times. One that was refused twice is in it twice.
    order: VecDeque<(Instant, Urn)>,
}

#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// The actor failed for good.
    Failed,
    /// The factory knows no actor of this name.
    Absent,
}

impl RecentRefusals {
    /// Remembers the end of an actor, if that was a failure or there is none of its name.
    pub(super) fn note_end(&self, urn: &Urn, end: &StopReason) {
        let refusal = match end {
            StopReason::Absent => Refusal::Absent,
            end if end.is_failure() => Refusal::Failed,
            _ => return,
        };
        let now = Instant::now();
        let mut refusals = self.0.lock();
        refusals.forget_expired(now);
        if refusals.order.len() >= MAX_REMEMBERED {
            refusals.forget_oldest();
        }
        let until = now + REMEMBERED;
        refusals.by_urn.insert(urn.clone(), (until, refusal));
        refusals.order.push_back((until, urn.clone()));
    }

    /// The error of a lookup, if the start failed a moment ago.
    pub(super) fn error_of(&self, urn: &Urn) -> Option<LookupError> {
        let mut refusals = self.0.lock();
        if refusals.order.is_empty() {
            return None; // reads no clock
        }
        refusals.forget_expired(Instant::now());
        let (_, refusal) = refusals.by_urn.get(urn)?;
        let urn = urn.clone();
        Some(match refusal {
            Refusal::Failed => LookupError::Failed { urn },
            Refusal::Absent => LookupError::NotFound { urn },
        })
    }
}

impl Refusals {
    fn forget_expired(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((until, urn)) = self.order.pop_front() else {
            return;
        };
        // A later refusal of the same URN stays.
        if self
            .by_urn
            .get(&urn)
            .is_some_and(|(last, _)| *last == until)
        {
            self.by_urn.remove(&urn);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::error::Failure;

    fn urn(number: usize) -> Urn {
        Urn::new(format!("order/{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn failed_and_absent_starts_are_remembered_for_a_second() {
        let refusals = RecentRefusals::default();
        let failed = StopReason::Failed(Failure::msg("no disk"));
        refusals.note_end(&urn(1), &failed);
        refusals.note_end(&urn(2), &StopReason::Absent);
        refusals.note_end(&urn(3), &StopReason::Idle);
        let error = |number| refusals.error_of(&urn(number));
        advance(REMEMBERED / 2).await;
        assert!(matches!(error(1), Some(LookupError::Failed { .. })));
        assert!(matches!(error(2), Some(LookupError::NotFound { .. })));
        assert_eq!(error(3), None);

        refusals.note_end(&urn(2), &failed);
        advance(REMEMBERED / 2).await;
        assert_eq!(error(1), None);
        assert!(matches!(error(2), Some(LookupError::Failed { .. })));
        advance(REMEMBERED / 2).await;
        assert_eq!(error(2), None);
        assert!(refusals.0.lock().by_urn.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn remembered_starts_are_bounded() {
        let refusals = RecentRefusals::default();
        for number in 0..MAX_REMEMBERED + 10 {
            refusals.note_end(&urn(number), &StopReason::Absent);
        }
        let state = refusals.0.lock();
        assert_eq!(state.by_urn.len(), MAX_REMEMBERED);
        assert_eq!(state.order.len(), MAX_REMEMBERED);
        assert!(!state.by_urn.contains_key(&urn(9)) && state.by_urn.contains_key(&urn(10)));
    }
}
