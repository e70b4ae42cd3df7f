//! Bounds the time that answers take from the actors of the process.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The rest after work, as a multiple of it: answers take at most a fifth of one core.
const REST: u32 = 4;

/// Work for which no rest is due yet: a timer has a resolution of a millisecond.
const UNMEASURABLE: Duration = Duration::from_millis(1);

/// The longest rest, reached by lists of a million actors: a query that came meanwhile is to be answered by its
/// deadline.
const MAX_REST: Duration = Duration::from_secs(2);

/// The work since the last rest.
#[derive(Default)]
pub(super) struct CpuShare {
    worked: Duration,
}

impl CpuShare {
    /// Does a part of the work, without an await, and measures it.
    pub(super) fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.worked += start.elapsed();
        done
    }

    /// Waits until the share of the work is small enough.
    pub(super) async fn rest(&mut self) {
        if self.worked >= UNMEASURABLE {
            let rest = (self.worked * REST).min(MAX_REST);
            self.worked = Duration::ZERO;
            sleep(rest).await;
        }
    }
}
