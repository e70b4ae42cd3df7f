//! conclib in this tree and in another commit, by turns.
//!
//! Each measurement has a server of its own, started by this tree: neither commit finds data of the
//! other in Redis, and both have the same settings.

use std::path::PathBuf;
use std::time::Duration;

use conclib_benches::against::{Comparison, Line, Other, Side, both, this_tree};
use conclib_benches::report::{Machine, now, write_json};

use crate::Problem;
use crate::call::Sample;
use crate::measurement::Measurement;
use crate::options::Options;
use crate::peers::Peer;
use crate::plan::{ROWS, Row, Spans};
use crate::results::Metric;
use crate::run::{Servers, summary, title};

/// The figures that are compared.
const METRICS: [Metric; 4] = [Metric::Throughput, Metric::P50, Metric::P99, Metric::AllCpu];

/// The shortest run that shows that a build can be driven.
const FIRST: Spans = Spans {
    warm_up: Duration::from_millis(20),
    measured: Duration::from_millis(50),
};

/// The samples of both builds in one row, for each round that has both.
struct Samples {
    row: &'static Row,
    rounds: Vec<(Sample, Sample)>,
}

/// Measures, prints the table and writes the report.
pub(crate) fn run(options: &Options, other: &Other) -> Result<(), Problem> {
    let builds = Builds {
        this: std::env::current_exe()?,
        other,
        options,
    };
    let (machine, date) = (Machine::here(), now());
    builds.try_other()?;
    let (samples, failures) = builds.measure();
    let comparison = Comparison {
        title: title(options),
        machine,
        date,
        rounds: options.rounds,
        this: this_tree(),
        other: other.name.clone(),
        lines: samples.iter().flat_map(Samples::lines).collect(),
        notes: failures.clone(),
    };
    println!("{}", comparison.markdown());
    let file = write_json(&comparison, file_name(options))?;
    eprintln!("written: {}", file.display());
    match failures.len() {
        0 => Ok(()),
        number => Err(format!("{number} measurements FAILED:\n{}", failures.join("\n")).into()),
    }
}

/// Both builds, and the settings of their measurements.
struct Builds<'a> {
    this: PathBuf,
    other: &'a Other,
    options: &'a Options,
}

impl Builds<'_> {
    /// Measures the other build for a moment: a run of many minutes does not begin if it cannot end.
    fn try_other(&self) -> Result<(), Problem> {
        let servers = Servers::start(self.options)?;
        let address = servers.address(Peer::Conclib).ok_or(
            "redis-server is not installed: install it so that it is on the PATH, and start again",
        )?;
        let first = self.measurement(Side::Other, address, &ROWS[0]);
        let spans = FIRST;
        Measurement { spans, ..first }
            .take()
            .map_err(|problem| self.other.cannot_be_driven(&problem.to_string()))?;
        Ok(())
    }

    /// Measures round after round; also returns the errors of failed measurements.
    fn measure(&self) -> (Vec<Samples>, Vec<String>) {
        let rows = self.options.rows.iter();
        let mut samples: Vec<_> = rows.map(|row| Samples::new(row)).collect();
        let mut failures = Vec::new();
        for round in 0..self.options.rounds {
            for Samples { row, rounds } in &mut samples {
                match both(round, |side| self.take(side, round, row)) {
                    Ok(figures) => rounds.push(figures),
                    Err(problem) => {
                        eprintln!("FAILED: {problem}");
                        failures.push(problem);
                    }
                }
            }
        }
        (samples, failures)
    }

    /// Measures one build in one row, with servers of its own.
    fn take(&self, side: Side, round: usize, row: &Row) -> Result<Sample, String> {
        let what = format!("round {}: {}: {}", round + 1, row.name, self.name(side));
        let sample = Servers::start(self.options).and_then(|servers| {
            let address = servers.address(Peer::Conclib).ok_or("Redis is gone")?;
            self.measurement(side, address, row).take()
        });
        let sample = sample.map_err(|problem| format!("{what}: {problem}"))?;
        eprintln!("{what}: {}", summary(&sample));
        Ok(sample)
    }

    fn measurement<'a>(
        &'a self,
        side: Side,
        (port, server): (u16, u32),
        row: &'a Row,
    ) -> Measurement<'a> {
        Measurement {
            program: match side {
                Side::This => &self.this,
                Side::Other => &self.other.program,
            },
            peer: Peer::Conclib,
            port,
            server,
            row,
            spans: self.options.spans,
        }
    }

    fn name(&self, side: Side) -> &str {
        match side {
            Side::This => "this tree",
            Side::Other => &self.other.name,
        }
    }
}

impl Samples {
    fn new(row: &'static Row) -> Self {
        let rounds = Vec::new();
        Self { row, rounds }
    }

    /// A line for each figure.
    fn lines(&self) -> impl Iterator<Item = Line> {
        METRICS.into_iter().map(|metric| {
            let both =
                |(this, other): &(Sample, Sample)| Some((metric.of(this)?, metric.of(other)?));
            Line::new(
                format!("{}: {}", self.row.name, metric.name()),
                metric.unit(),
                metric.better(),
                self.rounds.iter().filter_map(both).collect(),
            )
        })
    }
}

/// A run with a delay does not replace the report of one without, and a quick run replaces no report of
/// real figures.
fn file_name(options: &Options) -> &'static str {
    match options.delay {
        _ if options.quick => "bus-against-quick",
        None => "bus-against",
        Some(_) => "bus-far-against",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_has_a_line_for_each_figure_of_both_builds() {
        let sample = |asks| Sample {
            asks,
            seconds: 2.0,
            p50: 5.0,
            ..Sample::default()
        };
        let mut samples = Samples::new(&ROWS[1]);
        samples.rounds.push((sample(300), sample(200)));
        let lines: Vec<_> = samples.lines().collect();
        let names: Vec<_> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "16 callers: throughput",
                "16 callers: p50",
                "16 callers: p99",
                "16 callers: all CPU per million asks"
            ]
        );
        assert_eq!(lines[0].rounds, [(150.0, 100.0)]);
        assert_eq!(lines[1].rounds, [(5.0, 5.0)]);
        assert!(lines[3].rounds.is_empty(), "its CPU is not known");
    }
}
