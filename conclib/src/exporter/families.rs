//! The families of metrics, with a kept handle for each of their series.

use std::collections::HashMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::OTHER;
use super::descriptions::describe;
use crate::error::AskErrorKind;
use crate::metrics::{ActorTypeMetrics, DurationHistogram};

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
    histograms: HashMap<Series, Histogram>,
    /// The last sum of each counter, of each source.
    sums: HashMap<(String, Series), u64>,
    /// The same of each histogram.
    durations: HashMap<(String, Series), DurationHistogram>,
}

/// A family with its labels.
type Series = (&'static str, Vec<(&'static str, String)>);

/// Labels of a series, with their values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The figures that are published together.
#[derive(Default)]
pub(super) struct Round {
    sums: Vec<((String, Series), u64)>,
    durations: Vec<((String, Series), DurationHistogram)>,
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
        for (key, durations) in round.durations {
            let (family, labels) = &key.1;
            let make = || histogram!(*family, owned(labels));
            let histogram = self.histograms.entry(key.1.clone());
            let histogram = histogram.or_insert_with(make);
            let last = self.durations.entry(key).or_default();
            record_new(histogram, last, &durations);
            *last = durations;
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

    /// A histogram's durations so far.
    pub(super) fn durations(
        &mut self,
        family: &'static str,
        labels: Labels<'_>,
        durations: &DurationHistogram,
    ) {
        if !durations.buckets.is_empty() {
            let key = (self.source.clone(), series(family, labels));
            self.round.durations.push((key, durations.clone()));
        }
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
    pub(super) fn max_seconds(
        &mut self,
        family: &'static str,
        labels: Labels<'_>,
        time: Option<Duration>,
    ) {
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
            let labels = [actor, ("handler", &*handler.handler)];
            self.durations("conclib_handler_seconds", &labels, &handler.times);
        }
        self.durations("conclib_bus_queue_seconds", &[actor], &metrics.queue_times);
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
        describe();
        Self {
            counters: HashMap::new(),
            gauges: HashMap::new(),
            histograms: HashMap::new(),
            sums: HashMap::new(),
            durations: HashMap::new(),
        }
    }
}

/// Records the durations that have come since the last time, each as the middle of its bucket.
fn record_new(histogram: &Histogram, last: &DurationHistogram, now: &DurationHistogram) {
    for bucket in &now.buckets {
        let before = last
            .buckets
            .binary_search_by_key(&bucket.from, |last| last.from);
        let before = before.map_or(0, |place| last.buckets[place].count);
        let new = bucket.count.saturating_sub(before);
        if new > 0 {
            let count = usize::try_from(new).unwrap_or(usize::MAX);
            histogram.record_many(bucket.middle().as_secs_f64(), count);
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
