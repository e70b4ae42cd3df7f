//! A server that does not outlive the run: `bus keep <program> <arguments …>`.
//!
//! It prints the process id of the program, and ends it when its own standard input ends: so the
//! server ends also when the run is killed.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use crate::Problem;
use crate::respond::when_input_ends;

/// The interval of checks if the program has ended by itself.
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn main(words: &[String]) -> Result<(), Problem> {
    let (program, arguments) = words.split_first().ok_or("the program is missing")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(std::env::temp_dir());
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
