//! The command line. Pure.

use std::path::PathBuf;

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

/// The usage text.
fn usage() -> String {
    let rows: Vec<_> = Kind::TABLE.iter().map(|kind| kind.name()).collect();
    format!(
        "Options:\n  --rounds <odd number>  how often each figure is taken ({ROUNDS}; {} with \
         --against)\n  \
         --row <name>           only this row; repeatable: {}\n  \
         --peer <name>          only conclib and this peer; repeatable: {}\n  \
         --quick                tiny counts, one round: does everything work?\n  \
         --charts <folder>      measures growth instead, and writes charts\n  \
         --against <name>=<executable>\n                         \
         conclib alone, by turns with another commit's build of this benchmark",
        against::ROUNDS,
        rows.join("; "),
        PEERS.join("; ")
    )
}

/// Reads the arguments of the program, without its name.
///
/// # Errors
///
/// The mistake, and the usage.
pub(crate) fn parse(arguments: &[String]) -> Result<Options, String> {
    read(arguments).map_err(|wrong| format!("{wrong}\n\n{}", usage()))
}

fn read(arguments: &[String]) -> Result<Options, String> {
    let (mut rounds, mut pace, mut charts, mut against) = (None, Pace::Full, None, None);
    let (mut rows, mut peers) = (Vec::new(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        if option == "--quick" {
            pace = Pace::Quick;
            continue;
        }
        if !["--rounds", "--row", "--peer", "--charts", "--against"].contains(&option.as_str()) {
            return Err(format!("There is no option {option}."));
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{option} needs a value."))?;
        match option.as_str() {
            "--rounds" => rounds = Some(odd(value)?),
            "--row" => rows.push(row(value)?),
            "--peer" => peers.push(peer(value)?),
            "--against" => against = Some(other(value)?),
            _ => charts = Some(PathBuf::from(value)),
        }
    }
    if against.is_some() {
        if charts.is_some() || !peers.is_empty() {
            return Err(
                "--against measures conclib alone, without --peer and --charts.".to_owned(),
            );
        }
        peers.push(PEERS[0]);
    }
    let unless_said = match (pace, &against) {
        (Pace::Quick, _) => 1,
        (Pace::Full, Some(_)) => against::ROUNDS,
        (Pace::Full, None) => ROUNDS,
    };
    Ok(Options {
        rounds: rounds.unwrap_or(unless_said),
        rows: chosen(&Kind::TABLE, |kind| rows.is_empty() || rows.contains(kind)),
        peers: chosen(&PEERS, |name| {
            *name == PEERS[0] || peers.is_empty() || peers.contains(name)
        }),
        pace,
        charts,
        against,
    })
}

fn chosen<T: Copy>(all: &[T], is_chosen: impl Fn(&T) -> bool) -> Vec<T> {
    all.iter().copied().filter(|one| is_chosen(one)).collect()
}

fn odd(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(rounds) if rounds % 2 == 1 => Ok(rounds),
        _ => Err(format!("--rounds {value}: not an odd number.")),
    }
}

fn row(value: &str) -> Result<Kind, String> {
    Kind::find(value)
        .filter(|kind| Kind::TABLE.contains(kind))
        .ok_or_else(|| format!("--row {value}: there is no such row."))
}

fn peer(value: &str) -> Result<&'static str, String> {
    let found = PEERS.into_iter().find(|name| *name == value);
    found.ok_or_else(|| format!("--peer {value}: there is no such peer."))
}

fn other(value: &str) -> Result<Other, String> {
    value.parse().map_err(|error| format!("--against {error}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[&str]) -> Result<Options, String> {
        let arguments: Vec<_> = text.iter().map(ToString::to_string).collect();
        parse(&arguments)
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
        assert_eq!(options.rows, [Kind::AskAtOnce, Kind::Spawn]);
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
    fn a_mistake_is_told_with_what_is_allowed() {
        for (mistake, says) in [
            (&["--fast"][..], "no option --fast"),
            (&["--row"], "needs a value"),
            (&["--row", "tells"], "no such row"),
            (&["--row", "live actors"], "no such row"),
            (&["--peer", "akka"], "no such peer"),
            (&["--rounds", "4"], "not an odd number"),
            (&["--against"], "needs a value"),
            (&["--against", "4ca0ee8"], "<name>=<executable>"),
            (&["--against", "a=b", "--peer", "kameo"], "conclib alone"),
            (&["--against", "a=b", "--charts", "docs"], "conclib alone"),
        ] {
            let wrong = parsed(mistake).expect_err("it is a mistake");
            assert!(wrong.contains(says), "{wrong}");
            assert!(wrong.contains("tell, 1 sender; tell, 4 senders"), "{wrong}");
        }
    }
}
