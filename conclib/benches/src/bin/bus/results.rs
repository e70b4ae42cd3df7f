//! The results of all measurements, and the lines of the table.

use conclib_benches::measure::median;
use conclib_benches::report::{Better, Cell, Row as Line};

use crate::call::Sample;
use crate::float;
use crate::limits;
use crate::peers::Peer;
use crate::plan::Row;

/// The metrics of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Throughput,
    P50,
    P99,
    ClientCpu,
    ResponderCpu,
    ServerCpu,
    /// All three processes together: hardly disturbed by other work of the machine.
    AllCpu,
    ClientMemory,
    /// Without the program: all peers are in one, of which each needs other parts.
    ClientAllocated,
    ResponderMemory,
    ResponderAllocated,
}

impl Metric {
    /// All metrics, in the order of the table.
    const ALL: [Self; 11] = [
        Self::Throughput,
        Self::P50,
        Self::P99,
        Self::ClientCpu,
        Self::ResponderCpu,
        Self::ServerCpu,
        Self::AllCpu,
        Self::ClientMemory,
        Self::ClientAllocated,
        Self::ResponderMemory,
        Self::ResponderAllocated,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::ClientCpu => "client's CPU per million asks",
            Self::ResponderCpu => "responder's CPU per million asks",
            Self::ServerCpu => "server's CPU per million asks",
            Self::AllCpu => "all CPU per million asks",
            Self::ClientMemory => "client's memory",
            Self::ClientAllocated => "client's memory without its program",
            Self::ResponderMemory => "responder's memory",
            Self::ResponderAllocated => "responder's memory without its program",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "asks/s",
            Self::P50 | Self::P99 => "µs",
            Self::ClientCpu | Self::ResponderCpu | Self::ServerCpu | Self::AllCpu => "s",
            Self::ClientMemory
            | Self::ClientAllocated
            | Self::ResponderMemory
            | Self::ResponderAllocated => "MiB",
        }
    }

    pub(crate) fn better(self) -> Better {
        match self {
            Self::Throughput => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// The metric's value in a sample.
    pub(crate) fn of(self, sample: &Sample) -> Option<f64> {
        let asks = float(sample.asks);
        let per_million = |cpu: Option<f64>| cpu.map(|seconds| seconds / asks * 1e6);
        let mebibytes = |bytes: Option<u64>| bytes.map(|bytes| float(bytes) / 1024.0 / 1024.0);
        let value = match self {
            Self::Throughput => Some(asks / sample.seconds),
            Self::P50 => Some(sample.p50),
            Self::P99 => Some(sample.p99),
            Self::ClientCpu => per_million(sample.client.cpu),
            Self::ResponderCpu => per_million(sample.responder.cpu),
            Self::ServerCpu => per_million(sample.server.cpu),
            Self::AllCpu => per_million(sample.all_cpu()),
            Self::ClientMemory => mebibytes(sample.client.resident),
            Self::ClientAllocated => mebibytes(sample.client.allocated),
            Self::ResponderMemory => mebibytes(sample.responder.resident),
            Self::ResponderAllocated => mebibytes(sample.responder.allocated),
        };
        value.filter(|value| value.is_finite())
    }
}

/// One successful measurement.
#[derive(Debug)]
struct Measured {
    row: &'static str,
    peer: Peer,
    round: usize,
    sample: Sample,
}

/// All measurements of a run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    measured: Vec<Measured>,
}

impl Results {
    pub(crate) fn add(&mut self, row: &Row, peer: Peer, round: usize, sample: Sample) {
        self.measured.push(Measured {
            row: row.id,
            peer,
            round,
            sample,
        });
    }

    /// Round and value of a peer in a row.
    fn values(&self, row: &str, peer: Peer, metric: Metric) -> Vec<(usize, f64)> {
        let these = self.measured.iter();
        these
            .filter(|measured| measured.row == row && measured.peer == peer)
            .filter_map(|measured| Some((measured.round, metric.of(&measured.sample)?)))
            .collect()
    }

    /// One value divided by another of the same round, the median of that over the rounds; nothing
    /// if there is no round that has both.
    pub(crate) fn ratio(
        &self,
        metric: Metric,
        (row, peer): (&str, Peer),
        (other_row, other_peer): (&str, Peer),
    ) -> Option<f64> {
        let others = self.values(other_row, other_peer, metric);
        let mut ratios = Vec::new();
        for (round, value) in self.values(row, peer, metric) {
            let same_round = others.iter().find(|(other, _)| *other == round);
            ratios.extend(
                same_round
                    .map(|(_, other)| value / other)
                    .filter(|ratio| ratio.is_finite()),
            );
        }
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    fn cell(&self, row: &Row, peer: Peer, metric: Metric) -> Option<Cell> {
        let samples: Vec<f64> = self
            .values(row.id, peer, metric)
            .into_iter()
            .map(|(_, value)| value)
            .collect();
        if samples.is_empty() {
            return None;
        }
        let ratio = match peer {
            Peer::Conclib => None,
            _ => self.ratio(metric, (row.id, Peer::Conclib), (row.id, peer)),
        };
        Some(Cell {
            value: median(&samples),
            low: samples.iter().copied().fold(f64::INFINITY, f64::min),
            high: samples.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            samples,
            ratio,
        })
    }

    /// The lines of these rows, with a cell for each of these peers.
    pub(crate) fn lines(&self, rows: &[&'static Row], peers: &[Peer], one_cpu: bool) -> Vec<Line> {
        let all = rows
            .iter()
            .flat_map(|row| Metric::ALL.map(|metric| (*row, metric)));
        all.map(|(row, metric)| Line {
            name: format!("{}: {}", row.name, metric.name()),
            unit: metric.unit(),
            better: metric.better(),
            cells: peers
                .iter()
                .map(|peer| self.cell(row, *peer, metric))
                .collect(),
            limits: limits::judge(self, row, metric, one_cpu),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ROWS;

    fn results(values: &[(Peer, usize, u64)]) -> Results {
        let mut results = Results::default();
        for &(peer, round, asks) in values {
            let sample = Sample {
                asks,
                seconds: 1.0,
                ..Sample::default()
            };
            results.add(&ROWS[2], peer, round, sample);
        }
        results
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let results = results(&[
            (Peer::Conclib, 0, 300),
            (Peer::Nats, 0, 100),
            (Peer::Conclib, 1, 20),
            (Peer::Nats, 1, 10),
            (Peer::Conclib, 2, 500),
        ]);
        let (ours, theirs) = (("64", Peer::Conclib), ("64", Peer::Nats));
        assert_eq!(results.ratio(Metric::Throughput, ours, theirs), Some(2.5));
        let absent = ("64", Peer::NaiveLoop);
        assert_eq!(results.ratio(Metric::Throughput, ours, absent), None);
    }

    #[test]
    fn a_line_has_a_cell_for_each_peer_that_was_measured() {
        let results = results(&[(Peer::Conclib, 0, 300), (Peer::Nats, 0, 100)]);
        let lines = results.lines(
            &[&ROWS[2]],
            &[Peer::Conclib, Peer::Nats, Peer::NaiveLoop],
            false,
        );
        assert_eq!(lines.len(), Metric::ALL.len());
        let cells: Vec<_> = lines[0].cells.iter().map(Option::is_some).collect();
        assert_eq!(cells, [true, true, false]);
        assert_eq!(lines[0].limits.len(), 1, "the one against NATS");
        assert!(lines[0].limits[0].holds);
    }
}
