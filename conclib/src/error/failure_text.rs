//! A [`Failure`] in serde's terms: `{"panic": text}` or `{"error": text}`. It is no implementation for
//! `Failure` itself, since a response that contains one is a mistake.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Failure;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Text {
    Error(String),
    Panic(String),
}

pub(crate) fn serialize<S: Serializer>(
    failure: &Failure,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = match failure.panic_text() {
        Some(text) => Text::Panic(text.to_owned()),
        None => Text::Error(failure.to_string()),
    };
    text.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Failure, D::Error> {
    Text::deserialize(deserializer).map(|text| match text {
        Text::Error(text) => Failure::msg(text),
        Text::Panic(text) => Failure::from_panic(&text),
    })
}
