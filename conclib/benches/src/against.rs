//! Two builds of one benchmark, measured by turns: this tree's, and that of another commit.
//!
//! Both executables understand the same words for a single measurement, so that the one of this tree
//! starts either of them for each figure. Figures are compared within a round, so that a long
//! disturbance of the machine affects both.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use serde::Serialize;

use crate::measure::{median, sorted};
use crate::report::{Better, Machine, figure, workspace};

/// The default number of samples per figure. Odd, so that a median is a sample.
pub const ROUNDS: usize = 9;

/// Ratios of medians that are no difference.
pub const SAME: RangeInclusive<f64> = 0.97..=1.03;

/// The probability with which the range of a ratio may miss the true one.
const DOUBT: f64 = 0.05;

/// The build of another commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other {
    /// The commit, as the column is headed.
    pub name: String,
    /// The executable of the same benchmark.
    pub program: PathBuf,
}

/// One of the two builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The executable that compares.
    This,
    /// The executable of the other commit.
    Other,
}

/// All figures of a run.
#[derive(Serialize, Clone, Debug)]
pub struct Comparison {
    /// The benchmark.
    pub title: String,
    /// The computer that it ran on.
    pub machine: Machine,
    /// Its start, in UTC.
    pub date: String,
    /// The number of samples per figure.
    pub rounds: usize,
    /// The state of this tree.
    pub this: String,
    /// The other commit.
    pub other: String,
    /// One for each figure.
    pub lines: Vec<Line>,
    /// Remarks below the table.
    pub notes: Vec<String>,
}

/// One figure of both builds.
#[derive(Serialize, Clone, Debug)]
pub struct Line {
    /// The row, and the figure if the row has several.
    pub name: String,
    /// The unit of the figure.
    pub unit: &'static str,
    /// The better direction.
    pub better: Better,
    /// The figures of this tree and of the other commit, for each round that has both.
    pub rounds: Vec<(f64, f64)>,
    /// The comparison; `None` if no round has both figures.
    pub difference: Option<Difference>,
}

/// The difference of two builds in one figure.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Difference {
    /// The median of this tree.
    pub this: f64,
    /// The median of the other commit.
    pub other: f64,
    /// The median of this tree, divided by that of the other commit.
    pub ratio: f64,
    /// The lower end of [`range`] over the ratios of the rounds.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// The best figure of this tree, divided by the best of the other commit: other work of the
    /// machine only makes figures worse.
    pub best: f64,
    /// The meaning of ratio and range.
    pub change: Change,
}

/// The meaning of a ratio.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The ratio lies within [`SAME`].
    Same,
    /// The ratio lies outside, and the rounds do not agree on a direction, or are too few to.
    Unclear,
    /// This tree is better than the other commit.
    Better,
    /// This tree is worse than the other commit.
    Worse,
}

impl FromStr for Other {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.split_once('=') {
            Some((name, program)) if !name.is_empty() && !program.is_empty() => Ok(Self {
                name: name.to_owned(),
                program: PathBuf::from(program),
            }),
            _ => Err(format!("`{word}` is not <name>=<executable>")),
        }
    }
}

impl Other {
    /// The error of a first measurement that the other executable could not do.
    pub fn cannot_be_driven(&self, why: &str) -> String {
        format!(
            "{}: {} cannot be measured from here: {why}\nBoth commits must understand the same words \
             for a single measurement and reply in the same form; compare with a commit whose \
             benchmarks do.",
            self.name,
            self.program.display()
        )
    }
}

/// Measures both builds, this tree first in even rounds and the other commit first in odd ones.
///
/// # Errors
///
/// The first error of `measure`; the second build is not measured then.
pub fn both<T, E>(
    round: usize,
    mut measure: impl FnMut(Side) -> Result<T, E>,
) -> Result<(T, T), E> {
    if round.is_multiple_of(2) {
        let this = measure(Side::This)?;
        Ok((this, measure(Side::Other)?))
    } else {
        let other = measure(Side::Other)?;
        Ok((measure(Side::This)?, other))
    }
}

/// The state of this tree: its commit, with `-dirty` behind it if files have changed since. Only a
/// word if git fails.
pub fn this_tree() -> String {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--exclude=*"])
        .current_dir(workspace())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "this tree".to_owned(),
    }
}

