//! The speed of the bus: conclib beside NATS, beside the simple way over Redis, and beside
//! bare sockets.
//!
//! ```text
//! cargo run --release -p conclib-benches --bin bus -- [options]
//! ```
//!
//! Servers, responders and callers are processes of their own on this machine. Round after round
//! each row is measured with one peer after another, and ratios are taken within a round, so that a long
//! disturbance of the machine affects all of them.
//!
//! | module | contents |
//! |---|---|
//! | `options`, `plan`, `peers` | the plan: rows, and the peers that reply to them |
//! | `respond`, `call`, `relay` | the processes: the same executable, with another first word |
//! | `load`, `payload` | within a caller: tasks that ask, and checked payloads |
//! | `children` | starting processes |
//! | `measurement` | one responder and one caller |
//! | `run`, `results`, `limits` | the rounds, their results, and the required limits |
//! | `against` | this tree and another commit by turns |

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use conclib_benches::{Problem, float, histogram, keep, servers};

mod against;
mod call;
mod children;
mod limits;
mod load;
mod measurement;
mod options;
mod payload;
mod peers;
mod plan;
mod relay;
mod respond;
mod results;
mod run;

/// The speed of the bus: conclib beside NATS, the simple way over Redis, and bare sockets
///
/// Prints a table, and writes it below target/bench.
#[derive(Debug, Parser)]
#[command(name = "bus")]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct CommandLine {
    #[command(flatten)]
    options: options::Arguments,
    #[command(subcommand)]
    process: Option<Process>,
}

/// The processes that a run starts. Runs of other commits start `respond` and `call` of this build, too:
/// their arguments stay as they are.
#[derive(Debug, Subcommand)]
enum Process {
    /// Replies to asks
    #[command(hide = true)]
    Respond(respond::Order),
    /// Asks, and prints the results
    #[command(hide = true)]
    Call(call::Order),
    /// Delays the bytes to a server and back
    #[command(hide = true)]
    Relay(relay::Order),
    /// Runs a server until the input ends
    #[command(hide = true)]
    Keep(keep::Order),
}

fn main() -> ExitCode {
    let CommandLine { options, process } = CommandLine::parse();
    let outcome = match &process {
        Some(Process::Respond(order)) => respond::main(order),
        Some(Process::Call(order)) => call::main(order),
        Some(Process::Relay(order)) => relay::main(order),
        Some(Process::Keep(order)) => keep::main(order),
        None => run::main(&options.complete().unwrap_or_else(|error| error.exit())),
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
    use std::time::Duration;

    use clap::CommandFactory;

    use super::*;
    use crate::peers::Peer;

    fn process(words: &[&str]) -> Process {
        let words = ["bus"].iter().chain(words);
        let command_line = CommandLine::try_parse_from(words).expect("the words are right");
        command_line.process.expect("a process is named")
    }

    #[test]
    fn command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn words_of_other_commits_start_a_responder_and_a_caller() {
        assert!(matches!(
            process(&["respond", "naive", "6379"]),
            Process::Respond(_)
        ));
        let words = "call conclib 6379 64 1024 0.05 0.02 12 13";
        let words: Vec<_> = words.split(' ').collect();
        let Process::Call(order) = process(&words) else {
            panic!("it is no caller");
        };
        assert_eq!((order.peer, order.callers), (Peer::Conclib, 64));
        assert_eq!(order.warm_up, Duration::from_millis(20));
        assert_eq!(order.server, Some(13));
        let Process::Call(order) = process(&words[..6]) else {
            panic!("it is no caller");
        };
        assert_eq!(order.warm_up, Duration::from_millis(400));
        assert_eq!(order.server, None);
    }

    #[test]
    fn arguments_of_a_server_are_its_own() {
        let words = [
            "keep",
            "redis-server",
            "--port",
            "7",
            "--help",
            "--save",
            "",
        ];
        let Process::Keep(order) = process(&words) else {
            panic!("it is no keeper");
        };
        assert_eq!(order.program, "redis-server");
        assert_eq!(order.arguments, words[2..]);
    }
}
