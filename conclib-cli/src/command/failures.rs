//! `failures`: the last failures of actors.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use conclib::Config;
use conclib::inspect::{FailuresQuery, Inspector};
use conclib::metrics::FailureRecord;
use serde::Serialize;

use crate::command::filter::matches;
use crate::command::inspection::{connect, members};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::time::parse_duration;
use crate::time::timestamp;

/// The most failures of an answer.
const PAGE: usize = 500;

/// Show the last failures of actors: each process keeps 256
///
/// With --json, each failure is a line of its own.
#[derive(Debug, Args)]
pub(crate) struct Failures {
    /// Go on, and show each failure when it occurs
    #[arg(short, long)]
    follow: bool,
    /// Only actors with this URN; * stands for any text
    #[arg(long, value_name = "PATTERN")]
    urn: Option<String>,
    /// Time between two looks
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = parse_duration)]
    interval: Duration,
}

/// A failure as JSON.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FailureObject {
    node: String,
    number: u64,
    at: String,
    urn: String,
    actor_type: String,
    phase: String,
    handler: Option<String>,
    message: Option<String>,
    panic: bool,
    /// `null` as long as it is not decided.
    restarted: Option<bool>,
    text: String,
}

impl FailureObject {
    pub(crate) fn new(node: &str, failure: &FailureRecord) -> Self {
        Self {
            node: node.to_owned(),
            number: failure.number,
            at: timestamp(failure.at),
            urn: failure.urn.to_string(),
            actor_type: failure.actor_type.to_string(),
            phase: failure.phase.to_string(),
            handler: failure.handler.as_ref().map(ToString::to_string),
            message: failure.message.as_ref().map(ToString::to_string),
            panic: failure.is_panic,
            restarted: failure.restarted,
            text: failure.text.clone(),
        }
    }
}

/// A failure in one line, for people.
pub(crate) fn line(node: &str, failure: &FailureRecord) -> String {
    let kind = if failure.is_panic { "panic" } else { "error" };
    let handler = failure.handler.as_deref().unwrap_or("-");
    let then = match failure.restarted {
        Some(true) => "restarted",
        Some(false) => "ended",
        None => "waits",
    };
    let text = failure.text.replace('\n', " ");
    let at = timestamp(failure.at);
    output::printable(&format!(
        "{at} {node} {} {handler} {kind}, {then}: {text}",
        failure.urn
    ))
}

/// Reads failures that were not read before.
#[derive(Default)]
pub(crate) struct FailureReader {
    /// The number of the next failure of each node, in its lease.
    next: BTreeMap<String, u64>,
}

impl FailureReader {
    /// The new failures of all members, each with its node; those that were dropped unread are said to be lost.
    pub(crate) async fn read(
        &mut self,
        inspector: &Inspector,
    ) -> Result<Vec<(String, FailureRecord)>, Failure> {
        let (mut found, mut first, mut answers) = (Vec::new(), None, 0);
        for member in members(inspector).await? {
            match self.read_of(inspector, &member.node).await {
                Ok(failures) => {
                    answers += 1;
                    let failures = failures.into_iter();
                    found.extend(failures.map(|failure| (member.node.clone(), failure)));
                }
                Err(failure) => drop(first.get_or_insert(failure)),
            }
        }
        match first {
            Some(failure) if answers == 0 => Err(failure),
            _ => {
                found.sort_by_key(|(_, failure)| failure.at);
                Ok(found)
            }
        }
    }

    async fn read_of(
        &mut self,
        inspector: &Inspector,
        node: &str,
    ) -> Result<Vec<FailureRecord>, Failure> {
        let mut found = Vec::new();
        loop {
            let since = self.next.get(node).copied().unwrap_or(0);
            let query = FailuresQuery::new().since(since).limit(PAGE);
            let page = inspector.ask(node, &query).await?;
            if page.next < since {
                // Another process serves the node, and counts from 0 on.
                self.next.remove(node);
                continue;
            }
            let is_last = page.failures.is_empty();
            found.extend(page.failures);
            self.next.insert(node.to_owned(), page.next);
            if is_last {
                return Ok(found);
            }
        }
    }
}

impl Failures {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        let inspector = connect(config).await?;
        let mut reader = FailureReader::default();
        self.show(output, reader.read(&inspector).await?)?;
        if !self.follow {
            return Ok(());
        }
        loop {
            tokio::time::sleep(self.interval).await;
            match reader.read(&inspector).await {
                Ok(failures) => self.show(output, failures)?,
                // It may be back for the next look.
                Err(failure) => output.note("no_answer", &format!("no answer: {}", failure.text)),
            }
        }
    }

    fn show(&self, output: Output, failures: Vec<(String, FailureRecord)>) -> Result<(), Failure> {
        for (node, failure) in failures {
            let pattern = self.urn.as_ref();
            if pattern.is_some_and(|pattern| !matches(pattern, failure.urn.as_str())) {
                continue;
            }
            if output.json {
                output.json(&FailureObject::new(&node, &failure))?;
            } else {
                output.line(&line(&node, &failure))?;
            }
        }
        Ok(())
    }
}
