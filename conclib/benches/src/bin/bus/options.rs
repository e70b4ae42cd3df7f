//! The command line of a run.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use conclib_benches::against::{self, Other};

use crate::peers::Peer;
use crate::plan::{ROWS, Row, Spans};
use crate::{CommandLine, Problem};

/// The default number of measurements per row.
const ROUNDS: usize = 5;

/// Rows of a run with a delay.
const FAR_ROWS: [&str; 3] = ["64", "512", "4096"];

/// The options of a run, as given.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Number of measurements of each row [default: 5; 9 with --against; 1 with --quick]
    #[arg(long, value_name = "N")]
    rounds: Option<NonZeroUsize>,

    /// Only this row; may be repeated
    #[arg(long = "row", value_name = "ID", value_parser = row())]
    rows: Vec<&'static Row>,

    /// All processes on one processor (Linux)
    ///
    /// The time of an ask is then the work on its way, and runs repeat within a few percent.
    ///
    /// Every runtime has one worker thread then: rows that ask for one are left out unless chosen.
    #[arg(long)]
    one_cpu: bool,

    /// Only this peer; may be repeated
    #[arg(long = "peer", value_name = "NAME")]
    peers: Vec<Peer>,

    /// Length of each measurement, in seconds [default: 1; 0.2 with --quick]
    #[arg(long, value_name = "S", value_parser = measured_seconds)]
    seconds: Option<Duration>,

    /// One short round, to see that everything runs
    #[arg(long)]
    quick: bool,

    /// conclib alone, to a Redis that is this far away each way, such as 500us
    ///
    /// At 64, 512 and 4096 callers, unless rows are chosen. No other peer can be.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    delay: Option<Duration>,

    /// conclib alone, by turns with another commit's build of this benchmark
    ///
    /// No other peer can be chosen; scripts/bench-against makes the build.
    #[arg(long, value_name = "NAME=EXECUTABLE")]
    against: Option<Other>,
}

/// The options of a run, with those that were not given.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    /// The number of measurements per row.
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) peers: Vec<Peer>,
    /// The length of each measurement.
    pub(crate) spans: Spans,
    /// True for a quick check that everything runs: the figures mean nothing.
    pub(crate) quick: bool,
    /// True if all processes share one processor.
    pub(crate) one_cpu: bool,
    /// The added delay to Redis, in each direction.
    pub(crate) delay: Option<Duration>,
    /// The build of another commit to compare with, instead of the peers.
    pub(crate) against: Option<Other>,
}

impl Arguments {
    /// Adds the defaults.
    ///
    /// # Errors
    ///
    /// Peers were chosen for a run that measures conclib alone.
    pub(crate) fn complete(self) -> Result<Options, clap::Error> {
        Ok(Options {
            rounds: self.rounds(),
            rows: self.rows(),
            peers: self.peers()?,
            spans: self.spans(),
            quick: self.quick,
            one_cpu: self.one_cpu,
            delay: self.delay,
            against: self.against,
        })
    }

    fn rounds(&self) -> usize {
        match (self.rounds, &self.against) {
            (Some(rounds), _) => rounds.get(),
            (None, _) if self.quick => 1,
            (None, Some(_)) => against::ROUNDS,
            (None, None) => ROUNDS,
        }
    }

    fn rows(&self) -> Vec<&'static Row> {
        if !self.rows.is_empty() {
            return self.rows.clone();
        }
        let is_measured = |row: &&Row| {
            // On one processor every runtime has one worker thread.
            let is_other = !self.one_cpu || row.threads.is_none();
            is_other && (self.delay.is_none() || FAR_ROWS.contains(&row.id))
        };
        ROWS.iter().filter(is_measured).collect()
    }

    fn peers(&self) -> Result<Vec<Peer>, clap::Error> {
        let is_alone = self.delay.is_some() || self.against.is_some();
        if is_alone && self.peers.iter().any(|peer| *peer != Peer::Conclib) {
            return Err(CommandLine::command().error(
                ErrorKind::ArgumentConflict,
                "with --delay or --against, conclib alone is measured: leave --peer out",
            ));
        }
        Ok(match &self.peers[..] {
            _ if is_alone => vec![Peer::Conclib],
            [] => Peer::USUAL.to_vec(),
            chosen => chosen.to_vec(),
        })
    }

    fn spans(&self) -> Spans {
        let (warm_up, measured) = if self.quick { (100, 200) } else { (400, 1000) };
        Spans {
            warm_up: Duration::from_millis(warm_up),
            measured: self.seconds.unwrap_or(Duration::from_millis(measured)),
        }
    }
}

