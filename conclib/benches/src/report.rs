//! The results, as a table to read and as JSON to keep.

mod machine;
mod versions;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use machine::Machine;
pub use versions::locked_version;

use crate::measure::{median, sorted};

/// One run of a benchmark.
#[derive(Serialize, Clone, Debug)]
pub struct Report {
    /// The subject of the comparison.
    pub title: String,
    /// The machine.
    pub machine: Machine,
    /// Its start, in UTC.
    pub date: String,
    /// The number of samples per figure.
    pub rounds: usize,
    /// The peers; conclib comes first.
    pub peers: Vec<Peer>,
    /// The rows.
    pub rows: Vec<Row>,
    /// Notes for the reader.
    pub notes: Vec<String>,
}

/// A peer of the comparison.
#[derive(Serialize, Clone, Debug)]
pub struct Peer {
    /// Its name, the heading of its column.
    pub name: String,
    /// The version that was built.
    pub version: String,
    /// The reason for which it was not measured.
    pub skipped: Option<String>,
}

/// One measurement of every peer.
#[derive(Serialize, Clone, Debug)]
pub struct Row {
    /// The measured operation.
    pub name: String,
    /// The unit of the figures.
    pub unit: &'static str,
    /// The better direction.
    pub better: Better,
    /// One for each peer of the report, in its order; `None` where there is no figure.
    pub cells: Vec<Option<Cell>>,
    /// The limits of conclib.
    pub limits: Vec<Limit>,
}

/// The direction in which a figure is better.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// Costs.
    Lower,
    /// Throughput.
    Higher,
}

/// The figures of one peer in one row.
#[derive(Serialize, Clone, Debug)]
pub struct Cell {
    /// The median of the samples.
    pub value: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// One for each round, in order.
    pub samples: Vec<f64>,
    /// conclib's figure divided by this peer's: the median of the rounds' ratios.
    pub ratio: Option<f64>,
}

/// A limit of conclib in a row, and its result.
#[derive(Serialize, Clone, Debug)]
pub struct Limit {
    /// A peer, or the best of them; empty if the bound is a figure of the row.
    pub against: String,
    /// The most that conclib may take if lower is better, the least otherwise.
    pub bound: f64,
    /// conclib's value.
    pub measured: f64,
    /// True if the value is within the bound.
    pub holds: bool,
}

impl Better {
    /// The best of the figures; `None` of none.
    pub fn best(self, figures: &[f64]) -> Option<f64> {
        let in_order = sorted(figures);
        match self {
            Self::Lower => in_order.first().copied(),
            Self::Higher => in_order.last().copied(),
        }
    }
}

impl Cell {
    /// The figures of `samples`, which `first` had in the same rounds. `None` without a sample.
    pub fn new(samples: Vec<f64>, first: &[f64]) -> Option<Self> {
        let in_order = sorted(&samples);
        // Nothing divided by nothing is no ratio.
        let ratios = first.iter().zip(&samples).map(|(a, b)| a / b);
        let ratios: Vec<_> = ratios.filter(|ratio| ratio.is_finite()).collect();
        Some(Self {
            value: median(&samples),
            low: *in_order.first()?,
            high: *in_order.last()?,
            ratio: (!ratios.is_empty()).then(|| median(&ratios)),
            samples,
        })
    }
}

impl Limit {
    /// Checks the value against the bound.
    pub fn new(against: impl Into<String>, bound: f64, measured: f64, better: Better) -> Self {
        Self {
            against: against.into(),
            bound,
            measured,
            holds: match better {
                Better::Lower => measured <= bound,
                Better::Higher => measured >= bound,
            },
        }
    }
}

impl Report {
    /// A heading, the machine, the table and the notes.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        let _ = writeln!(
            text,
            "{}. {}. Medians of {} rounds; in brackets the figure of conclib divided by that of the peer.\n",
            self.machine, self.date, self.rounds
        );
        text.push_str("| |");
        for peer in &self.peers {
            let _ = write!(text, " {} {} |", peer.name, peer.version);
        }
        text.push_str(" limit |\n|---|");
        text.push_str(&"---:|".repeat(self.peers.len()));
        text.push_str("---|\n");
        for row in &self.rows {
            text.push_str(&row.markdown());
        }
        let skipped = self.peers.iter().filter_map(|peer| {
            let why = peer.skipped.as_ref()?;
            Some(format!("{} was not measured: {why}", peer.name))
        });
        for (number, note) in self.notes.iter().cloned().chain(skipped).enumerate() {
            text.push_str(if number == 0 { "\n- " } else { "- " });
            text.push_str(&note);
            text.push('\n');
        }
        text
    }
}

impl Row {
    fn markdown(&self) -> String {
        let mut text = format!("| {} |", self.name);
        for (column, cell) in self.cells.iter().enumerate() {
            match cell {
                None => text.push_str(" – |"),
                Some(cell) => {
                    let _ = write!(text, " {} {}", figure(cell.value), self.unit);
                    if let Some(ratio) = cell.ratio.filter(|_| column > 0) {
                        let _ = write!(text, " ({ratio:.2})");
                    }
                    text.push_str(" |");
                }
            }
        }
        let sign = match self.better {
            Better::Lower => "≤",
            Better::Higher => "≥",
        };
        let limits: Vec<_> = self
            .limits
            .iter()
            .map(|limit| {
                let verdict = if limit.holds { "holds" } else { "**missed**" };
                let bound = match limit.against.as_str() {
                    "" => format!("{} {}", figure(limit.bound), self.unit),
                    peer => format!("{} × {peer}", figure(limit.bound)),
                };
                format!("{} {sign} {bound}: {verdict}", figure(limit.measured))
            })
            .collect();
        let _ = writeln!(text, " {} |", limits.join("; "));
        text
    }
}

/// At least three digits, and no more decimals than are meaningful.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes a report to `target/bench/<name>.json` of the workspace, and returns its path.
///
/// # Errors
///
/// The folder or the file cannot be written.
pub fn write_json(report: &impl Serialize, name: &str) -> io::Result<PathBuf> {
    let folder = workspace().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name).with_extension("json");
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The root of the workspace that this package belongs to.
pub fn workspace() -> &'static Path {
    // This package lies two folders below it.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// Now, in UTC, to the second.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests;
