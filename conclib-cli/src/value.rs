//! Values of any type, between JSON and the contents of messages.
//!
//! | JSON | MessagePack |
//! |---|---|
//! | a number without a fraction | an integer, of 64 bits at most |
//! | a number with a fraction or an exponent | a float of 64 bits |
//! | `{"$base64": "…"}` | bytes |
//! | an object | a map, in the same order |
//!
//! Back, a float of 32 bits is its shortest decimal number, a key that is no text becomes one, and a float
//! that is no number is `null`.

use std::fmt::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The only key of an object that stands for bytes.
const BASE64: &str = "$base64";

/// A value of any type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    ShortFloat(f32),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// The fields in their order.
    Object(Vec<(String, Value)>),
}

/// The form of bytes in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum BytesForm {
    /// `{"$base64": "…"}`, which is bytes again when it is sent.
    #[default]
    Base64,
    /// An array of numbers.
    Array,
}

impl Value {
    /// Reads JSON.
    ///
    /// # Errors
    ///
    /// The problem in words: no JSON, or an integer that does not fit into 64 bits.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match too_long_integer(text) {
            Some(integer) => Err(format!(
                "{integer} does not fit into 64 bits, and would be sent as another number"
            )),
            None => Ok(value),
        }
    }

    /// Reads MessagePack.
    ///
    /// # Errors
    ///
    /// The problem in words.
    pub(crate) fn from_contents(contents: &[u8]) -> Result<Self, String> {
        rmp_serde::from_slice(contents).map_err(|error| error.to_string())
    }

    /// This value as JSON, in one line.
    pub(crate) fn to_json(&self, bytes: BytesForm) -> String {
        let json = Json { value: self, bytes };
        json_line(&json).unwrap_or_default() // keys are text: this cannot fail
    }

    /// True if it is the `Err` of a `Result`.
    pub(crate) fn is_err(&self) -> bool {
        matches!(self, Self::Object(fields) if matches!(&fields[..], [(name, _)] if name == "Err"))
    }
}

/// A value as one line of JSON. Characters that control a terminal are escaped, also those that JSON allows.
///
/// # Errors
///
/// The value cannot be written.
pub(crate) fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    if !json.contains(char::is_control) {
        return Ok(json);
    }
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() {
            // Within a text: JSON has them nowhere else.
            let _ = write!(line, "\\u{:04x}", u32::from(c)); // cannot fail
        } else {
            line.push(c);
        }
    }
    Ok(line)
}

/// The first integer in a JSON text that does not fit into 64 bits: a reader of JSON makes a float of it.
fn too_long_integer(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[start..];
        if rest.starts_with('"') {
            rest = behind_text(rest);
            continue;
        }
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let (number, after) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let is_integer = !number.contains(['.', 'e', 'E']);
        if is_integer && number.parse::<u64>().is_err() && number.parse::<i64>().is_err() {
            return Some(number);
        }
        rest = after;
    }
    None
}

/// The rest behind the text at the beginning.
fn behind_text(text: &str) -> &str {
    let mut is_escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return &text[place + 1..],
            _ => {}
        }
    }
    ""
}

/// As a message is written: bytes are bytes.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::ShortFloat(value) => serializer.serialize_f32(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

