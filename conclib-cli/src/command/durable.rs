//! `durable`: the durable messages that are not handled yet.
//!
//! - [`recipients`]: the actors that they are for

use std::collections::BTreeMap;
use std::fmt;

use clap::{Args, Subcommand};
use conclib::Config;
use conclib::envelope::Attributes;
use conclib::monitor::{BusMonitor, StoredMessage};
use serde::{Serialize, Serializer};

use crate::command::filter::{Extent, Filter, Subject};
use crate::command::refuse_fleet;
use crate::exit::Failure;
use crate::output::{self, Output, age};
use crate::time::timestamp;
use crate::value::{BytesForm, Json, Value};

use recipients::Recipients;

mod recipients;

/// The number of messages that are read at a time.
const PAGE: u32 = 1000;

/// List durable messages that are not handled yet
#[derive(Debug, Subcommand)]
pub(crate) enum Durable {
    /// List stored messages, the oldest first, without those that wait for their due times
    ///
    /// ACTOR is the phase of the actor, `failed` if it has ended for good, `missing` if the process has none with the URN (one on
    /// demand may start with the message), and empty if the process does not answer.
    Ls(List),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    extent: Extent,
}

/// The contents of a message, for the output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contents(Value);

impl Contents {
    /// Contents that cannot be read are shown as bytes.
    pub(crate) fn of(contents: &[u8]) -> Self {
        Self(Value::from_contents(contents).unwrap_or_else(|_| Value::Bytes(contents.to_vec())))
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_json(BytesForm::Base64))
    }
}

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = Json {
            value: &self.0,
            bytes: BytesForm::Base64,
        };
        json.serialize(serializer)
    }
}

/// The attributes of a request, in the order of their names.
pub(crate) fn attributes(attributes: &Attributes) -> BTreeMap<&str, &str> {
    attributes.iter().collect()
}

/// A stored message as JSON.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    urn: &'a str,
    /// The phase of the actor, `missing` or `failed`; `null` if it is not known.
    actor: Option<&'a str>,
    message: &'a str,
    key: &'a str,
    stored: String,
    age_seconds: u64,
    attributes: BTreeMap<&'a str, &'a str>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Contents>,
}

impl<'a> Row<'a> {
    fn new(message: &'a StoredMessage, recipients: &'a Recipients, has_payload: bool) -> Self {
        Self {
            id: &message.id,
            urn: &message.urn,
            actor: recipients.state(&message.urn),
            message: &message.message,
            key: &message.key,
            stored: timestamp(message.stored_at),
            age_seconds: age(message.stored_at).as_secs(),
            attributes: attributes(&message.attributes),
            bytes: message.contents.len(),
            payload: has_payload.then(|| Contents::of(&message.contents)),
        }
    }
}

impl Durable {
    pub(crate) async fn run(self, config: &Config, output: Output) -> Result<(), Failure> {
        refuse_fleet(config)?;
        let monitor = BusMonitor::connect(config).await?;
        match self {
            Self::Ls(list) => list.run(config, &monitor, output).await,
        }
    }
}

impl List {
    async fn run(
        self,
        config: &Config,
        monitor: &BusMonitor,
        output: Output,
    ) -> Result<(), Failure> {
        let messages = self.read(monitor).await?;
        let recipients = Recipients::ask(config, monitor.node(), &messages).await;
        if output.json {
            let messages = messages.iter();
            let messages =
                messages.map(|message| Row::new(message, &recipients, self.extent.payload));
            return output.json(&messages.collect::<Vec<_>>());
        }
        let mut header = vec!["ID", "AGE", "URN", "ACTOR", "MESSAGE", "KEY", "BYTES"];
        if self.extent.payload {
            header.push("PAYLOAD");
        }
        let row = |message: &StoredMessage| {
            let mut row = vec![
                message.id.clone(),
                output::duration(age(message.stored_at)),
                message.urn.clone(),
                recipients
                    .state(&message.urn)
                    .unwrap_or_default()
                    .to_owned(),
                message.message.clone(),
                message.key.clone(),
                message.contents.len().to_string(),
            ];
            if self.extent.payload {
                row.push(Contents::of(&message.contents).to_string());
            }
            row
        };
        output.table(&header, messages.iter().map(row).collect())
    }

    async fn read(&self, monitor: &BusMonitor) -> Result<Vec<StoredMessage>, Failure> {
        let (mut chosen, mut after) = (Vec::new(), String::new());
        loop {
            let page = monitor.list_durable().after(&after).limit(PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            if let Some(last) = page.last() {
                after.clone_from(&last.id);
            }
            for message in page {
                if chosen.len() == self.extent.limit {
                    return Ok(chosen);
                }
                let subject = Subject {
                    urn: &message.urn,
                    message: &message.message,
                    key: &message.key,
                    since: message.stored_at,
                };
                if self.filter.accepts(subject) {
                    chosen.push(message);
                }
            }
            if is_last {
                return Ok(chosen);
            }
        }
    }
}
