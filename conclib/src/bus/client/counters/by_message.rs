//! Counters of asks by message.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::RwLock;

use crate::bus::client::counters::MessageStats;
use crate::error::{AskError, OutcomeCounters};
use crate::time::durations::{DurationRecorder, Stopwatch};

/// The number of messages with counters of their own.
const MAX_MESSAGES: usize = 512;

/// The name of all other messages.
pub(in crate::bus::client) const OTHER: &str = "_OTHER";

/// Counters by the name of the message. The names are those of types, and not a peer's.
#[derive(Default)]
pub(super) struct CountersByMessage {
    messages: RwLock<HashMap<&'static str, Box<MessageCounters>>>,
}

#[derive(Default)]
struct MessageCounters {
    asks: OutcomeCounters,
    times: DurationRecorder,
}

impl MessageCounters {
    fn record<T>(&self, stopwatch: Stopwatch, outcome: &Result<T, AskError>) {
        self.asks.record(outcome);
        stopwatch.record(&self.times);
    }
}

impl CountersByMessage {
    /// Records the outcome of an ask.
    pub(super) fn record<T>(
        &self,
        message: &'static str,
        stopwatch: Stopwatch,
        outcome: &Result<T, AskError>,
    ) {
        if let Some(counters) = self.messages.read().get(message) {
            return counters.record(stopwatch, outcome);
        }
        let mut messages = self.messages.write();
        let is_known = messages.contains_key(message) || messages.len() < MAX_MESSAGES;
        let name = if is_known { message } else { OTHER };
        let counters = messages.entry(name).or_default();
        counters.record(stopwatch, outcome);
    }

    /// The counters by message, in the order of the names.
    pub(super) fn read(&self) -> Vec<MessageStats> {
        let messages = self.messages.read();
        let stats = messages.iter().map(|(name, counters)| MessageStats {
            message: Cow::Borrowed(*name),
            asks: counters.asks.read(),
            times: counters.times.read(),
        });
        let mut stats: Vec<_> = stats.collect();
        drop(messages);
        stats.sort_unstable_by(|a, b| a.message.cmp(&b.message));
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_beyond_the_bound_are_counted_together() {
        let counters = CountersByMessage::default();
        for n in 0..MAX_MESSAGES + 100 {
            let name: &'static str = format!("Message{n}").leak();
            for _ in 0..3 {
                counters.record(name, Stopwatch::default(), &Ok(()));
            }
        }
        let stats = counters.read();
        assert_eq!(stats.len(), MAX_MESSAGES + 1);
        let other = stats.iter().find(|stats| stats.message == OTHER);
        assert_eq!(other.map(|other| other.asks.ok), Some(300));
        let all: u64 = stats.iter().map(|stats| stats.asks.total()).sum();
        assert_eq!(all, 3 * (MAX_MESSAGES as u64 + 100));
    }
}
