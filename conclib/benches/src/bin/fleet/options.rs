//! The command line of a run.

use std::time::Duration;

use clap::{Args, ValueEnum};

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Asks per second with one, two and three members whose handlers wait
    Scale,
    /// Asks per second and processor time per ask, by members and callers
    Growth,
    /// Rolling restarts under load
    Restart,
    /// 100,000 listed names
    Names,
    /// The map of 100 members at rest
    Control,
    /// A fleet of one beside an actor process without a fleet
    Plain,
}

/// The options of a run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The parts [default: all]
    parts: Vec<Part>,

    /// Number of measurements of each figure of scale and plain [default: 5 and 9; 1 with --quick]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,

    /// Number of rolling restarts of each kind [default: 10; 1 with --quick]
    #[arg(long, value_name = "N")]
    restarts: Option<usize>,

    /// Length of each measurement, in seconds [default: 1; 0.2 with --quick]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,

    /// Everything once, short and small, to see that it runs
    #[arg(long)]
    pub(crate) quick: bool,
}

impl Part {
    /// All parts, in the order of the report.
    pub(crate) const ALL: [Self; 6] = [
        Self::Scale,
        Self::Growth,
        Self::Restart,
        Self::Names,
        Self::Control,
        Self::Plain,
    ];

    /// The name on the command line.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Growth => "growth",
            Self::Restart => "restart",
            Self::Names => "names",
            Self::Control => "control",
            Self::Plain => "plain",
        }
    }
}

impl Options {
    pub(crate) fn parts(&self) -> Vec<Part> {
        match &self.parts[..] {
            [] => Part::ALL.to_vec(),
            chosen => chosen.to_vec(),
        }
    }

    /// The number of measurements of a figure for which this many are usual.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        self.count(self.rounds, usual)
    }

    /// The number of rolling restarts of each kind.
    pub(crate) fn restarts(&self) -> usize {
        self.count(self.restarts, 10)
    }

    fn count(&self, chosen: Option<usize>, usual: usize) -> usize {
        let usual = if self.quick { 1 } else { usual };
        chosen.unwrap_or(usual).max(1)
    }

    /// The length of a measurement.
    pub(crate) fn measured(&self) -> Duration {
        let usual = if self.quick { 0.2 } else { 1.0 };
        let seconds = self.seconds.unwrap_or(usual);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1))
    }

    /// One number for a real run, and another one for a quick one.
    pub(crate) fn or_quick<T>(&self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }
}
