//! The names of actors: URNs, of which those that were generated are kept as their random bytes.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::Urn;
use crate::random::{Process, Uuid};

/// The name of an actor. Most generated names are never read. As bytes they take a quarter of the memory;
/// the text is written out when it is read.
#[derive(Clone)]
pub(crate) enum ActorName {
    Given(Urn),
    /// `urn:uuid:` and this.
    Generated(Uuid),
}

/// The identity of a name: keys are equal if and only if the texts of their names are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKey<'a> {
    Text(&'a str),
    Uuid(Uuid),
}

impl ActorName {
    /// A new and unique name, which says its process.
    pub(crate) fn generate(process: Process) -> Self {
        Self::Generated(Uuid::random_of(process))
    }

    pub(crate) fn key(&self) -> NameKey<'_> {
        match self {
            Self::Given(urn) => NameKey::of(urn.as_str()),
            Self::Generated(uuid) => NameKey::Uuid(*uuid),
        }
    }

    /// The name as a URN; a generated one is written out.
    pub(crate) fn to_urn(&self) -> Urn {
        match self {
            Self::Given(urn) => urn.clone(),
            Self::Generated(uuid) => Urn::of(*uuid),
        }
    }
}

impl fmt::Display for ActorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(urn) => urn.fmt(f),
            Self::Generated(uuid) => f.write_str(uuid.text().as_urn()),
        }
    }
}

impl fmt::Debug for ActorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(urn) => fmt::Debug::fmt(urn, f),
            Self::Generated(uuid) => fmt::Debug::fmt(uuid.text().as_urn(), f),
        }
    }
}

impl<'a> NameKey<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Uuid::from_urn(text).map_or(Self::Text(text), Self::Uuid)
    }
}

impl Hash for NameKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Text(text) => text.hash(state),
            Self::Uuid(uuid) => state.write(uuid.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn generated_name_is_found_by_its_text_and_no_other_is() {
        let hasher = RandomState::new();
        let generate = || ActorName::generate([1, 2, 3, 4, 5, 6]);
        let (generated, another) = (generate(), generate());
        let urn = generated.to_urn();
        let given = ActorName::Given(urn.clone());
        assert_eq!(generated.to_string(), urn.as_str());
        for key in [given.key(), NameKey::of(urn.as_str())] {
            assert!(key == generated.key() && key != another.key());
            assert_eq!(hasher.hash_one(key), hasher.hash_one(generated.key()));
        }
        assert!(NameKey::of(&urn.as_str().to_uppercase()) != generated.key());
    }
}
