//! What the processes of the fault suite say to each other, and write down.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use conclib::prelude::*;

use crate::process::memory;

/// How often a durable message is delivered.
pub const DELIVERIES: u32 = 5;

/// Milliseconds on the clock of the wall, which all processes share.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Something to do, once.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = u64)]
pub struct Work {
    /// Which no other has.
    pub number: u64,
    /// When its asker stops waiting, on the clock of the wall.
    pub deadline: u64,
    /// How long it takes, in ms.
    pub nap: u64,
    /// The actor fails: with an error, or with a panic if its number is odd.
    pub fails: bool,
}

impl Work {
    /// The only right answer.
    pub fn answer(number: u64) -> u64 {
        number.wrapping_mul(31).rotate_left(7)
    }
}

/// The same, with a lot of bytes in the answer.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone)]
#[message(response = serde_bytes::ByteBuf)]
pub struct Bulk {
    /// How many bytes.
    pub bytes: usize,
}

/// How a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// An ask.
    Ask,
    /// A tell.
    Tell,
    /// A tell that is to survive.
    Durable,
    /// The same, and its handler always fails.
    Poison,
}

/// What a client writes down of a request, as a line.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which.
    pub number: u64,
    /// How.
    pub manner: Manner,
    /// When it was made, on the clock of the wall.
    pub start: u64,
    /// How long it may take, in ms.
    pub patience: u64,
    /// How long it took, in ms.
    pub took: u64,
    /// `Ok`, `Wrong`, or the name of the error.
    pub end: String,
    /// How far it had come: `No`, `Accepted`, `Unknown`.
    pub delivered: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            manner,
            start,
            patience,
            took,
            end,
            delivered,
        } = self;
        write!(
            f,
            "{number} {manner:?} {start} {patience} {took} {end} {delivered}"
        )
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<_> = line.split(' ').collect();
        let [number, manner, start, patience, took, end, delivered] = words[..] else {
            return Err(format!("`{line}`"));
        };
        let parse = |word: &str| word.parse().map_err(|error| format!("`{line}`: {error}"));
        Ok(Self {
            number: parse(number)?,
            manner: match manner {
                "Ask" => Manner::Ask,
                "Tell" => Manner::Tell,
                "Poison" => Manner::Poison,
                _ => Manner::Durable,
            },
            start: parse(start)?,
            patience: parse(patience)?,
            took: parse(took)?,
            end: end.to_owned(),
            delivered: delivered.to_owned(),
        })
    }
}

/// What an actor writes down when it begins with a message, as a line.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// Which.
    pub number: u64,
    /// When, on the clock of the wall.
    pub at: u64,
    /// When its asker stopped waiting.
    pub deadline: u64,
}

impl Begun {
    /// Written at once, so that it is there also if the process is killed in the next moment.
    ///
    /// # Errors
    ///
    /// If the disk is full.
    pub fn write(self, mut to: &File) -> std::io::Result<()> {
        let Self {
            number,
            at,
            deadline,
        } = self;
        to.write_all(format!("{number} {at} {deadline}\n").as_bytes())
    }
}

impl FromStr for Begun {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        match numbers.map_err(|error| format!("`{line}`: {error}"))?[..] {
            [number, at, deadline] => Ok(Self {
                number,
                at,
                deadline,
            }),
            _ => Err(format!("`{line}`")),
        }
    }
}

/// What a process has: requests under way, tasks, memory in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Requests without an answer.
    pub in_flight: usize,
    /// Tasks that live.
    pub tasks: usize,
    /// Resident memory in KiB.
    pub memory: usize,
}

impl Holdings {
    /// Of this process.
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

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.in_flight, self.tasks, self.memory)
    }
}

impl FromStr for Holdings {
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
