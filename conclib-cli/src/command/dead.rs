//! `dead`: the dead letters.
//!
//! - [`change`]: replays and removes them

use clap::{Args, Subcommand};
use conclib::Config;
use conclib::durable::{DeadLetter, DeadLetters};
use serde::Serialize;

use crate::command::durable::{Contents, attributes};
use crate::command::filter::{Extent, Filter, Subject};
use crate::command::refuse_fleet;
use crate::exit::{Exit, Failure};
use crate::output::{self, Output, age};
use crate::time::timestamp;
use change::{Action, Change};

mod change;

/// The number of dead letters that are read at a time.
const PAGE: u32 = 1000;

/// List, show, replay or remove dead letters: durable messages that no actor could handle
#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// List dead letters, the oldest first
    Ls(List),
    /// Show one dead letter with its reason and attributes
    Show(Show),
    /// Deliver dead letters again, as new messages with the same keys
    Replay(Change),
    /// Remove dead letters for good
    Rm(Change),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    extent: Extent,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the dead letter, as listed
    id: String,
    /// Show the contents of the message
    #[arg(long)]
    payload: bool,
}

/// The choice of dead letters.
#[derive(Debug, Args)]
struct Choice {
    #[command(flatten)]
    filter: Filter,
    /// Text within the reason
    #[arg(long, value_name = "TEXT", help_heading = "Filter")]
    reason: Option<String>,
}

impl Choice {
    fn is_empty(&self) -> bool {
        self.filter.is_empty() && self.reason.is_none()
    }

    fn accepts(&self, letter: &DeadLetter) -> bool {
        let subject = Subject {
            urn: &letter.urn,
            message: &letter.message,
            key: &letter.key,
            since: letter.when,
        };
        let reason = self.reason.as_ref();
        self.filter.accepts(subject) && reason.is_none_or(|text| letter.reason.contains(text))
    }

    /// Reads up to `limit` dead letters that meet the conditions, and keeps of each one a part.
    async fn read<T>(
        &self,
        dead: &DeadLetters,
        limit: usize,
        part: impl Fn(DeadLetter) -> T,
    ) -> Result<Vec<T>, Failure> {
        let (mut chosen, mut after) = (Vec::new(), String::new());
        loop {
            let page = dead.list().after(&after).limit(PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            if let Some(last) = page.last() {
                after.clone_from(&last.id);
            }
            for letter in page {
                if chosen.len() == limit {
                    return Ok(chosen);
                }
                if self.accepts(&letter) {
                    chosen.push(part(letter));
                }
            }
            if is_last {
                return Ok(chosen);
            }
        }
    }
}

/// A dead letter as JSON.
#[derive(Serialize)]
struct Letter<'a> {
    id: &'a str,
    urn: &'a str,
    message: &'a str,
    key: &'a str,
    deliveries: u32,
    reason: &'a str,
    when: String,
    age_seconds: u64,
    attributes: std::collections::BTreeMap<&'a str, &'a str>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Contents>,
}

impl<'a> Letter<'a> {
    fn new(letter: &'a DeadLetter, has_payload: bool) -> Self {
        Self {
            id: &letter.id,
            urn: &letter.urn,
            message: &letter.message,
            key: &letter.key,
            deliveries: letter.deliveries,
            reason: &letter.reason,
            when: timestamp(letter.when),
            age_seconds: age(letter.when).as_secs(),
            attributes: attributes(&letter.attributes),
            bytes: letter.contents.len(),
            payload: has_payload.then(|| Contents::of(&letter.contents)),
        }
    }
}

impl Dead {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        if let Self::Replay(change) | Self::Rm(change) = &self {
            change.check()?;
        }
        refuse_fleet(config)?;
        let dead = DeadLetters::connect(config).await?;
        match self {
            Self::Ls(list) => list.run(&dead, output).await,
            Self::Show(show) => show.run(&dead, output).await,
            Self::Replay(change) => change.run(&dead, output, Action::Replay).await,
            Self::Rm(change) => change.run(&dead, output, Action::Remove).await,
        }
    }
}

impl List {
    async fn run(self, dead: &DeadLetters, output: Output) -> Result<(), Failure> {
        let whole = |letter| letter;
        let letters = self.choice.read(dead, self.extent.limit, whole).await?;
        if output.json {
            let letters = letters.iter();
            let letters = letters.map(|letter| Letter::new(letter, self.extent.payload));
            return output.json(&letters.collect::<Vec<_>>());
        }
        let mut header = vec!["ID", "AGE", "URN", "MESSAGE", "KEY", "DELIVERIES", "REASON"];
        if self.extent.payload {
            header.push("PAYLOAD");
        }
        let row = |letter: &DeadLetter| {
            let mut row = vec![
                letter.id.clone(),
                output::duration(age(letter.when)),
                letter.urn.clone(),
                letter.message.clone(),
                letter.key.clone(),
                letter.deliveries.to_string(),
                letter.reason.clone(),
            ];
            if self.extent.payload {
                row.push(Contents::of(&letter.contents).to_string());
            }
            row
        };
        output.table(&header, letters.iter().map(row).collect())
    }
}

impl Show {
    async fn run(self, dead: &DeadLetters, output: Output) -> Result<(), Failure> {
        let Some(letter) = dead.get(&self.id).await? else {
            let text = format!("no dead letter has the id `{}`", self.id);
            return Err(Failure::new(Exit::Pointless, "not_found", text)
                .advise("`conclib dead ls` lists them; it may have been replayed or removed"));
        };
        if output.json {
            return output.json(&Letter::new(&letter, self.payload));
        }
        let attributes = attributes(&letter.attributes);
        let attributes: Vec<_> = attributes
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let when = format!(
            "{} ({} ago)",
            timestamp(letter.when),
            output::duration(age(letter.when))
        );
        let mut rows = vec![
            ("id", letter.id),
            ("urn", letter.urn),
            ("message", letter.message),
            ("key", letter.key),
            ("deliveries", letter.deliveries.to_string()),
            ("when", when),
            ("attributes", attributes.join(" ")),
            ("bytes", letter.contents.len().to_string()),
            ("reason", letter.reason),
        ];
        if self.payload {
            rows.push(("payload", Contents::of(&letter.contents).to_string()));
        }
        let rows = rows.into_iter();
        let lines = rows.map(|(name, value)| format!("{name:<11} {}", output::printable(&value)));
        output.line(&lines.collect::<Vec<_>>().join("\n"))
    }
}
