//! The families of metrics, with a kept handle for each of their series.

use std::collections::HashMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Label, Unit, counter, describe_counter, describe_gauge, gauge};

use super::OTHER;
use crate::error::AskErrorKind;
use crate::metrics::ActorTypeMetrics;

/// Kinds of lost messages that are published before the first one is lost: a series that begins with a 1 has not risen.
const FROM_THE_START: [AskErrorKind; 3] = [
    AskErrorKind::Overloaded,
    AskErrorKind::Timeout,
    AskErrorKind::ActorStopped,
];

/// The handles of all series, and what was published.
pub(super) struct Families {
    counters: HashMap<Series, Counter>,
    gauges: HashMap<Series, Gauge>,
    /// The last sum of each counter, of each source.
    sums: HashMap<(String, Series), u64>,
}

/// A family with its labels.
type Series = (&'static str, Vec<(&'static str, String)>);

/// Labels of a series, with their values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The figures that are published together.
#[derive(Default)]
pub(super) struct Round {
    sums: Vec<((String, Series), u64)>,
    gauges: HashMap<Series, f64>,
}

/// Collects the figures of one source: a system's actor type, a proxy, or a client. Sources may have series in
/// common, such as the proxies that serve one node after another.
pub(super) struct SourceFigures<'a> {
    round: &'a mut Round,
    source: String,
}

impl Round {
    pub(super) fn from(&mut self, source: String) -> SourceFigures<'_> {
        SourceFigures {
            round: self,
            source,
        }
    }
}

impl Families {
    /// Publishes a round: adds to each counter what has come since the last one, and sets each gauge, to 0 if no
    /// source has it any more.
    pub(super) fn publish(&mut self, round: Round) {
        for (key, sum) in round.sums {
            let (family, labels) = &key.1;
            let make = || counter!(*family, owned(labels));
            let counter = self.counters.entry(key.1.clone()).or_insert_with(make);
            let last = self.sums.entry(key).or_default();
            counter.increment(sum.saturating_sub(*last));
            *last = sum;
        }
        for (series, gauge) in &self.gauges {
            if !round.gauges.contains_key(series) {
                gauge.set(0.0);
            }
        }
        for (series, value) in round.gauges {
            let (family, labels) = &series;
            let make = || gauge!(*family, owned(labels));
            self.gauges
                .entry(series.clone())
                .or_insert_with(make)
                .set(value);
        }
    }
}

impl SourceFigures<'_> {
    /// A counter's sum so far.
    pub(super) fn count(&mut self, family: &'static str, labels: Labels<'_>, sum: u64) {
        let key = (self.source.clone(), series(family, labels));
        self.round.sums.push((key, sum));
    }

    /// A gauge whose sources add up.
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floating-point numbers"
    )]
    pub(super) fn add(&mut self, family: &'static str, labels: Labels<'_>, value: usize) {
        *self.gauge(family, labels) += value as f64;
    }

    /// A gauge of which the greatest source counts.
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floating-point numbers"
    )]
    pub(super) fn max(&mut self, family: &'static str, labels: Labels<'_>, value: usize) {
        let gauge = self.gauge(family, labels);
        *gauge = gauge.max(value as f64);
    }

    /// A gauge of seconds, 0 for none, of which the greatest source counts.
    fn max_seconds(&mut self, family: &'static str, labels: Labels<'_>, time: Option<Duration>) {
        let gauge = self.gauge(family, labels);
        *gauge = gauge.max(time.unwrap_or_default().as_secs_f64());
    }

    fn gauge(&mut self, family: &'static str, labels: Labels<'_>) -> &mut f64 {
        let series = series(family, labels);
        self.round.gauges.entry(series).or_default()
    }

    /// The families of an actor type.
    pub(super) fn actor_type(&mut self, actor: &str, metrics: &ActorTypeMetrics) {
        let actor = ("actor", actor);
        for (phase, count) in [
            ("starting", metrics.starting),
            ("running", metrics.running),
            ("restarting", metrics.restarting),
            ("stopping", metrics.stopping),
        ] {
            self.add("conclib_actors", &[actor, ("phase", phase)], count);
        }
        self.count("conclib_actor_handled_total", &[actor], metrics.handled);
        let errors = metrics.failures.saturating_sub(metrics.panics);
        for (kind, count) in [("error", errors), ("panic", metrics.panics)] {
            self.count(
                "conclib_actor_failures_total",
                &[actor, ("kind", kind)],
                count,
            );
        }
        for handler in &metrics.handlers {
            let message = handler.message.as_deref().unwrap_or(OTHER);
            for (outcome, count) in [("ok", handler.handled), ("failed", handler.failed)] {
                let labels = [
                    actor,
                    ("handler", &*handler.handler),
                    ("message", message),
                    ("outcome", outcome),
                ];
                self.count("conclib_handler_messages_total", &labels, count);
            }
        }
        self.count("conclib_actor_restarts_total", &[actor], metrics.restarts);
        for stopped in &metrics.stopped {
            let labels = [actor, ("reason", stopped.kind.as_str())];
            self.count("conclib_actor_stopped_total", &labels, stopped.count);
        }
        for kind in AskErrorKind::ALL {
            let count = metrics.lost_as(kind);
            if count > 0 || FROM_THE_START.contains(&kind) {
                let labels = [actor, ("error", kind.as_str())];
                self.count("conclib_actor_lost_total", &labels, count);
            }
        }
        self.add("conclib_mailbox_messages", &[actor], metrics.queued);
        self.max("conclib_mailbox_messages_max", &[actor], metrics.queued_max);
        self.add(
            "conclib_mailbox_senders_waiting",
            &[actor],
            metrics.waiting_senders,
        );
        self.max_seconds(
            "conclib_mailbox_oldest_seconds_max",
            &[actor],
            metrics.oldest,
        );
        let running = metrics.longest_running;
        self.max_seconds("conclib_handler_running_seconds_max", &[actor], running);
    }
}

