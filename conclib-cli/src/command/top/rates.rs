//! Numbers per second, from one look to the next. No I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::command::top::sample::Sample;

/// The number of rates that a sparkline shows.
pub(super) const HISTORY: usize = 120;

/// The shortest time between two looks that makes rates.
const SHORTEST: Duration = Duration::from_millis(500);

/// The sums of all members, from which rates are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    requests: u64,
    ok: u64,
    failed: u64,
    handled: u64,
    failures: u64,
}

/// Numbers per second, from one look to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) requests: f64,
    pub(super) ok: f64,
    pub(super) failed: f64,
    pub(super) handled: f64,
    pub(super) failures: f64,
}

/// The rates of the last looks.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The sums of the last look.
    totals: Option<(Instant, Totals)>,
    rates: Option<Rates>,
    /// Messages handled per second, the newest last.
    handled: VecDeque<u64>,
    /// Failures per second, the newest last.
    failed: VecDeque<u64>,
}

impl History {
    /// Makes rates of the sums of this look and those of the one before, unless that was just now: members keep their
    /// answers for a moment, so that the sums may be the same.
    pub(super) fn record(&mut self, sample: &Sample) {
        let is_early = |(at, _): (Instant, Totals)| sample.at.duration_since(at) < SHORTEST;
        if self.totals.is_some_and(is_early) {
            return;
        }
        let now = Totals::of(sample);
        if let Some((at, before)) = self.totals.replace((sample.at, now)) {
            let rates = Rates::between(before, now, sample.at.duration_since(at));
            push(&mut self.handled, rates.handled);
            push(&mut self.failed, rates.failures);
            self.rates = Some(rates);
        }
    }

    /// The rates of the last look; `None` after the first one.
    pub(super) fn rates(&self) -> Option<Rates> {
        self.rates
    }

    /// Messages handled and failures per second, the newest last.
    pub(super) fn sparks(&self) -> (Vec<u64>, Vec<u64>) {
        let all = |rates: &VecDeque<u64>| rates.iter().copied().collect();
        (all(&self.handled), all(&self.failed))
    }
}

impl Totals {
    fn of(sample: &Sample) -> Self {
        let mut totals = Self::default();
        for (_, status) in &sample.members {
            totals.requests += status.stats.received_asks + status.stats.received_tells;
            totals.ok += status.stats.asks.ok;
            totals.failed += status.stats.asks.failed();
        }
        for of_type in &sample.types {
            totals.handled += of_type.handled;
            totals.failures += of_type.failures;
        }
        totals
    }
}

impl Rates {
    fn between(before: Totals, now: Totals, time: Duration) -> Self {
        let seconds = time.as_secs_f64().max(0.001);
        // A member that is gone takes its sums with it.
        #[expect(clippy::cast_precision_loss, reason = "rates are rounded")]
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        Self {
            requests: rate(before.requests, now.requests),
            ok: rate(before.ok, now.ok),
            failed: rate(before.failed, now.failed),
            handled: rate(before.handled, now.handled),
            failures: rate(before.failures, now.failures),
        }
    }
}

fn push(history: &mut VecDeque<u64>, rate: f64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate that is not negative, rounded up"
    )]
    history.push_back(rate.ceil() as u64);
}
