//! Errors of asks and tells, and failures of actors.

pub use crate::urn::UrnError;
pub(crate) use ask::RETRY_AFTER;
pub use ask::{AskError, Delivered};
pub use child_failure::ChildFailure;
pub use failure::Failure;
pub use failure_cause::FailureCause;
pub use kind::AskErrorKind;
#[cfg(feature = "bus")]
pub(crate) use outcomes::OutcomeCounters;
#[cfg(feature = "bus")]
pub(crate) use outcomes::{ErrorCount, OutcomeCounts};
pub use tell::TellError;

#[cfg(feature = "bus")]
pub(crate) use failure_cause::cut;

mod ask;
mod child_failure;
mod failure;
mod failure_cause;
pub(crate) mod failure_text;
pub(crate) mod http;
mod kind;
#[cfg(feature = "bus")]
pub(crate) mod outcomes;
pub(crate) mod panics;
mod tell;
