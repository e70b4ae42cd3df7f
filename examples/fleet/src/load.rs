//! The load: callers that request squares over HTTP, and a table of what they saw.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::messages::Square;

/// Callers that request one square after another.
#[derive(Debug)]
pub struct Load {
    is_over: Arc<AtomicBool>,
    callers: JoinSet<Seen>,
    start: Instant,
}

/// The requests of a load, as their callers saw them.
#[derive(Debug, Default)]
pub struct Seen {
    /// The time of each answer.
    times: Vec<Duration>,
    /// Answers by the member that has given them.
    pub by_member: BTreeMap<String, usize>,
    /// Requests that have failed, by status.
    pub failures: BTreeMap<String, usize>,
    /// The time that the load took.
    elapsed: Duration,
}

impl Load {
    /// Starts that many callers.
    pub fn start(address: &str, callers: usize) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let client = reqwest::Client::new();
        let caller = |number: usize| {
            let (address, client) = (address.to_owned(), client.clone());
            let is_over = is_over.clone();
            async move {
                let mut seen = Seen::default();
                while !is_over.load(Ordering::Relaxed) {
                    seen.request(&client, &address, number as u64).await;
                }
                seen
            }
        };
        Self {
            callers: (0..callers).map(caller).collect(),
            is_over,
            start: Instant::now(),
        }
    }

    /// Has the callers stop after their requests.
    pub async fn stop(mut self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        while let Some(seen) = self.callers.join_next().await {
            all.add(seen.unwrap_or_default());
        }
        all.elapsed = self.start.elapsed();
        all.times.sort_unstable();
        all
    }
}

impl Seen {
    async fn request(&mut self, client: &reqwest::Client, address: &str, n: u64) {
        let start = Instant::now();
        let outcome = async {
            let response = client.get(format!("{address}/squares/{n}")).send().await?;
            response.error_for_status()?.bytes().await
        };
        let failure = match outcome.await {
            Ok(body) => match serde_json::from_slice::<Square>(&body) {
                Ok(Square { square, member }) if square == n * n => {
                    self.times.push(start.elapsed());
                    *self.by_member.entry(member).or_default() += 1;
                    return;
                }
                _ => "a wrong answer".to_owned(),
            },
            Err(error) => error
                .status()
                .map_or_else(|| error.to_string(), |status| status.to_string()),
        };
        *self.failures.entry(failure).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        for (member, count) in other.by_member {
            *self.by_member.entry(member).or_default() += count;
        }
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
    }

    /// The number of answers.
    pub fn answers(&self) -> usize {
        self.times.len()
    }

    /// The number of answers per second.
    pub fn per_second(&self) -> u128 {
        self.answers() as u128 * 1000 / self.elapsed.as_millis().max(1)
    }

    /// The time within which that many percent of the answers came.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.times.len().saturating_sub(1);
        let place = last * percent / 100;
        self.times.get(place).copied().unwrap_or_default()
    }
}

impl fmt::Display for Seen {
    /// A row of the table: answers, answers per second, p50, p99, failures, and answers by member.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        let failures = if self.failures.is_empty() {
            "none".to_owned()
        } else {
            format!("{:?}", self.failures)
        };
        write!(
            f,
            "{:>7} {:>7}/s {:>8.1} ms {:>8.1} ms   {failures}   {:?}",
            self.answers(),
            self.per_second(),
            millis(50),
            millis(99),
            self.by_member
        )
    }
}
