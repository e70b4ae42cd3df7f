//! conclib within a process, beside other actor frameworks and an actor written by hand. Prints a
//! table, and writes `target/bench/runtime.json` (`runtime-quick.json` for a quick run).
//!
//! ```text
//! cargo run --release -p conclib-benches --bin runtime -- --row spawn --peer kameo
//! ```

mod against;
mod child;
mod growth;
mod options;
mod peer;
mod peers;
mod rows;
mod stint;
mod table;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use conclib_benches::report;
use serde::Serialize;

use crate::options::Pace;

/// conclib within a process, beside other actor frameworks and an actor written by hand
///
/// Prints a table, and writes it below target/bench.
#[derive(Debug, Parser)]
#[command(name = "runtime")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct CommandLine {
    #[command(flatten)]
    options: options::Arguments,
    #[command(subcommand)]
    process: Option<Process>,
}

/// The processes that a run starts. Runs of other commits start those of this build, too: their arguments
/// stay as they are.
#[derive(Debug, Subcommand)]
enum Process {
    /// Measures one peer in one row, and prints the figure
    #[command(name = child::COMMAND, hide = true)]
    Measure(child::Order),
}

fn main() -> ExitCode {
    let CommandLine { options, process } = CommandLine::parse();
    let done = match &process {
        Some(Process::Measure(order)) => child::run(order).map(|figure| {
            println!("{figure}");
            // Threads and tasks that are left end with the process.
            std::process::exit(0)
        }),
        None => run(&options.complete()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> Result<(), String> {
    if let Some(folder) = &options.charts {
        return growth::write(options, folder);
    }
    if let Some(other) = &options.against {
        return against::run(options, other);
    }
    let report = table::measure(options);
    println!("{}", report.markdown());
    write(&report, "runtime", options.pace)?;
    table::complete(&report)
}

/// A quick run does not replace real figures.
fn write(report: &impl Serialize, name: &str, pace: Pace) -> Result<(), String> {
    let path = match pace {
        Pace::Full => report::write_json(report, name),
        Pace::Quick => report::write_json(report, &format!("{name}-quick")),
    };
    let path = path.map_err(|error| format!("The report cannot be written: {error}"))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn words_of_other_commits_start_a_measurement() {
        for row in ["tell, 1 sender", "live actors"] {
            let words = ["runtime", "measure", "tokio mpsc", row, "256", "0"];
            let command_line = CommandLine::try_parse_from(words).expect("the words are right");
            assert!(command_line.process.is_some());
        }
    }
}
