//! The command line.

use std::time::Duration;

use conclib_benches::against::{self, Other};

use crate::Problem;
use crate::peers::Peer;
use crate::plan::{ROWS, Row, Spans};
use crate::words::Words;

const USAGE: &str = "\
options of the benchmark `bus`:
  --rounds <n>     how often each row is measured (5; 9 with --against)
  --row <id>       only this row; may be repeated: 1, 16, 64, 512, 4096, 64x1KiB, 64x16KiB,
                   64x256KiB, 16-thread, 64-thread, 512-thread (one worker thread)
  --one-cpu        all processes on one processor: the time of an ask is then the work on its way,
                   and runs repeat within a few percent (Linux)
  --peer <name>    only this peer; may be repeated: conclib, nats, naive, raw
  --seconds <s>    how long each measurement takes (1)
  --quick          one short round, to see that everything runs
  --delay <time>   conclib alone, at 64, 512 and 4096 callers, to a Redis that is this far away
                   each way, such as 500us
  --against <name>=<executable>
                   conclib alone, by turns with another commit's build of this benchmark";

/// The default number of measurements per row.
const ROUNDS: usize = 5;

/// Rows of a run with a delay.
const FAR_ROWS: [&str; 3] = ["64", "512", "4096"];

/// The options of a run.
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

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Problem> {
        Self::read(arguments).map_err(|problem| format!("{problem}\n\n{USAGE}").into())
    }

    fn read(arguments: &[String]) -> Result<Self, Problem> {
        let mut words = Words::new(arguments);
        let (mut rows, mut peers) = (Vec::new(), Vec::new());
        let (mut rounds, mut delay, mut against) = (None, None, None);
        let (mut quick, mut one_cpu) = (false, false);
        let mut spans = Spans {
            warm_up: Duration::from_millis(400),
            measured: Duration::from_secs(1),
        };
        while let Some(option) = words.next() {
            match option {
                "--rounds" => rounds = Some(words.take::<usize>("number of rounds")?.max(1)),
                "--row" => rows.push(find_row(&words.take::<String>("row")?)?),
                "--peer" => peers.push(words.take::<Peer>("peer")?),
                "--seconds" => spans.measured = seconds(words.take("number of seconds")?)?,
                "--quick" => {
                    quick = true;
                    rounds = Some(1);
                    spans.warm_up = Duration::from_millis(100);
                    spans.measured = Duration::from_millis(200);
                }
                "--one-cpu" => one_cpu = true,
                "--delay" => delay = Some(time(&words.take::<String>("delay")?)?),
                "--against" => against = Some(words.take("<name>=<executable>")?),
                other => return Err(format!("there is no option `{other}`").into()),
            }
        }
        if delay.is_some() || against.is_some() {
            if peers.iter().any(|peer| *peer != Peer::Conclib) {
                return Err(
                    "with a delay, and against another build, conclib alone is measured".into(),
                );
            }
            peers = vec![Peer::Conclib];
        }
        if rows.is_empty() {
            let is_chosen = |row: &&Row| {
                // On one processor every runtime has one worker thread.
                let is_other = !one_cpu || row.threads.is_none();
                is_other && (delay.is_none() || FAR_ROWS.contains(&row.id))
            };
            rows = ROWS.iter().filter(is_chosen).collect();
        }
        if peers.is_empty() {
            peers = Peer::ALL.to_vec();
        }
        let unless_said = against.as_ref().map_or(ROUNDS, |_| against::ROUNDS);
        Ok(Self {
            rounds: rounds.unwrap_or(unless_said),
            rows,
            peers,
            spans,
            quick,
            one_cpu,
            delay,
            against,
        })
    }
}

fn find_row(id: &str) -> Result<&'static Row, Problem> {
    let found = ROWS.iter().find(|row| row.id == id);
    found.ok_or_else(|| format!("there is no row `{id}`").into())
}

fn seconds(number: f64) -> Result<Duration, Problem> {
    match Duration::try_from_secs_f64(number) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("`{number}` is no time to measure").into()),
    }
}

fn time(word: &str) -> Result<Duration, Problem> {
    humantime::parse_duration(word).map_err(|error| format!("`{word}`: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words).map_err(|problem| problem.to_string())
    }

    #[test]
    fn everything_is_measured_unless_said() {
        let options = parse("").expect("no options");
        assert_eq!(options.rounds, 5);
        assert_eq!(options.rows.len(), ROWS.len());
        assert_eq!(options.peers, Peer::ALL);
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
    fn a_wrong_option_tells_what_is_allowed() {
        for line in [
            "--rows 5",
            "--row 5",
            "--peer zmq",
            "--rounds x",
            "--rounds",
            "--seconds 0",
            "--delay x",
            "--against",
            "--against 4ca0ee8",
        ] {
            let problem = parse(line).expect_err(line);
            assert!(problem.contains("options of the benchmark"), "{problem}");
        }
    }
}