/// A value as JSON.
pub(crate) struct Json<'a> {
    pub(crate) value: &'a Value,
    pub(crate) bytes: BytesForm,
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.bytes;
        let inner = |value| Json { value, bytes };
        match self.value {
            Value::Bytes(contents) if bytes == BytesForm::Array => serializer.collect_seq(contents),
            Value::Bytes(contents) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(BASE64, &BASE64_STANDARD.encode(contents))?;
                map.end()
            }
            Value::Array(elements) => serializer.collect_seq(elements.iter().map(inner)),
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, inner(value))))
            }
            plain => plain.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    /// An extension type of MessagePack: its number and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned))
    }

    fn visit_f32<E: Error>(self, value: f32) -> Result<Value, E> {
        Ok(Value::ShortFloat(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields: Vec<(String, Value)> = Vec::new();
        while let Some(name) = map.next_key_seed(NameSeed)? {
            fields.push((name, map.next_value()?));
        }
        match &fields[..] {
            [(name, Value::Text(text))] if name == BASE64 => BASE64_STANDARD
                .decode(text)
                .map(Value::Bytes)
                .map_err(|error| A::Error::custom(format!("no base64: {error}"))),
            _ => Ok(Value::Object(fields)),
        }
    }
}

/// Reads the key of a map as a text.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Text(text) => text,
            other => other.to_json(BytesForm::Base64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a JSON text as a message, and reads that back.
    fn there_and_back(json: &str) -> String {
        let value = Value::from_json(json).unwrap();
        let contents = rmp_serde::to_vec_named(&value).unwrap();
        let back = Value::from_contents(&contents).unwrap();
        back.to_json(BytesForm::Base64)
    }

    #[test]
    fn json_survives_as_a_message() {
        for json in [
            "null",
            "true",
            "0",
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1.5e-7",
            "1.0",
            r#""größe \"\\ \u0000""#,
            "[]",
            "{}",
            r#"{"z":1,"a":[{"Buy":{"cents":-5}},"Unit",null]}"#,
            r#"{"$base64":"AAH/"}"#,
        ] {
            assert_eq!(there_and_back(json), json);
        }
    }

    #[test]
    fn integers_beyond_64_bits_are_refused() {
        for json in [
            "18446744073709551616",
            "-9223372036854775809",
            r#"{"a\"1":[1,340282366920938463463374607431768211455]}"#,
        ] {
            let problem = Value::from_json(json).unwrap_err();
            assert!(problem.contains("does not fit into 64 bits"), "{problem}");
        }
        // Neither texts nor floats are integers.
        for json in [
            r#""99999999999999999999""#,
            "1e30",
            "99999999999999999999.5",
        ] {
            assert!(Value::from_json(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn bytes_are_shown_in_either_form() {
        let value = Value::Array(vec![Value::Bytes(vec![0, 1, 255])]);
        assert_eq!(value.to_json(BytesForm::Base64), r#"[{"$base64":"AAH/"}]"#);
        assert_eq!(value.to_json(BytesForm::Array), "[[0,1,255]]");
        let problem = Value::from_json(r#"{"$base64":"?"}"#).unwrap_err();
        assert!(problem.contains("no base64"), "{problem}");
        // Another object with that key is an object.
        let object = r#"{"$base64":"AAH/","n":1}"#;
        assert_eq!(there_and_back(object), object);
    }

    #[test]
    fn contents_that_json_cannot_say_are_shown() {
        let shown = |contents: &[u8]| {
            Value::from_contents(contents).map(|value| value.to_json(BytesForm::Base64))
        };
        let short = rmp_serde::to_vec(&0.1_f32).unwrap();
        assert_eq!(shown(&short), Ok("0.1".to_owned()));
        let nan = rmp_serde::to_vec(&f64::NAN).unwrap();
        assert_eq!(shown(&nan), Ok("null".to_owned()));
        let keys = std::collections::BTreeMap::from([(1_u8, 'a'), (2, 'b')]);
        let keys = rmp_serde::to_vec(&keys).unwrap();
        assert_eq!(shown(&keys), Ok(r#"{"1":"a","2":"b"}"#.to_owned()));
        let extension = [0xd4, 5, 7];
        assert_eq!(
            shown(&extension),
            Ok(r#"[5,{"$base64":"Bw=="}]"#.to_owned())
        );
        assert!(shown(&[0x92, 1]).is_err());
    }

    #[test]
    fn json_does_not_control_the_terminal() {
        let value = Value::Text("\u{9b}31m\u{7f}\u{1b}[2J".to_owned());
        let json = value.to_json(BytesForm::Base64);
        assert_eq!(json, r#""\u009b31m\u007f\u001b[2J""#);
        assert_eq!(Value::from_json(&json), Ok(value));
    }

    #[test]
    fn only_the_err_of_a_result_is_one() {
        let is_err = |json| Value::from_json(json).unwrap().is_err();
        assert!(is_err(r#"{"Err":{"missing":30}}"#));
        for other in [r#"{"Ok":1}"#, r#"{"Err":1,"n":2}"#, r#""Err""#, "[]"] {
            assert!(!is_err(other), "{other}");
        }
    }
}
