//! Limits on the parts of a frame: checked when a frame is encoded, and when it is decoded, before
//! memory is allocated for them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::bus::protocol::Problem;
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::urn::Urn;

/// Number of requests of one client that may be under way, and so of answers in one reply.
pub(crate) const MAX_REQUESTS: usize = 16_384;

/// The longest name of a message, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Number of elements for which a list is allocated before they are decoded: its claimed length is not
/// trusted. The answers to a whole batch are allocated at once.
const PREALLOCATED: usize = 512;

/// Checks a request that is to be sent.
pub(crate) fn check_limits(message: &str, attributes: &Attributes) -> Result<(), AskError> {
    match too_long("name of the message", message, MAX_NAME_BYTES) {
        Some(problem) => Err(problem.as_ask_error()),
        None => attributes.check(),
    }
}

/// Checks a request that was received.
pub(super) fn check_received(
    urn: &str,
    message: &str,
    attributes: &BoundedAttributes,
) -> Result<(), Problem> {
    too_long("URN", urn, Urn::MAX_LEN)
        .or_else(|| too_long("name of the message", message, MAX_NAME_BYTES))
        .or_else(|| too_many(attributes.count, attributes.bytes))
        .map_or(Ok(()), Err)
}

fn too_long(part: &'static str, text: &str, limit: usize) -> Option<Problem> {
    let bytes = text.len();
    (bytes > limit).then_some(Problem::TooLong { part, bytes, limit })
}

fn too_many(count: usize, bytes: usize) -> Option<Problem> {
    if count > Attributes::MAX_LEN {
        return Some(Problem::Attributes(count));
    }
    (bytes > Attributes::MAX_BYTES).then_some(Problem::AttributeBytes(bytes))
}

/// The attributes of a received request, up to the limits. Further ones are counted and dropped.
#[derive(Debug, Default)]
pub(super) struct BoundedAttributes {
    pub(super) kept: Attributes,
    count: usize,
    bytes: usize,
}

impl BoundedAttributes {
    fn add(&mut self, name: &str, value: &str) {
        self.count += 1;
        self.bytes += name.len() + value.len();
        if too_many(self.count, self.bytes).is_none() {
            self.kept.insert(name.to_owned(), value.to_owned());
        }
    }
}

impl<'de> Deserialize<'de> for BoundedAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = BoundedAttributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("attributes")
            }

            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> Result<BoundedAttributes, M::Error> {
                let mut attributes = BoundedAttributes::default();
                while let Some((name, value)) = map.next_entry::<&str, &str>()? {
                    attributes.add(name, value);
                }
                Ok(attributes)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// A list of at most `MAX` elements; a longer one is not decoded.
pub(super) struct BoundedVec<const MAX: usize, T>(pub(super) Vec<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Deserialize<'de> for BoundedVec<MAX, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<const MAX: usize, T>(PhantomData<T>);

        impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Elements<MAX, T> {
            type Value = BoundedVec<MAX, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX}")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
                let claimed = seq.size_hint().unwrap_or_default();
                if claimed > MAX {
                    return Err(Error::invalid_length(claimed, &self));
                }
                let mut elements = Vec::with_capacity(claimed.min(PREALLOCATED));
                while elements.len() < MAX {
                    match seq.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(BoundedVec(elements)),
                    }
                }
                match seq.next_element::<IgnoredAny>()? {
                    Some(_) => Err(Error::invalid_length(MAX + 1, &self)),
                    None => Ok(BoundedVec(elements)),
                }
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
