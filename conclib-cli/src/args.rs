//! The arguments of the tool.

use clap::error::{Error, ErrorKind};
use clap::{ArgAction, Parser, Subcommand};

use crate::command::{
    acl, act, actor, ask, completions, dead, doctor, durable, failures, ls, metrics, ping, status,
    top, tree,
};
use crate::connection::Connection;
use crate::exit::Failure;

/// Ask actors by hand, look at an actor system or a fleet, and act on it.
///
/// Exit codes: 0 done; 1 the response is an `Err` (--fail-on-err); 2 wrong usage; 3 not executed, try again;
/// 4 not executed, and trying again is pointless; 5 perhaps executed; 6 executed and failed; 7 a threshold is
/// exceeded; 8 no permission.
#[derive(Debug, Parser)]
#[command(name = "conclib", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Print JSON instead of tables, and errors as JSON too
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// Log to standard error: -v warnings, -vv steps, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ask(ask::Ask),
    Tell(ask::Tell),
    Ping(ping::Ping),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Ls(ls::List),
    Actor(actor::Actor),
    Tree(tree::Tree),
    Top(top::Top),
    Failures(failures::Failures),
    Metrics(metrics::Metrics),
    Stop(act::Stop),
    Kill(act::Kill),
    Restart(act::Restart),
    Drain(act::Drain),
    Log(act::Log),
    #[command(subcommand)]
    Dead(dead::Dead),
    #[command(subcommand)]
    Durable(durable::Durable),
    Acl(acl::Acl),
    Completions(completions::Completions),
}

/// Reads the arguments. Help ends the process, as does a mistake, unless JSON is asked for.
///
/// # Errors
///
/// A mistake in arguments that ask for JSON, which is to be printed as that.
pub(crate) fn parse() -> Result<Cli, Failure> {
    Cli::try_parse().map_err(|error| {
        let mut arguments = std::env::args_os().skip(1).take_while(|word| word != "--");
        if !error.use_stderr() || !arguments.any(|word| word == "--json") {
            error.exit()
        }
        usage(&error)
    })
}

/// The failure of a mistake in the arguments: its first sentence, with clap's tips and the usage as the remedy.
fn usage(error: &Error) -> Failure {
    const HELP: &str = "conclib --help";
    if matches!(
        error.kind(),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return Failure::usage("a command is missing").advise(HELP);
    }
    let text = error.render().to_string();
    let (text, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let rest = rest.split("\n\n").map(one_line);
    let rest: Vec<_> = rest
        .filter(|part| !part.is_empty() && !part.starts_with("For more information"))
        .collect();
    Failure::usage(one_line(text.trim_start_matches("error: "))).advise(if rest.is_empty() {
        HELP.to_owned()
    } else {
        rest.join("; ")
    })
}

/// A text without line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a name and its value, such as `tenant=7`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is no NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// clap's help is the reference.
    #[test]
    fn each_argument_has_a_line_of_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path}");
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path} {}",
                    argument.get_id()
                );
            }
            for inner in command.get_subcommands() {
                check(inner, &path);
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn attributes_are_pairs() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
