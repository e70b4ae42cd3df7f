//! The attributes of a message.

use std::fmt;
use std::mem;
use std::slice;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(
    /// Sorted by name. No map: most messages have one or two.
    Vec<(String, String)>,
);

impl Attributes {
    /// The most attributes of a message.
    pub const MAX_LEN: usize = 64;

    /// The most bytes of the names and values of a message's attributes, in total.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// No attributes.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        let place = self.place(name).ok()?;
        Some(&self.0[place].1)
    }

    /// Sets an attribute, and returns the value that it had before.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        let (name, value) = (name.into(), value.into());
        match self.place(&name) {
            Ok(place) => Some(mem::replace(&mut self.0[place].1, value)),
            Err(place) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, (name, value));
                None
            }
        }
    }

    /// Removes an attribute, and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.place(name).ok()?;
        Some(self.0.remove(place).1)
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
            if self.get(name).is_none() {
                self.insert(name, value);
            }
        }
    }

    /// Takes the attributes of these names out.
    pub(crate) fn split_off(&mut self, names: &[&'static str]) -> Self {
        let is_named = |(name, _): &mut (String, String)| names.contains(&name.as_str());
        if self.0.iter_mut().all(is_named) {
            return mem::take(self); // as of most messages
        }
        Self(self.0.extract_if(.., is_named).collect())
    }

    /// The place of a name, or the one at which it belongs.
    fn place(&self, name: &str) -> Result<usize, usize> {
        match self.0.last() {
            // Names that come in their order, as a peer sends them.
            Some((last, _)) if last.as_str() < name => Err(self.0.len()),
            _ => (self.0).binary_search_by(|(known, _)| known.as_str().cmp(name)),
        }
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
        f.debug_map().entries(self).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Attributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of attributes")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Attributes, M::Error> {
                let mut pairs = Vec::<(String, String)>::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                // Sorted once: a peer may send many. The last one of a name counts.
                pairs.reverse();
                pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
                pairs.dedup_by(|(one, _), (other, _)| one == other);
                Ok(Attributes(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
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
pub struct AttributesIter<'a>(slice::Iter<'a, (String, String)>);

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

#[cfg(all(test, not(conclib_loom)))]
mod tests {
    use super::*;

    fn names(attributes: &Attributes) -> Vec<&str> {
        attributes.iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn attributes_are_sorted_and_each_name_is_there_once() {
        let mut attributes = Attributes::from([("c", "1"), ("a", "2"), ("b", "3"), ("c", "4")]);
        assert_eq!(names(&attributes), ["a", "b", "c"]);
        assert_eq!(attributes.get("c"), Some("4"));
        assert_eq!(attributes.insert("a", "5").as_deref(), Some("2"));
        assert_eq!(attributes.remove("a").as_deref(), Some("5"));
        assert_eq!(
            [attributes.remove("a"), attributes.remove("z")],
            [None, None]
        );
        assert_eq!(names(&attributes), ["b", "c"]);
        assert_eq!(format!("{attributes:?}"), r#"{"b": "3", "c": "4"}"#);
    }

    #[test]
    fn some_or_all_are_split_off() {
        let all = Attributes::from([("c", "1"), ("a", "2"), ("b", "3")]);
        let mut rest = all.clone();
        assert_eq!(names(&rest.split_off(&["c", "a", "x"])), ["a", "c"]);
        assert_eq!(names(&rest), ["b"]);
        assert_eq!(rest.split_off(&["x"]), Attributes::new());
        assert_eq!(rest.split_off(&["b"]), Attributes::from([("b", "3")]));
        assert_eq!(rest, Attributes::new());
    }

    #[test]
    fn attributes_are_read_as_a_map_in_any_order() {
        // A map of three entries, of which two have the same name.
        let packed = b"\x83\xa1b\xa11\xa1a\xa12\xa1b\xa13";
        let read: Attributes = rmp_serde::from_slice(packed).unwrap();
        assert_eq!(read, Attributes::from([("a", "2"), ("b", "3")]));
        assert_eq!(
            rmp_serde::to_vec(&read).unwrap(),
            b"\x82\xa1a\xa12\xa1b\xa13"
        );
        assert!(rmp_serde::from_slice::<Attributes>(b"\x91\xa1a").is_err());
    }
}
