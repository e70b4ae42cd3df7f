//! The command line. Pure.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use conclib_benches::against::{self, Other};

use crate::rows::{Kind, PEERS};
use crate::work::Scale;

/// The default number of samples per figure.
const ROUNDS: usize = 5;

/// The chosen measurements.
#[derive(PartialEq, Debug)]
pub(crate) struct Options {
    /// The number of samples per figure. Odd, so that a median is a sample.
    pub(crate) rounds: usize,
    /// The rows, in the order of the table.
    pub(crate) rows: Vec<Kind>,
    /// The peers, in the order of the table; conclib is always among them.
    pub(crate) peers: Vec<&'static str>,
    /// True for a quick check that everything works, without real figures.
    pub(crate) pace: Pace,
    /// The folder for charts of growth, which are made instead of a table.
    pub(crate) charts: Option<PathBuf>,
    /// The build of another commit to compare with, instead of the peers.
    pub(crate) against: Option<Other>,
}

impl Options {
    /// The amount of a row's work.
    pub(crate) fn scale(&self, kind: Kind) -> Scale {
        match self.pace {
            Pace::Full => kind.full(),
            Pace::Quick => kind.quick(),
        }
    }
}

/// The length of a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// Long enough for a figure.
    Full,
    /// Once, with tiny counts.
    Quick,
}

/// The options of a run, as given.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Number of samples per figure, odd [default: 5; 9 with --against; 1 with --quick]
    #[arg(long, value_name = "N", value_parser = odd)]
    rounds: Option<usize>,

    /// Only this row; may be repeated
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<Kind>,

    /// Only conclib and this peer; may be repeated
    #[arg(long = "peer", value_name = "NAME", value_parser = PossibleValuesParser::new(PEERS))]
    peers: Vec<String>,

    /// Tiny counts, one round: does everything work?
    #[arg(long)]
    quick: bool,

    /// Measures growth instead, and writes charts into this folder
    #[arg(long, value_name = "FOLDER")]
    charts: Option<PathBuf>,

    /// conclib alone, by turns with another commit's build of this benchmark
    ///
    /// Without --peer and --charts; scripts/bench-against makes the build.
    #[arg(long, value_name = "NAME=EXECUTABLE", conflicts_with_all = ["peers", "charts"])]
    against: Option<Other>,
}

impl Arguments {
    /// Adds the defaults.
    pub(crate) fn complete(self) -> Options {
        let default_rounds = match &self.against {
            _ if self.quick => 1,
            Some(_) => against::ROUNDS,
            None => ROUNDS,
        };
        Options {
            rounds: self.rounds.unwrap_or(default_rounds),
            rows: chosen(&Kind::TABLE, |kind| {
                self.rows.is_empty() || self.rows.contains(kind)
            }),
            peers: chosen(&PEERS, |name| self.is_measured(name)),
            pace: if self.quick { Pace::Quick } else { Pace::Full },
            charts: self.charts,
            against: self.against,
        }
    }

    fn is_measured(&self, peer: &str) -> bool {
        let is_chosen = if self.peers.is_empty() {
            self.against.is_none()
        } else {
            self.peers.iter().any(|chosen| chosen == peer)
        };
        is_chosen || peer == PEERS[0]
    }
}

fn chosen<T: Copy>(all: &[T], is_chosen: impl Fn(&T) -> bool) -> Vec<T> {
    all.iter().copied().filter(|one| is_chosen(one)).collect()
}

/// Reads a number of rounds.
fn odd(word: &str) -> Result<usize, &'static str> {
    match word.parse() {
        Ok(rounds) if rounds % 2 == 1 => Ok(rounds),
        _ => Err("not an odd number"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::CommandLine;
    use crate::rows::Workers;

    fn parsed(words: &[&str]) -> Result<Options, String> {
        let parsed = CommandLine::try_parse_from(["runtime"].iter().chain(words));
        parsed
            .map(|command_line| command_line.options.complete())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn everything_is_measured_unless_something_is_chosen() {
        let options = parsed(&[]).expect("nothing is wrong");
        assert_eq!(options.rounds, ROUNDS);
        assert_eq!(options.rows, Kind::TABLE);
        assert_eq!(options.peers, PEERS);
        let options = parsed(&["--quick"]).expect("nothing is wrong");
        assert_eq!((options.rounds, options.pace), (1, Pace::Quick));
    }

    #[test]
    fn what_is_chosen_comes_in_the_order_of_the_table() {
        let options = parsed(&[
            "--row",
            "spawn, and a first answer",
            "--peer",
            "xtra",
            "--row",
            "64 askers",
            "--peer",
            "kameo",
            "--rounds",
            "7",
        ]);
        let options = options.expect("nothing is wrong");
        assert_eq!(options.rows, [Kind::AskAtOnce, Kind::Spawn(Workers::Two)]);
        assert_eq!(options.peers, ["conclib", "kameo", "xtra"]);
        assert_eq!(options.rounds, 7);
    }

    #[test]
    fn another_build_is_compared_with_conclib_alone() {
        let options = parsed(&["--against", "4ca0ee8=target/runtime"]).expect("nothing is wrong");
        let other = options.against.expect("it is said");
        assert_eq!(other.name, "4ca0ee8");
        assert_eq!(other.program, PathBuf::from("target/runtime"));
        assert_eq!(options.peers, ["conclib"]);
        assert_eq!(options.rounds, against::ROUNDS);
        let options = parsed(&["--quick", "--against", "x=y", "--row", "64 askers"]);
        let options = options.expect("nothing is wrong");
        assert_eq!((options.rounds, options.rows), (1, vec![Kind::AskAtOnce]));
    }

    #[test]
    fn mistake_is_told_with_what_is_allowed() {
        for (mistake, says) in [
            (&["--fast"][..], "unexpected argument '--fast'"),
            (&["--row"], "\"tell, 1 sender\", \"tell, 4 senders\""),
            (
                &["--row", "tells"],
                "\"tell, 1 sender\", \"tell, 4 senders\"",
            ),
            (&["--row", "live actors"], "invalid value 'live actors'"),
            (&["--peer", "akka"], "conclib, \"tokio mpsc\", crossfire"),
            (&["--rounds", "4"], "not an odd number"),
            (&["--against"], "--against <NAME=EXECUTABLE>"),
            (&["--against", "4ca0ee8"], "--against <NAME=EXECUTABLE>"),
            (&["--against", "a=b", "--peer", "kameo"], "--peer <NAME>"),
            (&["--against", "a=b", "--charts", "x"], "--charts <FOLDER>"),
        ] {
            let wrong = parsed(mistake).expect_err("it is a mistake");
            assert!(wrong.contains(says), "{wrong}");
        }
    }
}
