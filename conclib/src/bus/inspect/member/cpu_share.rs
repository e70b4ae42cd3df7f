//! Bounds the time that answers take from the actors of the process.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::bus::inspect::member::aside::aside;
use crate::bus::inspect::message::Refusal;

/// The rest after work, as a multiple of it: answers take at most a fifth of one core.
const REST: u32 = 4;

/// Work for which no rest is due yet: a timer has a resolution of a millisecond.
const UNMEASURABLE: Duration = Duration::from_millis(1);

/// The longest rest, reached by lists of a million actors: a query that came meanwhile is to be answered by its
/// deadline.
const MAX_REST: Duration = Duration::from_secs(2);

/// The number of actors up to which work takes a task of the runtime no longer than a millisecond.
const FEW_ACTORS: usize = 1_024;

/// The work since the last rest.
#[derive(Default)]
pub(super) struct CpuShare {
    worked: Duration,
}

impl CpuShare {
    /// Does work of that size, and measures it: much of it on a [thread of its own](aside).
    pub(super) async fn measure_many<T: Send + 'static>(
        &mut self,
        actors: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if actors <= FEW_ACTORS {
            return Ok(self.measure(work));
        }
        let timed = move || {
            let start = Instant::now();
            (work(), start.elapsed())
        };
        let (done, elapsed) = aside(timed).await?;
        self.worked += elapsed;
        Ok(done)
    }

    /// Does a small part of the work, and measures it.
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
