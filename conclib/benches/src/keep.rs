//! A server that does not outlive the run: `keep <program> <arguments …>` of a benchmark.
//!
//! It prints the process id of the program, and ends it when its own standard input ends: so the
//! server ends also when the run is killed.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;

use crate::Problem;
use crate::children::when_input_ends;

/// The interval of checks if the program has ended by itself.
const POLL: Duration = Duration::from_millis(100);

/// The task of a process that keeps a server.
#[derive(Debug, Args)]
pub struct Order {
    /// The server.
    pub program: OsString,
    /// The server's own arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Runs the server.
///
/// # Errors
///
/// It does not start.
pub fn main(order: &Order) -> Result<(), Problem> {
    let mut command = Command::new(&order.program);
    command.args(&order.arguments);
    command.current_dir(std::env::temp_dir());
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn()?;
    println!("{}", child.id());
    let child = Arc::new(Mutex::new(child));
    let killed = child.clone();
    when_input_ends(move || {
        // It may have ended by itself; it has no data that needs an orderly end.
        let _ = killed.lock().unwrap_or_else(PoisonError::into_inner).kill();
    });
    loop {
        let state = child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait()?;
        match state {
            None => sleep(POLL),
            Some(_) => return Ok(()),
        }
    }
}
