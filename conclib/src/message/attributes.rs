//! The attributes of a message.

use std::collections::{BTreeMap, btree_map};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::AskError;

/// Texts that are sent along with a message, such as a tenant or a trace id: pairs of name and value,
/// in the order of their names.
///
/// A handler reads them by [`Context::attributes`](crate::Context::attributes).
///
/// A message has at most [`MAX_LEN`](Self::MAX_LEN) of them, and [`MAX_BYTES`](Self::MAX_BYTES) in
/// total: more are not sent, and refused by an actor system.
///
/// ```
/// use conclib::envelope::Attributes;
///
/// let mut attributes = Attributes::from([("trace", "4bf92f")]);
/// attributes.insert("tenant", "7");
/// assert_eq!(attributes.get("trace"), Some("4bf92f"));
/// assert_eq!(attributes.iter().collect::<Vec<_>>(), [("tenant", "7"), ("trace", "4bf92f")]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// The most attributes of a message.
    pub const MAX_LEN: usize = 64;

    /// The most bytes of the names and values of a message's attributes, in total.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// No attributes.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets an attribute, and returns the value that it had before.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(name.into(), value.into())
    }

    /// Removes an attribute, and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The attributes, in the order of their names.
    pub fn iter(&self) -> AttributesIter<'_> {
        AttributesIter(self.0.iter())
    }

    /// The number of attributes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no attributes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets those attributes whose names are not set.
    #[cfg(feature = "bus")]
    pub(crate) fn insert_missing(&mut self, others: &Self) {
        for (name, value) in others {
            if !self.0.contains_key(name) {
                self.insert(name, value);
            }
        }
    }

    /// Takes the attributes of these names out.
    pub(crate) fn split_off(&mut self, names: &[&'static str]) -> Self {
        let taken = names.iter().filter_map(|name| self.0.remove_entry(*name));
        Self(taken.collect())
    }

    /// The attributes of a message that was sent without any.
    pub(crate) fn none() -> &'static Self {
        static NONE: Attributes = Attributes::new();
        &NONE
    }

    /// The bytes of the names and values, in total.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.iter();
        texts.map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Checks that a message may have as many.
    pub(crate) fn check(&self) -> Result<(), AskError> {
        let (len, size) = (self.len(), self.bytes());
        if len > Self::MAX_LEN {
            let reason = format!("{len} attributes are more than {}", Self::MAX_LEN);
            return Err(AskError::BadRequest { reason });
        }
        if size > Self::MAX_BYTES {
            let limit = Self::MAX_BYTES;
            return Err(AskError::TooLarge { size, limit });
        }
        Ok(())
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut attributes = Self::new();
        attributes.extend(pairs);
        attributes
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for Attributes {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a str, &'a str);
    type IntoIter = AttributesIter<'a>;

    fn into_iter(self) -> AttributesIter<'a> {
        self.iter()
    }
}

/// An iterator over [`Attributes`], in the order of their names.
#[derive(Debug, Clone)]
pub struct AttributesIter<'a>(btree_map::Iter<'a, String, String>);

impl<'a> Iterator for AttributesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for AttributesIter<'_> {}
