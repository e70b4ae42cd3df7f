//! `ping`: the way to an actor and back.

use std::time::{Duration, Instant};

use clap::Args;
use conclib::monitor::BusMonitor;
use conclib::{AskError, Config, ProxyClient};
use serde::Serialize;

use crate::command::client;
use crate::exit::{Exit, Failure};
use crate::output::{self, Output};
use crate::time::parse_duration;

/// Measure the way to an actor and back, or to Redis
///
/// With a URN, the request waits in the mailbox of the actor for its turn, and is answered there before any handler.
/// Without one, Redis is asked for its time, and it is checked that an actor system serves.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// URN of the actor
    urn: Option<String>,
    /// Number of pings
    #[arg(short, long, default_value_t = 1, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Pause between pings
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = parse_duration)]
    interval: Duration,
}

/// The end that is pinged.
enum Target {
    Actor(ProxyClient, String),
    Redis(ProxyClient, BusMonitor),
}

impl Target {
    async fn ping(&self) -> Result<Duration, Failure> {
        match self {
            Self::Actor(client, urn) => {
                let begun = Instant::now();
                match client.ping(urn).await {
                    // An actor of an earlier version refuses it at its turn.
                    Ok(()) | Err(AskError::Unhandled { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                Ok(begun.elapsed())
            }
            Self::Redis(client, monitor) => {
                let elapsed = monitor.round_trip().await?.elapsed;
                client.responder().await?;
                Ok(elapsed)
            }
        }
    }
}

/// The result as JSON. Times are in milliseconds.
#[derive(Debug, Serialize)]
struct Summary {
    target: String,
    sent: usize,
    answered: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    times_ms: Option<Times>,
    /// The last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// The times of the answers, in milliseconds.
#[derive(Debug, Serialize, Clone, Copy, PartialEq)]
struct Times {
    min: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Times {
    /// The percentiles of the times, which are sorted for that.
    fn of(times: &mut [Duration]) -> Option<Self> {
        times.sort_unstable();
        // The smallest time that at least so many parts in a hundred do not exceed.
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(place).map(|time| time.as_secs_f64() * 1000.0)
        };
        Some(Self {
            min: at(0)?,
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            max: at(100)?,
        })
    }
}

impl Ping {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let client = client(config).await?;
        let (target, name) = if let Some(urn) = self.urn {
            (Target::Actor(client, urn.clone()), urn)
        } else {
            let monitor = BusMonitor::connect(config).await?;
            (Target::Redis(client, monitor), "redis".to_owned())
        };
        let mut times = Vec::new();
        let mut last_error = None;
        for number in 1..=self.count {
            let begun = Instant::now();
            match target.ping().await {
                Ok(time) => {
                    times.push(time);
                    if !output.json {
                        let time = output::duration(time);
                        output.line(&format!("{name}: answer {number} in {time}"))?;
                    }
                }
                Err(failure) => {
                    if self.count > 1 {
                        let text = format!("{name}: no answer {number}: {}", failure.text);
                        output.note_to_people(&text);
                    }
                    let is_hopeless = matches!(failure.exit, Exit::NotPermitted | Exit::Usage);
                    last_error = Some(failure);
                    if is_hopeless {
                        break;
                    }
                }
            }
            if number < self.count {
                tokio::time::sleep(self.interval.saturating_sub(begun.elapsed())).await;
            }
        }
        summarize(output, name, self.count, times, last_error)
    }
}

fn summarize(
    output: Output,
    target: String,
    sent: u32,
    mut times: Vec<Duration>,
    error: Option<Failure>,
) -> Result<(), Failure> {
    let summary = Summary {
        target,
        sent: sent as usize,
        answered: times.len(),
        times_ms: Times::of(&mut times),
        error,
    };
    if output.json {
        output.json(&summary)?;
        return match summary.error {
            Some(failure) => Err(Failure::silent(failure.exit, failure.kind)),
            None => Ok(()),
        };
    }
    if sent > 1 {
        let Summary { answered, .. } = summary;
        output.line(&format!("{sent} sent, {answered} answered"))?;
        if let Some(times) = summary.times_ms {
            output.line(&format!(
                "min {:.3} ms, p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
                times.min, times.p50, times.p90, times.p99, times.max
            ))?;
        }
    }
    summary.error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let found = Times::of(&mut times).unwrap();
        let expected = [1.0, 50.0, 90.0, 99.0, 100.0];
        let found = [found.min, found.p50, found.p90, found.p99, found.max];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        let one = Times::of(&mut [Duration::from_millis(3)]).unwrap();
        assert!((one.min - one.max).abs() < 1e-9);
        assert_eq!(Times::of(&mut []), None);
    }
}
