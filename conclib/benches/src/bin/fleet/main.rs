//! Many actor processes behind one namespace: their speed, their growth, their restarts, and what the map of
//! the fleet costs.
//!
//! ```text
//! cargo run --release -p conclib-benches --bin fleet -- [parts] [options]
//! ```
//!
//! Redis, members and callers are processes of their own on this machine.
//!
//! | module | contents |
//! |---|---|
//! | `options`, `section` | the parts of a run, and their tables |
//! | `scale`, `growth`, `restart`, `names`, `control`, `plain` | the parts |
//! | `member`, `crowd`, `call` | the processes: the same executable, with another first word |
//! | `actors`, `load` | within them: the actors, and the tasks that ask |
//! | `stage`, `redis_info` | starting processes, and what Redis says about itself |

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use conclib_benches::{Problem, float, keep};

mod actors;
mod call;
mod control;
mod crowd;
mod growth;
mod load;
mod member;
mod names;
mod options;
mod plain;
mod redis_info;
mod restart;
mod run;
mod scale;
mod section;
mod stage;

/// Many actor processes behind one namespace
///
/// Prints a table for each part, and writes it below target/bench.
#[derive(Debug, Parser)]
#[command(name = "fleet")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct CommandLine {
    #[command(flatten)]
    options: options::Options,
    #[command(subcommand)]
    process: Option<Process>,
}

/// The processes that a run starts.
#[derive(Debug, Subcommand)]
enum Process {
    /// Serves
    #[command(hide = true)]
    Member(member::Order),
    /// Many members in one process
    #[command(hide = true)]
    Crowd(crowd::Order),
    /// Asks, and prints the results
    #[command(hide = true)]
    Call(call::Order),
    /// Runs a server until the input ends
    #[command(hide = true)]
    Keep(keep::Order),
}

fn main() -> ExitCode {
    let CommandLine { options, process } = CommandLine::parse();
    let outcome = match &process {
        Some(Process::Member(order)) => return member::main(order),
        Some(Process::Crowd(order)) => crowd::main(order),
        Some(Process::Call(order)) => call::main(order),
        Some(Process::Keep(order)) => keep::main(order),
        None => run::main(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::options::Part;

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn words_are_parts_or_a_process() {
        let line = CommandLine::parse_from(["fleet", "scale", "names", "--quick"]);
        assert_eq!(line.options.parts(), [Part::Scale, Part::Names]);
        assert!(line.process.is_none() && line.options.quick);
        let line = CommandLine::parse_from(["fleet"]);
        assert_eq!(line.options.parts(), Part::ALL);
        let line = CommandLine::parse_from(["fleet", "member", "6379", "3"]);
        assert!(matches!(line.process, Some(Process::Member(_))));
        assert!(CommandLine::try_parse_from(["fleet", "sacle"]).is_err());
    }
}