/// The part of the values that holds the median of their population, with a probability
/// of at least 95 %: the outermost values are left out where that is as sure. Fewer than six values
/// are not enough for that, and are all within. `None` without a value.
pub fn range(values: &[f64]) -> Option<(f64, f64)> {
    let values = sorted(values);
    let left_out = sure_rank(values.len()).unwrap_or(1) - 1;
    let high = values.len().checked_sub(left_out + 1)?;
    Some((values[left_out], values[high]))
}

/// The rank, from one, of the value at which a range begins and, counted from the other end, ends: a
/// true median outside is as rare as that few heads or that few tails of so many coins. `None` if even
/// the outermost values are not that sure.
#[allow(
    clippy::cast_precision_loss,
    reason = "there are far fewer than 2^53 rounds"
)]
fn sure_rank(count: usize) -> Option<usize> {
    let mut rank = 0;
    // The probability of `rank` heads, and of that many or fewer.
    let mut exactly = 0.5_f64.powf(count as f64);
    let mut at_most = exactly;
    while 2 * (rank + 1) <= count && 2.0 * at_most <= DOUBT {
        rank += 1;
        exactly *= (count + 1 - rank) as f64 / rank as f64;
        at_most += exactly;
    }
    (rank > 0).then_some(rank)
}

impl Difference {
    /// Compares the figures of the rounds. `None` where there is nothing to divide.
    pub fn new(rounds: &[(f64, f64)], better: Better) -> Option<Self> {
        let (this, other): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
        let best = better.best(&this)? / better.best(&other)?;
        let (this, other) = (median(&this), median(&other));
        let ratio = this / other;
        // Nothing divided by nothing is no ratio.
        let ratios: Vec<_> = rounds
            .iter()
            .map(|(this, other)| this / other)
            .filter(|ratio| ratio.is_finite())
            .collect();
        let (low, high) = range(&ratios)?;
        let agree = sure_rank(ratios.len()).is_some() && !(low..=high).contains(&1.0);
        let change = match better {
            _ if SAME.contains(&ratio) => Change::Same,
            _ if !agree || (ratio > 1.0) != (low > 1.0) => Change::Unclear,
            Better::Lower if ratio > 1.0 => Change::Worse,
            Better::Higher if ratio < 1.0 => Change::Worse,
            _ => Change::Better,
        };
        ratio.is_finite().then_some(Self {
            this,
            other,
            ratio,
            low,
            high,
            best,
            change,
        })
    }
}

impl Line {
    /// Compares the figures of the rounds.
    pub fn new(
        name: impl Into<String>,
        unit: &'static str,
        better: Better,
        rounds: Vec<(f64, f64)>,
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            better,
            difference: Difference::new(&rounds, better),
            rounds,
        }
    }

    fn markdown(&self) -> String {
        let Some(found) = &self.difference else {
            return format!("| {} | – | – | – | – | – | no ratio |\n", self.name);
        };
        let change = match found.change {
            Change::Same => "",
            Change::Unclear => "unclear",
            Change::Better => "**better**",
            Change::Worse => "**worse**",
        };
        format!(
            "| {} | {} {unit} | {} {unit} | {:.3} | {:.3} – {:.3} | {:.3} | {change} |\n",
            self.name,
            figure(found.this),
            figure(found.other),
            found.ratio,
            found.low,
            found.high,
            found.best,
            unit = self.unit,
        )
    }
}

impl Comparison {
    /// A heading, the machine, the table, the number of ratios outside of [`SAME`], and the notes.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "### {}: {} against {}\n\n{}. {}. Medians of {} rounds, and their ratio; range: of the \
             ratios within a round, from six rounds on with 95 % around the true one; best: the ratio \
             of the best figures.\n\n",
            self.title, self.this, self.other, self.machine, self.date, self.rounds
        );
        let _ = writeln!(
            text,
            "| | {} | {} | ratio | range | best | |\n|---|---:|---:|---:|---:|---:|---|",
            self.this, self.other
        );
        for line in &self.lines {
            text.push_str(&line.markdown());
        }
        let _ = writeln!(text, "\n- {}", self.summary());
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    fn summary(&self) -> String {
        let differences = || self.lines.iter().filter_map(|line| line.difference);
        let outside = differences()
            .filter(|found| found.change != Change::Same)
            .count();
        format!(
            "{outside} of {} ratios lie outside of {} to {}.",
            differences().count(),
            SAME.start(),
            SAME.end()
        )
    }
}

#[cfg(test)]
mod tests;
