//! `conclib`, the operator's tool: asks actors by hand, looks at an actor system or a fleet, and acts on it.
//!
//! - `args`: the arguments; `connection`: those that say which bus
//! - `command`: a module for each command
//! - `value`: JSON and the contents of messages; `time`: durations and times
//! - `openmetrics`: the text for scrapers
//! - `output`: tables and JSON; `exit`: the exit codes

#![allow(
    clippy::doc_markdown,
    reason = "the comments of arguments are the text of --help"
)]

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use exit::{Exit, Failure};
use output::Output;

mod args;
mod command;
mod connection;
mod exit;
mod openmetrics;
mod output;
mod time;
mod value;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(failure) => {
            Output::new(true).failure(&failure);
            return failure.exit.into();
        }
    };
    log(cli.verbose);
    let output = Output::new(cli.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let text = format!("cannot start: {error}");
            output.failure(&Failure::new(Exit::TryAgain, "not_started", text));
            return Exit::TryAgain.into();
        }
    };
    let ended = runtime.block_on(command::run(cli, output));
    // A read of standard input that nothing ends would be waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Logs what the library logs. Errors of a command are its own output, so that nothing is logged unless asked for.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "warn",
        2 => "debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("conclib={level}")))
        .with_writer(std::io::stderr)
        .with_ansi(!output::has_no_color() && std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
