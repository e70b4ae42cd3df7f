//! conclib in this tree and in another commit, by turns.

use std::path::Path;

use conclib_benches::against::{Comparison, Line, Other, Side, both, this_tree};
use conclib_benches::report::{Better, Machine, now};

use crate::child;
use crate::options::Options;
use crate::rows::{Kind, PEERS};

/// Measures, prints the table and writes the report.
///
/// # Errors
///
/// The other commit's build cannot be driven, a figure is missing, or the report cannot be written.
pub(crate) fn run(options: &Options, other: &Other) -> Result<(), String> {
    let this = child::myself()?;
    let program = |side| match side {
        Side::This => this.as_path(),
        Side::Other => other.program.as_path(),
    };
    let kind = Kind::Ask;
    child::attempt(program(Side::Other), PEERS[0], kind, kind.quick())
        .map_err(|error| other.cannot_be_driven(&error))?;

    let (date, machine) = (now(), Machine::here());
    let (mut failures, mut notes) = (Vec::new(), Vec::new());
    let mut lines = Vec::new();
    for &kind in &options.rows {
        if !knows(&other.program, kind) {
            notes.push(format!("{}: not in {}", kind.name(), other.name));
            continue;
        }
        let rounds = rounds(kind, options, program, &mut failures);
        lines.push(Line::new(kind.name(), kind.unit(), Better::Lower, rounds));
    }
    let comparison = Comparison {
        title: "Within a process".to_owned(),
        machine,
        date,
        rounds: options.rounds,
        this: this_tree(),
        other: other.name.clone(),
        lines,
        notes: [notes, failures.clone()].concat(),
    };
    println!("{}", comparison.markdown());
    crate::write(&comparison, "runtime-against", options.pace)?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("Figures are missing:\n{}", failures.join("\n")))
    }
}

/// True if that build has the row.
fn knows(program: &Path, kind: Kind) -> bool {
    let attempted = child::attempt(program, PEERS[0], kind, kind.quick());
    !attempted.is_err_and(|error| error.contains("no row is called"))
}

/// The figures of both builds, for each round that has both.
fn rounds<'a>(
    kind: Kind,
    options: &Options,
    program: impl Fn(Side) -> &'a Path,
    failures: &mut Vec<String>,
) -> Vec<(f64, f64)> {
    let scale = options.scale(kind);
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        eprintln!("{}: round {} of {}", kind.name(), round + 1, options.rounds);
        let figures = both(round, |side| {
            child::measure_with(program(side), PEERS[0], kind, scale)
                .map_err(|error| format!("{}: {side:?}: {error}", kind.name()))
        });
        match figures {
            Ok(figures) => rounds.push(figures),
            Err(error) => {
                eprintln!("{error}");
                failures.push(error);
            }
        }
    }
    rounds
}
