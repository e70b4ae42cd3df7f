//! Patterns of URNs of actors on demand.

use std::fmt;

use crate::urn::Urn;

/// A pattern such as `order/*`: all URNs that begin with `order/` and go on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Box<str>);

/// The error of [`ActorSystem::on_demand`](crate::ActorSystem::on_demand).
///
/// ```
/// use conclib::prelude::*;
/// use conclib::system::OnDemandError;
///
/// # #[derive(Actor)]
/// # struct Order;
/// # #[handlers]
/// # impl Order {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), OnDemandError> {
/// let system = ActorSystem::new();
/// system.on_demand("order/*", |_| async { Order }).await?;
/// let again = system.on_demand("order/*", |_| async { Order }).await;
/// assert!(matches!(again, Err(OnDemandError::PatternTaken { pattern, .. }) if pattern == "order/*"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnDemandError {
    /// The pattern is no beginning of a URN with a `*` behind it.
    #[error("`{pattern}` is no pattern of URNs: {problem}")]
    #[non_exhaustive]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// The fault, and the remedy.
        problem: String,
    },
    /// The system has a factory for this pattern. (One that begins with the other may have its own: the
    /// longer one counts.)
    #[error("the pattern `{pattern}` is taken")]
    #[non_exhaustive]
    PatternTaken {
        /// The pattern.
        pattern: String,
    },
    /// The system is shutting down.
    #[error("the actor system is shutting down")]
    SystemClosed,
}

impl Pattern {
    /// Checks a pattern.
    pub(super) fn new(pattern: &str) -> Result<Self, OnDemandError> {
        let invalid = |problem: String| OnDemandError::InvalidPattern {
            pattern: pattern.chars().take(Urn::MAX_LEN).collect(),
            problem,
        };
        let Some(prefix) = pattern.strip_suffix('*') else {
            let problem = format!("it has no `*` at its end, as in `{pattern}*`");
            return Err(invalid(problem));
        };
        if prefix.contains('*') {
            return Err(invalid("it has a `*` before its end".to_owned()));
        }
        // Checked with its `*`, which stands for at least one character.
        Urn::new(pattern).map_err(|error| invalid(error.to_string()))?;
        Ok(Self(prefix.into()))
    }

    /// The beginning of the URNs.
    pub(super) fn prefix(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_a_prefix_with_a_star_behind_it() {
        for (pattern, prefix) in [("order/*", "order/"), ("*", ""), ("a*", "a")] {
            let pattern = Pattern::new(pattern).unwrap();
            assert_eq!(pattern.prefix(), prefix);
        }
        let too_long = format!("{}*", "a".repeat(Urn::MAX_LEN));
        for wrong in ["", "order", "*/order", "a*b*", "two words/*", &too_long] {
            let error = Pattern::new(wrong).unwrap_err();
            let says = error.to_string();
            assert!(says.contains("is no pattern of URNs"), "{says}");
        }
        let says = Pattern::new("order/").unwrap_err().to_string();
        assert!(says.ends_with("as in `order/*`"), "{says}");
    }
}
