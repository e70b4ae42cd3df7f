//! Regular work: tickers, and periodic actors.

mod calendar;
mod calls;
mod periodic;

use conclib::prelude::*;
use conclib_tests::Log;
use tokio::time::Instant;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Flush(u32);

/// A log of times in milliseconds since the start of the test.
#[derive(Clone)]
struct Clock {
    log: Log,
    began: Instant,
}

impl Clock {
    fn new() -> Self {
        Self {
            log: Log::default(),
            began: Instant::now(),
        }
    }

    fn mark(&self) {
        self.log.add(self.began.elapsed().as_millis().to_string());
    }

    fn marks(&self) -> Vec<u64> {
        let entries = self.log.entries();
        entries
            .iter()
            .filter_map(|entry| entry.parse().ok())
            .collect()
    }
}
