//! Required limits of the bus.

use conclib_benches::report::Limit;

use crate::peers::Peer;
use crate::plan::Row;
use crate::results::{Metric, Results};

/// The other side of a comparison with conclib.
#[derive(Debug, Clone, Copy)]
enum Against {
    /// This peer in the same row.
    Peer(Peer),
    /// conclib itself in another row.
    Row(&'static str, &'static str),
}

/// A bound of conclib's value divided by the other one: the most or the least, by the better direction.
#[derive(Debug)]
struct Promise {
    row: &'static str,
    metric: Metric,
    against: Against,
    bound: f64,
}

const PROMISES: [Promise; 12] = [
    promise("1", Metric::P50, Against::Peer(Peer::Nats), 1.0),
    promise("1", Metric::P50, Against::Peer(Peer::NaiveLoop), 1.0),
    promise("1", Metric::AllCpu, Against::Peer(Peer::NaiveLoop), 0.9),
    promise("16", Metric::Throughput, Against::Peer(Peer::Nats), 1.1),
    promise(
        "16-thread",
        Metric::Throughput,
        Against::Peer(Peer::Nats),
        1.25,
    ),
    promise("64", Metric::Throughput, Against::Peer(Peer::Nats), 1.5),
    promise("512", Metric::Throughput, Against::Peer(Peer::Nats), 2.2),
    promise("4096", Metric::Throughput, Against::Peer(Peer::Nats), 2.2),
    promise(
        "4096",
        Metric::Throughput,
        Against::Row("512", "conclib with 512 callers"),
        1.0,
    ),
    promise(
        "64x16KiB",
        Metric::Throughput,
        Against::Peer(Peer::Nats),
        1.25,
    ),
    promise("1", Metric::ClientMemory, Against::Peer(Peer::Nats), 1.2),
    promise("1", Metric::ClientAllocated, Against::Peer(Peer::Nats), 1.2),
];

/// The bounds if all processes share one processor: there the time of an ask is the work on its way,
/// and not the waking of processors.
const ON_ONE_CPU: [Promise; 1] = [promise(
    "1",
    Metric::P50,
    Against::Peer(Peer::NaiveLoop),
    0.85,
)];

const fn promise(row: &'static str, metric: Metric, against: Against, bound: f64) -> Promise {
    Promise {
        row,
        metric,
        against,
        bound,
    }
}

/// The limits of a line whose sides were both measured.
pub(crate) fn judge(results: &Results, row: &Row, metric: Metric, one_cpu: bool) -> Vec<Limit> {
    let promises = if one_cpu { &ON_ONE_CPU[..] } else { &PROMISES };
    let here = promises
        .iter()
        .filter(|promise| promise.row == row.id && promise.metric == metric);
    here.filter_map(|promise| promise.judge(results)).collect()
}

impl Promise {
    fn judge(&self, results: &Results) -> Option<Limit> {
        let (against, other) = match self.against {
            Against::Peer(peer) => (peer.name(), (self.row, peer)),
            Against::Row(row, name) => (name, (row, Peer::Conclib)),
        };
        let measured = results.ratio(self.metric, (self.row, Peer::Conclib), other)?;
        Some(Limit::new(
            against,
            self.bound,
            measured,
            self.metric.better(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Sample;
    use crate::plan::ROWS;

    fn add(results: &mut Results, row: &str, peer: Peer, asks: u64, p50: f64) {
        let row = ROWS.iter().find(|known| known.id == row).expect("a row");
        let sample = Sample {
            asks,
            seconds: 1.0,
            p50,
            ..Sample::default()
        };
        results.add(row, peer, 0, sample);
    }

    fn verdicts(results: &Results, row: usize, metric: Metric) -> Vec<bool> {
        judge(results, &ROWS[row], metric, false)
            .iter()
            .map(|limit| limit.holds)
            .collect()
    }

    #[test]
    fn times_are_at_most_and_throughput_is_at_least() {
        let mut results = Results::default();
        add(&mut results, "1", Peer::Conclib, 1, 150.0);
        add(&mut results, "1", Peer::Nats, 1, 160.0);
        add(&mut results, "1", Peer::NaiveLoop, 1, 140.0);
        assert_eq!(verdicts(&results, 0, Metric::P50), [true, false]);
        add(&mut results, "512", Peer::Conclib, 450, 1.0);
        add(&mut results, "512", Peer::Nats, 200, 1.0);
        add(&mut results, "4096", Peer::Conclib, 400, 1.0);
        assert_eq!(verdicts(&results, 3, Metric::Throughput), [true]);
        assert_eq!(
            verdicts(&results, 4, Metric::Throughput),
            [false],
            "slower than with 512"
        );
    }

    #[test]
    fn each_limit_names_a_row_that_there_is() {
        for promise in PROMISES.iter().chain(&ON_ONE_CPU) {
            assert!(ROWS.iter().any(|row| row.id == promise.row));
            if let Against::Row(id, _) = promise.against {
                assert!(ROWS.iter().any(|row| row.id == id));
            }
        }
    }
}
