//! How much the parts of a frame may be: checked where they are written, and where they are read
//! before anything is allocated for them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::bus::protocol::Problem;
use crate::envelope::{Attributes, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES};
use crate::error::AskError;
use crate::urn::MAX_URN_BYTES;

/// The longest name of a message, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// For how many elements a list has room before they come: what it says of its length is a peer's
/// word. Answers to a whole batch get theirs at once.
const PREPARED: usize = 512;

/// What is too much in a request that is to be sent, if so.
pub(crate) fn check(message: &str, attributes: &Attributes) -> Result<(), AskError> {
    let too_much = too_long("name of the message", message, MAX_NAME_BYTES).or_else(|| {
        let texts = attributes.iter();
        let bytes = texts.map(|(name, value)| name.len() + value.len()).sum();
        too_many(attributes.len(), bytes)
    });
    too_much.map_or(Ok(()), |problem| Err(problem.as_ask_error()))
}

/// The same of one that came.
pub(super) fn check_received(
    urn: &str,
    message: &str,
    attributes: &SomeAttributes,
) -> Result<(), Problem> {
    too_long("URN", urn, MAX_URN_BYTES)
        .or_else(|| too_long("name of the message", message, MAX_NAME_BYTES))
        .or_else(|| too_many(attributes.count, attributes.bytes))
        .map_or(Ok(()), Err)
}

fn too_long(what: &'static str, text: &str, limit: usize) -> Option<Problem> {
    let bytes = text.len();
    (bytes > limit).then_some(Problem::TooLong { what, bytes, limit })
}

fn too_many(count: usize, bytes: usize) -> Option<Problem> {
    if count > MAX_ATTRIBUTES {
        return Some(Problem::Attributes(count));
    }
    (bytes > MAX_ATTRIBUTE_BYTES).then_some(Problem::AttributeBytes(bytes))
}

/// The attributes of a request that came, as far as they are within the limits. What is beyond is
/// counted and not kept.
#[derive(Debug, Default)]
pub(super) struct SomeAttributes {
    pub(super) kept: Attributes,
    count: usize,
    bytes: usize,
}

impl SomeAttributes {
    fn add(&mut self, name: &str, value: &str) {
        self.count += 1;
        self.bytes += name.len() + value.len();
        if too_many(self.count, self.bytes).is_none() {
            self.kept.insert(name.to_owned(), value.to_owned());
        }
    }
}

impl<'de> Deserialize<'de> for SomeAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = SomeAttributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("attributes")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<SomeAttributes, M::Error> {
                let mut attributes = SomeAttributes::default();
                while let Some((name, value)) = map.next_entry::<&str, &str>()? {
                    attributes.add(name, value);
                }
                Ok(attributes)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A list of at most `MAX` elements; one that is longer is not read.
pub(super) struct AtMost<const MAX: usize, T>(pub(super) Vec<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Deserialize<'de> for AtMost<MAX, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<const MAX: usize, T>(PhantomData<T>);

        impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Elements<MAX, T> {
            type Value = AtMost<MAX, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX}")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
                let said = seq.size_hint().unwrap_or_default();
                if said > MAX {
                    return Err(Error::invalid_length(said, &self));
                }
                let mut elements = Vec::with_capacity(said.min(PREPARED));
                while elements.len() < MAX {
                    match seq.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(AtMost(elements)),
                    }
                }
                match seq.next_element::<IgnoredAny>()? {
                    Some(_) => Err(Error::invalid_length(MAX + 1, &self)),
                    None => Ok(AtMost(elements)),
                }
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
