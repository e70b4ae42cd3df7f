//! Counters of asks by message.

use std::borrow::Cow;
use std::collections::HashMap;

use parking_lot::RwLock;

use crate::bus::client::counters::MessageStats;
use crate::error::{AskError, OutcomeCounters};
use crate::message::{ActorMessage, MessageSchema};
use crate::time::durations::{DurationRecorder, Stopwatch};

/// The number of messages with counters of their own.
const MAX_MESSAGES: usize = 512;

/// The name of all other messages.
const OTHER: &str = "_OTHER";

/// Counters by the name of the message. The names are those of types, and not a peer's.
#[derive(Default)]
pub(super) struct CountersByMessage {
    messages: RwLock<HashMap<&'static str, Box<MessageCounters>>>,
}

#[derive(Default)]
struct MessageCounters {
    schema: Option<MessageSchema>,
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
    pub(super) fn record<M: ActorMessage, T>(
        &self,
        stopwatch: Stopwatch,
        outcome: &Result<T, AskError>,
    ) {
        // A message whose name is not that of a type may have any.
        let name = if M::NAME.is_empty() { OTHER } else { M::NAME };
        self.record_named((name, M::SCHEMA), stopwatch, outcome);
    }

    fn record_named<T>(
        &self,
        (message, schema): (&'static str, Option<MessageSchema>),
        stopwatch: Stopwatch,
        outcome: &Result<T, AskError>,
    ) {
        if let Some(counters) = self.messages.read().get(message) {
            return counters.record(stopwatch, outcome);
        }
        let mut messages = self.messages.write();
        let is_known = messages.contains_key(message) || messages.len() < MAX_MESSAGES;
        let (name, schema) = if is_known {
            (message, schema)
        } else {
            (OTHER, None)
        };
        let counters = messages.entry(name).or_default();
        counters.schema = schema;
        counters.record(stopwatch, outcome);
    }

    /// The counters by message, in the order of the names.
    pub(super) fn read(&self) -> Vec<MessageStats> {
        let messages = self.messages.read();
        let stats = messages.iter().map(|(name, counters)| MessageStats {
            message: Cow::Borrowed(*name),
            schema: counters.schema.map(|schema| schema.line().into()),
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
                counters.record_named((name, None), Stopwatch::default(), &Ok(()));
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
