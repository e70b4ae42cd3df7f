//! Messages and records of the processes of the chaos suite.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use conclib::prelude::*;

use crate::process::memory;

/// The number of deliveries of a durable message.
pub const DELIVERIES: u32 = 5;

/// The names of a fleet that one member has listed; the requests of a client for each are in order.
pub const LISTED: [&str; 3] = ["ledger-1", "ledger-2", "ledger-3"];

/// The bits of a request's number above those that count.
const CLIENT_BITS: u32 = 40;
const SERIES_BITS: u32 = 36;

/// The first number of a client's requests of a series: 0 are those without an order, and others those for
/// a name of [`LISTED`], which are executed in the order of their numbers.
pub fn first_number(client: u64, series: u64) -> u64 {
    (client << CLIENT_BITS) | (series << SERIES_BITS)
}

/// The client and the series of a request; `None` if it has no order.
pub fn series_of(number: u64) -> Option<(u64, u64)> {
    let series = (number >> SERIES_BITS) & ((1 << (CLIENT_BITS - SERIES_BITS)) - 1);
    (series > 0).then_some((number >> CLIENT_BITS, series))
}

/// Milliseconds on the system's clock, which all processes share.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A request to be executed once.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = u64)]
pub struct Work {
    /// Its unique number.
    pub number: u64,
    /// Its deadline, on the system's clock in ms.
    pub deadline: u64,
    /// The duration of the handler, in ms.
    pub nap: u64,
    /// True if the actor fails: with an error, or with a panic if the number is odd.
    pub fails: bool,
}

impl Work {
    /// The right answer.
    pub fn answer(number: u64) -> u64 {
        number.wrapping_mul(31).rotate_left(7)
    }
}

/// A request for a large answer.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = serde_bytes::ByteBuf)]
pub struct Bulk {
    /// The size of the answer.
    pub bytes: usize,
}

/// A message for the actor that gets stuck; its handler ends when the actor is released.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
pub struct Ballast {
    /// Its weight.
    pub bytes: serde_bytes::ByteBuf,
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// An ask.
    Ask,
    /// A tell.
    Tell,
    /// A durable tell.
    Durable,
    /// A durable tell whose handler always fails.
    Poison,
}

/// A client's record of a request, written as a line.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// The number of the request.
    pub number: u64,
    /// Its kind.
    pub kind: RequestKind,
    /// Its start, on the system's clock in ms.
    pub start: u64,
    /// Its timeout, in ms.
    pub timeout: u64,
    /// Its duration, in ms.
    pub took: u64,
    /// `Ok`, `Wrong`, or the name of the error.
    pub end: String,
    /// The delivery state of an error: `No`, `Accepted`, `Stored`, `Unknown`.
    pub delivered: String,
}

impl fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            kind,
            start,
            timeout,
            took,
            end,
            delivered,
        } = self;
        write!(
            f,
            "{number} {kind:?} {start} {timeout} {took} {end} {delivered}"
        )
    }
}

impl FromStr for RequestRecord {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<_> = line.split(' ').collect();
        let [number, kind, start, timeout, took, end, delivered] = words[..] else {
            return Err(format!("`{line}`"));
        };
        let parse = |word: &str| word.parse().map_err(|error| format!("`{line}`: {error}"));
        Ok(Self {
            number: parse(number)?,
            kind: match kind {
                "Ask" => RequestKind::Ask,
                "Tell" => RequestKind::Tell,
                "Poison" => RequestKind::Poison,
                _ => RequestKind::Durable,
            },
            start: parse(start)?,
            timeout: parse(timeout)?,
            took: parse(took)?,
            end: end.to_owned(),
            delivered: delivered.to_owned(),
        })
    }
}

/// An actor's record of the start of a handler, written as a line.
#[derive(Debug, Clone, Copy)]
pub struct ExecutionRecord {
    /// The number of the request.
    pub number: u64,
    /// The start of the handler, on the system's clock in ms.
    pub at: u64,
    /// The deadline of the request.
    pub deadline: u64,
    /// The process that has executed it.
    pub process: u32,
}

impl ExecutionRecord {
    /// Writes the record at once, so that it survives a kill in the next moment.
    ///
    /// # Errors
    ///
    /// If the disk is full.
    pub fn write(self, mut to: &File) -> std::io::Result<()> {
        let Self {
            number,
            at,
            deadline,
            process,
        } = self;
        to.write_all(format!("{number} {at} {deadline} {process}\n").as_bytes())
    }
}

impl FromStr for ExecutionRecord {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers.map_err(|error| format!("`{line}`: {error}"))?[..] {
            [number, at, deadline, process] => Ok(Self {
                number,
                at,
                deadline,
                process: u32::try_from(process).map_err(|error| format!("`{line}`: {error}"))?,
            }),
            _ => Err(format!("`{line}`")),
        }
    }
}

/// The resources of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceUsage {
    /// Requests in flight.
    pub in_flight: usize,
    /// Living tasks.
    pub tasks: usize,
    /// Resident memory in KiB.
    pub memory: usize,
}

impl ResourceUsage {
    /// The resources of this process.
    pub fn now(in_flight: usize) -> Self {
        Self {
            in_flight,
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            memory: memory(),
        }
    }
}

impl fmt::Display for ResourceUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.in_flight, self.tasks, self.memory)
    }
}

impl FromStr for ResourceUsage {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<usize>, _> = line.split(' ').map(str::parse).collect();
        match numbers.map_err(|error| format!("`{line}`: {error}"))?[..] {
            [in_flight, tasks, memory] => Ok(Self {
                in_flight,
                tasks,
                memory,
            }),
            _ => Err(format!("`{line}`")),
        }
    }
}
