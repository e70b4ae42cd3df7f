//! The system that held the lease before this one: an earlier process of this instance has left durable
//! messages. No I/O.

use std::time::Duration;

use parking_lot::Mutex;

use crate::bus::transport::{Epoch, FormerTerm, LeaseRecord};

/// The longest lease of a system, whatever a peer wrote.
const MAX_LENGTH: Duration = Duration::from_secs(60);

/// The last other holder of the lease.
#[derive(Default)]
pub(crate) struct FormerHolder(Mutex<Former>);

#[derive(Default)]
struct Former {
    /// The last lease of another system that was seen while it was held, and its length.
    seen: Option<(Epoch, Duration)>,
    /// The last term of another system before those of this one, if the bus knows of one.
    term: Option<FormerTerm>,
}

impl FormerHolder {
    /// Notes that another system holds the lease.
    pub(super) fn saw(&self, lease: &LeaseRecord) {
        self.0.lock().seen = Some((lease.epoch, lease.length.min(MAX_LENGTH)));
    }

    /// Notes the term before one of this system.
    pub(super) fn was_followed(&self, term: Option<FormerTerm>) {
        if term.is_none_or(|term| !term.is_own) {
            self.0.lock().term = term;
        }
    }

    /// True if it has released the lease in good order: its handlers may still run.
    pub(crate) fn was_released(&self) -> bool {
        self.0.lock().term.is_some_and(|term| term.was_released)
    }

    /// The length of its lease, if that was seen. After it, the former holder knows that it has lost the
    /// lease.
    pub(crate) fn lease_length(&self) -> Option<Duration> {
        let former = self.0.lock();
        let seen = former.seen.filter(|(epoch, _)| {
            let term = former.term;
            term.is_some_and(|term| term.epoch == *epoch)
        });
        seen.map(|(_, length)| length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(epoch: u64, is_own: bool, was_released: bool) -> FormerTerm {
        FormerTerm {
            epoch: Epoch(epoch),
            is_own,
            was_released,
        }
    }

    fn lease(epoch: u64, seconds: u64) -> LeaseRecord {
        LeaseRecord {
            epoch: Epoch(epoch),
            versions: (1, 1),
            max_frame: 1,
            length: Duration::from_secs(seconds),
            serves: true,
        }
    }

    #[test]
    fn length_is_that_of_the_term_before() {
        let former = FormerHolder::default();
        former.saw(&lease(1, 6));
        former.saw(&lease(2, 20));
        assert_eq!(former.lease_length(), None);
        former.was_followed(Some(term(2, false, true)));
        assert_eq!(former.lease_length(), Some(Duration::from_secs(20)));
        assert!(former.was_released());
        // A term of its own follows another one of its own.
        former.was_followed(Some(term(3, true, false)));
        assert!(former.was_released());
        former.was_followed(Some(term(4, false, false)));
        assert_eq!(
            (former.lease_length(), former.was_released()),
            (None, false)
        );
        former.saw(&lease(4, u64::MAX));
        assert_eq!(former.lease_length(), Some(MAX_LENGTH));
    }
}
