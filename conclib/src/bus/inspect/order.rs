//! Filters and orders of actors: pure, and the same for a member and for those who merge the pages of several.

use std::cmp::Ordering;
use std::time::Duration;

use crate::actor::ActorSnapshot;
use crate::bus::inspect::message::{ActorFilter, Refusal, Sort, TypeSummary};
use crate::urn::Urn;

/// The longest pattern, in bytes: that of a URN.
const MAX_PATTERN: usize = Urn::MAX_LEN;

impl ActorFilter {
    /// Fails if the filter would take long.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let is_long = |pattern: &String| pattern.len() > MAX_PATTERN;
        if self.urn.as_ref().is_some_and(is_long) {
            let reason = format!("a pattern has more than {MAX_PATTERN} bytes");
            return Err(Refusal::Unreadable { reason });
        }
        Ok(())
    }

    /// True if the filter selects an actor.
    pub(super) fn selects(&self, actor: &ActorSnapshot) -> bool {
        self.phase.is_none_or(|phase| phase == actor.phase)
            && self
                .min_age
                .is_none_or(|age| age_of(actor).is_some_and(|oldest| oldest >= age))
            && self
                .actor_type
                .as_ref()
                .is_none_or(|name| is_type(name, &actor.actor_type))
            && self.selects_urn(actor.urn.as_str())
    }

    /// True if the filter selects a URN.
    pub(crate) fn selects_urn(&self, urn: &str) -> bool {
        let pattern = self.urn.as_ref();
        pattern.is_none_or(|pattern| matches(pattern, urn))
    }
}

/// The age of the oldest message: one that waits, or the one whose handler runs, by the time since it began.
fn age_of(actor: &ActorSnapshot) -> Option<Duration> {
    actor.oldest.max(running(actor))
}

/// The time for which the handler has run.
fn running(actor: &ActorSnapshot) -> Option<Duration> {
    actor.running.as_ref().map(|running| running.elapsed)
}

/// True for the whole name of a type, and for its last part without generics.
fn is_type(name: &str, whole: &str) -> bool {
    let path = whole.split('<').next().unwrap_or(whole);
    whole == name || path.rsplit("::").next() == Some(name)
}

/// True if a text has a pattern: `*` stands for any text, `?` for one character. Takes at most the product of both
/// lengths, which are bounded.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // The rests behind the last star, and behind the text that it stands for.
    let mut star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut rest = pattern.clone();
        match (rest.next(), text.clone().next()) {
            (Some('*'), _) => {
                pattern = rest;
                star = Some((pattern.clone(), text.clone()));
                continue;
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                pattern = rest;
                text.next();
                continue;
            }
            _ => {}
        }
        // The last star stands for one character more.
        let Some((behind, from)) = &mut star else {
            return false;
        };
        if from.next().is_none() {
            return false;
        }
        pattern = behind.clone();
        text = from.clone();
    }
}

impl Sort {
    /// The order of two actors.
    pub(super) fn compare(self, a: &ActorSnapshot, b: &ActorSnapshot) -> Ordering {
        let order = match self {
            Self::Oldest => age_of(b).cmp(&age_of(a)),
            Self::Queued => b.queued.cmp(&a.queued),
            Self::Running => running(b).cmp(&running(a)),
            Self::Handled => b.handled.cmp(&a.handled),
            Self::Failures => b.failures.cmp(&a.failures),
            Self::Restarts => b.restarts.cmp(&a.restarts),
            Self::Name => Ordering::Equal,
        };
        order.then_with(|| a.urn.cmp(&b.urn))
    }

    /// The order of two types.
    pub(super) fn compare_types(self, a: &TypeSummary, b: &TypeSummary) -> Ordering {
        let order = match self {
            Self::Oldest => {
                let age = |of_type: &TypeSummary| of_type.oldest.max(of_type.longest_running);
                age(b).cmp(&age(a))
            }
            Self::Queued => b.queued.cmp(&a.queued),
            Self::Running => b.longest_running.cmp(&a.longest_running),
            Self::Handled => b.handled.cmp(&a.handled),
            Self::Failures => b.failures.cmp(&a.failures),
            Self::Restarts => b.restarts.cmp(&a.restarts),
            Self::Name => Ordering::Equal,
        };
        order.then_with(|| a.actor_type.cmp(&b.actor_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_texts() {
        for (pattern, text, selects) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("order/*", "order/17", true),
            ("order/*", "order", false),
            ("*/17", "a/17/17", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("größe/?", "größe/ä", true),
            ("?", "", false),
            ("**", "x", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), selects, "{pattern} {text}");
        }
        let (stars, text) = ("*a".repeat(127), "a".repeat(255));
        assert!(matches(&stars, &text));
        assert!(!matches(&format!("{stars}b"), &text));
    }

    #[test]
    fn types_are_named_by_their_last_part() {
        assert!(is_type("Order", "shop::order::Order"));
        assert!(is_type("Order", "shop::order::Order<a::B>"));
        assert!(is_type("shop::Order", "shop::Order"));
        assert!(!is_type("rder", "shop::Order"));
        assert!(!is_type("B", "shop::Order<a::B>"));
    }
}
