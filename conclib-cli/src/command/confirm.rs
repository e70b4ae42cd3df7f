//! Consent to a command that changes much.

use std::io::{self, IsTerminal, Write};

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::exit::Failure;
use crate::output::Output;

/// Asks for consent, unless it was given: on a terminal by a question; elsewhere, and with JSON, not at all.
pub(crate) async fn confirm(question: &str, output: Output, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if output.json || !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} Nothing was changed."))
            .advise("give --yes to do it"));
    }
    let mut error = io::stderr();
    drop(write!(error, "{question} [y/N] ").and_then(|()| error.flush()));
    let mut line = String::new();
    let read = BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await;
    match (read, line.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::usage("Nothing was changed.")),
    }
}
