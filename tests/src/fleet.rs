//! Messages and records of the processes of the fleet tests.

use std::fs::File;
use std::io::Write;

use conclib::prelude::*;

/// A request to be executed once; its answer is the name of the member that has executed it.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, Copy)]
#[message(response = String)]
pub struct Visit {
    /// Its unique number.
    pub number: u64,
    /// The duration of the handler, in ms.
    pub nap: u64,
}

/// Writes the start of a handler at once, so that the record survives a kill in the next moment.
///
/// # Errors
///
/// If the disk is full.
pub fn record_execution(mut log: &File, visit: Visit, member: &str) -> std::io::Result<()> {
    log.write_all(format!("{} {member}\n", visit.number).as_bytes())
}

/// The number and the member of a recorded execution.
///
/// # Panics
///
/// If the line is no record.
pub fn parse_execution(line: &str) -> (u64, &str) {
    let (number, member) = line.split_once(' ').expect("a number and a member");
    (number.parse().expect("a number"), member)
}
