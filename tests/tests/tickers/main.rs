//! Regular work: tickers, and periodic actors.

mod calendar;
mod calls;
mod periodic;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use conclib::prelude::*;
use conclib::{First, Missed, Schedule, Ticker};
use conclib_tests::messages::{Beat, Fail, Pass};
use conclib_tests::{Log, LogsDrop, MS, SECOND, TestResult, gate, within};
use tokio::time::{Instant, sleep};

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