/// Reads the id of a row.
fn row() -> impl TypedValueParser<Value = &'static Row> {
    let ids = ROWS.map(|row| PossibleValue::new(row.id).help(row.name));
    PossibleValuesParser::new(ids).try_map(|id| {
        let found = ROWS.iter().find(|row| row.id == id);
        found.ok_or("there is no such row")
    })
}

/// Reads a time in seconds.
pub(crate) fn seconds(word: &str) -> Result<Duration, Problem> {
    Ok(Duration::try_from_secs_f64(word.parse()?)?)
}

/// Reads the length of a measurement in seconds.
fn measured_seconds(word: &str) -> Result<Duration, Problem> {
    let time = seconds(word)?;
    if time.is_zero() {
        return Err("nothing can be measured in no time".into());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words = ["bus"].into_iter().chain(line.split_whitespace());
        let parsed = CommandLine::try_parse_from(words);
        parsed
            .and_then(|command_line| command_line.options.complete())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn everything_is_measured_unless_said() {
        let options = parse("").expect("no options");
        assert_eq!(options.rounds, 5);
        assert_eq!(options.rows.len(), ROWS.len());
        assert_eq!(options.peers, Peer::USUAL);
        assert_eq!(options.delay, None);
    }

    #[test]
    fn rows_and_peers_are_chosen() {
        let options =
            parse("--row 64 --row 4096 --peer conclib --peer nats --rounds 3 --seconds 0.5")
                .expect("options");
        let rows: Vec<_> = options.rows.iter().map(|row| row.id).collect();
        assert_eq!(rows, ["64", "4096"]);
        assert_eq!(options.peers, [Peer::Conclib, Peer::Nats]);
        assert_eq!(options.rounds, 3);
        assert_eq!(options.spans.measured, Duration::from_millis(500));
    }

    #[test]
    fn one_processor_has_no_rows_for_threads() {
        let options = parse("--one-cpu").expect("options");
        assert!(options.one_cpu);
        assert!(options.rows.iter().all(|row| row.threads.is_none()));
    }

    #[test]
    fn a_delay_is_for_conclib_with_many_callers() {
        let options = parse("--delay 500us").expect("options");
        assert_eq!(options.delay, Some(Duration::from_micros(500)));
        assert_eq!(options.peers, [Peer::Conclib]);
        assert_eq!(options.rows.len(), 3);
        assert!(parse("--delay 500us --peer nats").is_err());
    }

    #[test]
    fn another_build_is_compared_with_conclib_alone() {
        let options = parse("--against 4ca0ee8=target/bus").expect("options");
        let other = options.against.expect("it is said");
        assert_eq!(other.name, "4ca0ee8");
        assert_eq!(options.peers, [Peer::Conclib]);
        assert_eq!(options.rounds, against::ROUNDS);
        assert_eq!(options.rows.len(), ROWS.len());
        assert!(!options.quick);
        assert!(parse("--against a=b --quick").is_ok_and(|options| options.quick));
        assert!(parse("--against a=b --delay 500us --rounds 3").is_ok());
        assert!(parse("--against a=b --peer nats").is_err());
    }

    #[test]
    fn quick_run_is_one_short_round_unless_said() {
        let options = parse("--quick").expect("options");
        assert_eq!(options.rounds, 1);
        assert_eq!(options.spans.measured, Duration::from_millis(200));
        let options = parse("--rounds 3 --seconds 2 --quick").expect("options");
        assert_eq!(options.rounds, 3);
        assert_eq!(options.spans.warm_up, Duration::from_millis(100));
        assert_eq!(options.spans.measured, Duration::from_secs(2));
    }

    #[test]
    fn wrong_option_tells_what_is_allowed() {
        for (line, part) in [
            ("--rows 5", "unexpected argument '--rows'"),
            ("--row 5", "values: 1, 16, 64, 512, 4096, 64x1KiB"),
            (
                "--peer zmq",
                "values: conclib, conclib-traced, nats, naive, raw",
            ),
            ("--rounds x", "--rounds <N>"),
            ("--rounds 0", "--rounds <N>"),
            ("--rounds", "a value is required for '--rounds <N>'"),
            ("--seconds 0", "nothing can be measured in no time"),
            ("--delay x", "--delay <TIME>"),
            ("--against", "--against <NAME=EXECUTABLE>"),
            ("--against 4ca0ee8", "--against <NAME=EXECUTABLE>"),
            ("--delay 500us --peer nats", "conclib alone is measured"),
            ("--against a=b --peer raw", "conclib alone is measured"),
        ] {
            let problem = parse(line).expect_err(line);
            assert!(problem.contains(part), "{line}: {problem}");
        }
    }
}