impl Default for Families {
    /// Describes all families to the recorder.
    fn default() -> Self {
        for (family, text) in COUNTERS {
            describe_counter!(*family, Unit::Count, *text);
        }
        for (family, unit, text) in GAUGES {
            describe_gauge!(*family, *unit, *text);
        }
        Self {
            counters: HashMap::new(),
            gauges: HashMap::new(),
            sums: HashMap::new(),
        }
    }
}

fn series(family: &'static str, labels: Labels<'_>) -> Series {
    let labels = labels.iter();
    let labels = labels.map(|(label, value)| (*label, (*value).to_owned()));
    (family, labels.collect())
}

fn owned(labels: &[(&'static str, String)]) -> Vec<Label> {
    let labels = labels.iter();
    labels
        .map(|(label, value)| Label::new(*label, value.clone()))
        .collect()
}

/// The families of counters.
const COUNTERS: &[(&str, &str)] = &[
    (
        "conclib_actor_handled_total",
        "Messages and ticks that were handled without a failure",
    ),
    ("conclib_handler_messages_total", "Messages by handler"),
    ("conclib_actor_failures_total", "Failures of actors"),
    ("conclib_actor_restarts_total", "Restarts of actors"),
    ("conclib_actor_stopped_total", "Actors that have ended"),
    (
        "conclib_actor_lost_total",
        "Messages that no handler has begun",
    ),
    (
        "conclib_bus_requests_total",
        "Requests that came from the bus",
    ),
    (
        "conclib_bus_answers_total",
        "Asks from the bus, by the outcome that was sent",
    ),
    (
        "conclib_bus_unread_total",
        "Requests that were refused unread",
    ),
    (
        "conclib_bus_abandoned_total",
        "Asks from the bus whose callers had given up",
    ),
    (
        "conclib_bus_lost_tells_total",
        "Tells from the bus that no handler has begun",
    ),
    (
        "conclib_bus_anomalies_total",
        "Input from the bus that could not be used, and output that it did not take",
    ),
    (
        "conclib_durable_ended_total",
        "Durable messages that have ended",
    ),
    (
        "conclib_durable_failed_deliveries_total",
        "Deliveries of durable messages that have failed, and are repeated",
    ),
    ("conclib_lease_losses_total", "Leases that were lost"),
    (
        "conclib_connection_losses_total",
        "Connections to the bus that were lost",
    ),
    (
        "conclib_client_requests_total",
        "Requests of the client that have ended",
    ),
    (
        "conclib_client_abandoned_total",
        "Requests whose callers stopped waiting",
    ),
    ("conclib_client_retries_total", "Repetitions of requests"),
    (
        "conclib_client_rerouted_total",
        "Requests that went on to another member of the fleet",
    ),
    (
        "conclib_client_late_answers_total",
        "Answers that came after their requests had ended",
    ),
];

/// The families of gauges.
const GAUGES: &[(&str, Unit, &str)] = &[
    ("conclib_actors", Unit::Count, "Living actors"),
    (
        "conclib_mailbox_messages",
        Unit::Count,
        "Messages in all mailboxes",
    ),
    (
        "conclib_mailbox_messages_max",
        Unit::Count,
        "Messages in the fullest mailbox",
    ),
    (
        "conclib_mailbox_senders_waiting",
        Unit::Count,
        "Senders that wait for room in a mailbox",
    ),
    (
        "conclib_mailbox_oldest_seconds_max",
        Unit::Seconds,
        "Age of the oldest message in a mailbox",
    ),
    (
        "conclib_handler_running_seconds_max",
        Unit::Seconds,
        "Time for which the slowest handler has run",
    ),
    (
        "conclib_bus_undelivered_bytes",
        Unit::Bytes,
        "Size of the requests that wait in mailboxes",
    ),
    (
        "conclib_lease_held",
        Unit::Count,
        "1 while the system has the lease of its node",
    ),
    (
        "conclib_lease_epoch",
        Unit::Count,
        "The number of the lease; 0 for none",
    ),
    (
        "conclib_connection_up",
        Unit::Count,
        "1 while the bus is connected",
    ),
    (
        "conclib_client_in_flight",
        Unit::Count,
        "Requests that are under way",
    ),
    (
        "conclib_client_in_flight_bytes",
        Unit::Bytes,
        "Size of the requests that are under way",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn families_are_named_as_prometheus_has_it() {
        let counters = COUNTERS.iter().map(|(family, text)| (family, text, true));
        let gauges = GAUGES.iter().map(|(family, _, text)| (family, text, false));
        let mut names = HashSet::new();
        for (family, text, is_counter) in counters.chain(gauges) {
            assert!(names.insert(*family), "{family} is there twice");
            assert!(family.starts_with("conclib_"), "{family}");
            assert_eq!(family.ends_with("_total"), is_counter, "{family}");
            assert!(!text.ends_with('.'), "{text}");
        }
        // The page has these families, and no others.
        let page = include_str!("../../docs/metrics.md");
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let words = page.split(|c| !is_name(c));
        let on_page: HashSet<_> = words.filter(|word| word.starts_with("conclib_")).collect();
        assert_eq!(on_page, names);
    }
}
