//! Ends of requests, counted by outcome.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::{AskError, AskErrorKind, Delivered};

/// The progress of a request, in the order of the counters.
const PROGRESS: [Delivered; 4] = [
    Delivered::No,
    Delivered::Accepted,
    Delivered::Stored,
    Delivered::Unknown,
];

/// Requests that have ended, by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutcomeCounts {
    /// Requests that were answered, or accepted if they want no answer. An answer that is an `Err` counts too.
    pub ok: u64,
    /// Requests that have ended with an error, by its kind and progress. Kinds that have not occurred are
    /// left out.
    pub errors: Vec<ErrorCount>,
}

/// A number of errors of one kind, in [`OutcomeCounts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorCount {
    /// The kind of the error.
    pub kind: AskErrorKind,
    /// The progress of the requests.
    pub delivered: Delivered,
    /// The number of requests.
    pub count: u64,
}

impl OutcomeCounts {
    /// The number of requests that have ended.
    pub fn total(&self) -> u64 {
        self.ok + self.failed()
    }

    /// The number of requests that have ended with an error.
    pub fn failed(&self) -> u64 {
        self.errors.iter().map(|error| error.count).sum()
    }

    /// The number of requests that have ended with an error of this kind.
    pub fn of(&self, kind: AskErrorKind) -> u64 {
        let of_kind = self.errors.iter().filter(|error| error.kind == kind);
        of_kind.map(|error| error.count).sum()
    }
}

/// Counts requests by their outcomes.
#[derive(Debug, Default)]
pub(crate) struct OutcomeCounters {
    ok: AtomicU64,
    /// In the order of [`AskErrorKind`] and [`PROGRESS`].
    errors: [[AtomicU64; PROGRESS.len()]; AskErrorKind::ALL.len()],
}

impl OutcomeCounters {
    pub(crate) fn record<T>(&self, outcome: &Result<T, AskError>) {
        match outcome {
            Ok(_) => self.record_ok(),
            Err(error) => self.record_error(error),
        }
    }

    pub(crate) fn record_ok(&self) {
        self.ok.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    pub(crate) fn record_error(&self, error: &AskError) {
        let place = match error.delivered() {
            Delivered::No => 0,
            Delivered::Accepted => 1,
            Delivered::Stored => 2,
            Delivered::Unknown => 3,
        };
        let of_kind = &self.errors[error.kind() as usize];
        of_kind[place].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> OutcomeCounts {
        let kinds = AskErrorKind::ALL.into_iter().zip(&self.errors);
        let errors = kinds.flat_map(|(kind, counters)| {
            let counters = PROGRESS.into_iter().zip(counters);
            counters.map(move |(delivered, counter)| ErrorCount {
                kind,
                delivered,
                count: counter.load(Ordering::Relaxed),
            })
        });
        OutcomeCounts {
            ok: self.ok.load(Ordering::Relaxed),
            errors: errors.filter(|error| error.count > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_by_kind_and_progress() {
        let counters = OutcomeCounters::default();
        counters.record(&Ok(()));
        let timeout = |delivered| AskError::Timeout { delivered };
        for error in [
            timeout(Delivered::No),
            timeout(Delivered::Accepted),
            timeout(Delivered::Accepted),
            AskError::Closed,
        ] {
            counters.record::<()>(&Err(error));
        }
        let counts = counters.read();
        assert_eq!((counts.ok, counts.failed(), counts.total()), (1, 4, 5));
        assert_eq!(counts.of(AskErrorKind::Timeout), 3);
        let error = |kind, delivered, count| ErrorCount {
            kind,
            delivered,
            count,
        };
        assert_eq!(
            counts.errors,
            [
                error(AskErrorKind::Timeout, Delivered::No, 1),
                error(AskErrorKind::Timeout, Delivered::Accepted, 2),
                error(AskErrorKind::Closed, Delivered::Unknown, 1),
            ]
        );
    }
}
