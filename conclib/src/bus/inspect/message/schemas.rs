//! Answers about the messages of a member.

use serde::{Deserialize, Serialize};

use crate::bus::server::skew_log::UndecodedMessage;
use crate::system::HandledMessage;

/// A page of the messages that the actors of a member handle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SchemaPage {
    /// The messages, by name; all schemas of a name are on one page. Each has up to 20 of its actor types.
    pub messages: Vec<HandledMessage>,
    /// The name behind which the next page begins; `None` if this is the last one.
    pub next: Option<String>,
    /// Messages that did not decode as the type of their handler, since the process began to serve; the last ones first. On the first page, and
    /// as many of them as it has room for.
    pub undecoded: Vec<UndecodedMessage>,
}
