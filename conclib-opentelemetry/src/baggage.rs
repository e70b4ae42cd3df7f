//! The header `baggage` of the W3C: values of the program that travel with a trace.

use opentelemetry::baggage::{Baggage, KeyValueMetadata};
use percent_encoding::percent_decode_str;

/// The most bytes of the header.
const MAX_LEN: usize = 8192;

/// The most values.
const MAX_VALUES: usize = 64;

/// The text of the baggage; `None` if there is none, or too much.
pub(crate) fn format(baggage: &Baggage) -> Option<String> {
    let text = baggage.to_string();
    (1..=MAX_LEN).contains(&text.len()).then_some(text)
}

/// Reads baggage; values that make no sense are left out.
pub(crate) fn parse(text: &str) -> impl Iterator<Item = KeyValueMetadata> {
    let text = if text.len() <= MAX_LEN { text } else { "" };
    text.split(',').take(MAX_VALUES).filter_map(value)
}

/// Reads a value: `name=value;metadata`.
fn value(member: &str) -> Option<KeyValueMetadata> {
    let (pair, metadata) = member.split_once(';').unwrap_or((member, ""));
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    Some(KeyValueMetadata::new(
        name.trim().to_owned(),
        value.into_owned(),
        metadata.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Baggage {
        parse(text).collect()
    }

    #[test]
    fn baggage_is_read_as_it_was_written() {
        let mut baggage = Baggage::new();
        baggage.insert("tenant", "a, b=c; ü");
        baggage.insert_with_metadata("other", "1", "kind=2");
        let read = read(&format(&baggage).unwrap());
        assert_eq!(read.get("tenant").unwrap().as_str(), "a, b=c; ü");
        let (value, metadata) = read.get_with_metadata("other").unwrap();
        assert_eq!((value.as_str(), metadata.as_str()), ("1", "kind=2"));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn nonsense_and_excess_are_left_out() {
        assert_eq!(format(&Baggage::new()), None);
        let some = read("good=1,,=2,bad name=3,none,utf8=%ff, spaced = 4 ");
        assert_eq!(some.get("good").unwrap().as_str(), "1");
        assert_eq!(some.get("spaced").unwrap().as_str(), "4");
        assert_eq!(some.len(), 2);
        let many: Vec<_> = (0..100).map(|n| format!("n{n}=1")).collect();
        assert_eq!(read(&many.join(",")).len(), MAX_VALUES);
        assert!(read(&format!("a={}", "x".repeat(MAX_LEN))).is_empty());
        let mut baggage = Baggage::new();
        baggage.insert("a", ",".repeat(MAX_LEN / 2)); // three bytes each
        assert_eq!(format(&baggage), None);
    }
}
