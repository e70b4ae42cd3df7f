//! The choice of stored messages.

use std::time::{Duration, SystemTime};

use clap::Args;

use crate::output::age;
use crate::time::parse_duration;

/// Conditions that a message meets all of.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filter")]
pub(crate) struct Filter {
    /// URN of the actor; * stands for any text
    #[arg(long, value_name = "PATTERN")]
    urn: Option<String>,
    /// Name of the message; * stands for any text
    #[arg(long, value_name = "PATTERN")]
    message: Option<String>,
    /// Idempotency key; * stands for any text
    #[arg(long, value_name = "PATTERN")]
    key: Option<String>,
    /// At least this old
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// At most this old
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    newer_than: Option<Duration>,
}

/// The extent of a list of messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
pub(crate) struct Extent {
    /// List at most this many
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    pub(crate) limit: usize,
    /// Show the contents of messages
    #[arg(long)]
    pub(crate) payload: bool,
}

/// The properties of a message that are filtered by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) urn: &'a str,
    pub(crate) message: &'a str,
    pub(crate) key: &'a str,
    pub(crate) since: SystemTime,
}

impl Filter {
    /// True without any condition.
    pub(crate) fn is_empty(&self) -> bool {
        let texts = [&self.urn, &self.message, &self.key];
        texts.iter().all(|text| text.is_none())
            && self.older_than.is_none()
            && self.newer_than.is_none()
    }

    /// True if the message meets all conditions.
    pub(crate) fn accepts(&self, subject: Subject<'_>) -> bool {
        let pattern = |pattern: &Option<String>, text| {
            pattern
                .as_ref()
                .is_none_or(|pattern| matches(pattern, text))
        };
        let age = age(subject.since);
        pattern(&self.urn, subject.urn)
            && pattern(&self.message, subject.message)
            && pattern(&self.key, subject.key)
            && self.older_than.is_none_or(|bound| age >= bound)
            && self.newer_than.is_none_or(|bound| age <= bound)
    }
}

/// True if the text is the pattern, with any text for each `*`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty(); // without a star
    };
    for part in parts {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("order/7", "order/7", true),
            ("order/7", "order/77", false),
            ("order/*", "order/77", true),
            ("*/7", "order/7", true),
            ("o*er/*", "order/7", true),
            ("a*b*a", "aba", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("gr*ße", "größe", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let filter = Filter {
            urn: Some("shop*".to_owned()),
            older_than: Some(Duration::from_secs(60)),
            newer_than: Some(Duration::from_secs(600)),
            ..Filter::default()
        };
        let accepts = |urn, seconds| {
            filter.accepts(Subject {
                urn,
                message: "Order",
                key: "",
                since: SystemTime::now() - Duration::from_secs(seconds),
            })
        };
        assert!(accepts("shop/1", 300));
        assert!(!accepts("desk", 300) && !accepts("shop", 30) && !accepts("shop", 3000));
        assert!(!filter.is_empty() && Filter::default().is_empty());
    }
}
