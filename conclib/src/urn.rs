//! URNs: the addresses of actors.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::random::Uuid;
use hidden::is_hidden;
pub(crate) use name::{ActorName, NameKey};

pub(crate) mod hidden;
mod name;

/// An actor's address: a short string, unique in its system.
///
/// Cheap to clone. Anything printable and without spaces goes: `print_time_actor`, `user/42`.
///
/// ```
/// use conclib::Urn;
///
/// let urn: Urn = "user/42".parse()?;
/// assert_eq!(urn, "user/42");
/// assert!(Urn::generate().as_str().starts_with("urn:uuid:"));
/// assert!("two words".parse::<Urn>().is_err());
/// # Ok::<(), conclib::error::UrnError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Urn(Arc<str>);

impl Urn {
    /// The longest URN, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Checks a text and makes a URN of it.
    ///
    /// # Errors
    ///
    /// [`UrnError`] if the text is empty, longer than [`MAX_LEN`](Self::MAX_LEN), or contains a space, a
    /// control character, or a character that is not shown, such as U+200B or U+202E.
    pub fn new(text: impl AsRef<str>) -> Result<Self, UrnError> {
        let text = text.as_ref();
        let problem = if text.is_empty() {
            Some("it is empty".to_owned())
        } else if text.len() > Self::MAX_LEN {
            let (length, limit) = (text.len(), Self::MAX_LEN);
            Some(format!("{length} bytes are more than {limit}"))
        } else {
            text.chars()
                .find(|c| is_hidden(*c))
                .map(|c| format!("it contains {c:?}"))
        };
        match problem {
            None => Ok(Self(text.into())),
            Some(problem) => Err(UrnError {
                text: text.chars().take(64).map(shown).collect(),
                problem,
            }),
        }
    }

    /// A new and unique URN: `urn:uuid:` and a random UUID (RFC 9562, version 4).
    pub fn generate() -> Self {
        Self::of(Uuid::random())
    }

    /// The URN of a random UUID.
    fn of(uuid: Uuid) -> Self {
        Self(uuid.text().as_urn().into())
    }

    /// A URN for an error about an unchecked text.
    pub(crate) fn unchecked(text: &str) -> Self {
        Self(text.into())
    }

    /// The URN as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Urn {
    type Err = UrnError;

    fn from_str(text: &str) -> Result<Self, UrnError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Urn {
    type Error = UrnError;

    fn try_from(text: &str) -> Result<Self, UrnError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Urn {
    type Error = UrnError;

    fn try_from(text: String) -> Result<Self, UrnError> {
        Self::new(text)
    }
}

impl TryFrom<&Urn> for Urn {
    type Error = UrnError;

    fn try_from(urn: &Urn) -> Result<Self, UrnError> {
        Ok(urn.clone())
    }
}

// So that a map with URNs for keys is searched with a `&str`.
impl Borrow<str> for Urn {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Urn {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Urn {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Urn {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl serde::Serialize for Urn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Checks the text, like [`Urn::new`].
impl<'de> serde::Deserialize<'de> for Urn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The character, or a replacement for one that would change how the text around it is read.
fn shown(c: char) -> char {
    if c != ' ' && is_hidden(c) {
        char::REPLACEMENT_CHARACTER
    } else {
        c
    }
}

/// Error of a text that is no URN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no URN: {problem}")]
pub struct UrnError {
    text: String,
    problem: String,
}

// So that a `Urn` goes where a text does.
impl From<Infallible> for UrnError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
