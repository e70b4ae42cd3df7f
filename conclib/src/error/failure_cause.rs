//! The cause of a failed ask: the actor that failed, and the text of its failure.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::urn::Urn;

/// The longest text of a [`FailureCause`], in bytes: the text may contain the causes of other
/// actors' failures.
const MAX_CAUSE: usize = 1024;

/// The actor that failed, and the text of its [`Failure`](crate::Failure).
///
/// If an actor fails because of another actor's failure (such as by `?` on an ask), the text
/// contains the cause of that failure as well.
///
/// ```
/// use conclib::prelude::*;
///
/// #[derive(ActorMessage)]
/// #[message(local, response = u32)]
/// struct Read(&'static str);
///
/// #[derive(Actor)]
/// #[actor(urn = "reader")]
/// struct Reader;
///
/// #[handlers]
/// impl Reader {
///     #[handler]
///     fn read(&mut self, Read(text): Read) -> Result<u32, Failure> { Ok(text.parse()?) }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let system = ActorSystem::new();
/// # let reader = system.spawn(Reader).await?;
/// let Err(AskError::Failed { cause: Some(cause) }) = reader.ask(Read("x")).await else { panic!() };
/// assert_eq!(cause.urn(), "reader");
/// assert_eq!(cause.text(), "invalid digit found in string");
/// assert_eq!(cause.to_string(), "`reader` failed: invalid digit found in string");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCause {
    pub(super) urn: Urn,
    #[serde(with = "shared_text")]
    pub(super) text: Arc<str>,
}

impl FailureCause {
    pub(crate) fn new(urn: Urn, text: &str) -> Self {
        Self {
            urn,
            text: cut(text, MAX_CAUSE).into(),
        }
    }

    /// The actor that failed.
    pub fn urn(&self) -> &Urn {
        &self.urn
    }

    /// The text of the failure, cut to 1024 bytes.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: {}", self.urn, self.text)
    }
}

/// The beginning of a text: at most `bytes` bytes, cut at a character boundary.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// An `Arc<str>` in serde's terms, as a string.
mod shared_text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<str>, D::Error> {
        String::deserialize(deserializer).map(Arc::from)
    }
}
