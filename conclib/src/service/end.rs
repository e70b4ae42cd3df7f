//! The end of a service, and its exit code.

use std::fmt;
use std::io::Write;
use std::process::{ExitCode, Termination};

use tracing::field::display;
use tracing::info;

use crate::Urn;
use crate::bus::ConfigError;
use crate::error::Failure;
use crate::system::{ActorFailure, ShutdownReport};

/// `EX_TEMPFAIL`: the same process may succeed when it is started again.
const TRY_AGAIN: u8 = 75;

/// The process was replaced, and is not to be started again.
const REPLACED: u8 = 76;

/// `EX_CONFIG`.
const WRONG_CONFIG: u8 = 78;

/// The outcome of [`run`](crate::service::run): a `main` that returns it ends with its
/// [exit code](Self::exit_code). Any other end than a clean one is also written to the standard error.
#[derive(Debug)]
#[must_use = "return it from `main`, or look at its exit code"]
pub struct RunEnd {
    cause: EndCause,
    report: ShutdownReport,
    /// A second signal ended the shutdown.
    was_interrupted: bool,
}

/// The reason for which a service has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EndCause {
    /// A signal came, or the program shut the system down.
    #[error("it was asked to stop")]
    Stopped,
    /// A setting is wrong.
    #[error(transparent)]
    Config(ConfigError),
    /// The actors could not be made.
    #[error("it could not start: {0}")]
    StartFailed(Failure),
    /// An essential actor has ended, or one has failed that escalates. The text includes its failure.
    #[error("{}", with_failure(.0))]
    ActorEnded(ActorFailure),
    /// The lease was lost, and another system has served the node since.
    #[error("the lease was lost, and another actor system has served the node since")]
    LeaseLost,
    /// A younger process of the same instance has taken its place.
    #[error("a younger process of the same instance serves the node")]
    Replaced,
}

/// The text of an actor's end with its failure, which its own text leaves to its source.
fn with_failure(end: &ActorFailure) -> String {
    match end.reason.failure() {
        Some(failure) => format!("{end}: {failure}"),
        None => end.to_string(),
    }
}

impl RunEnd {
    pub(super) fn new(cause: EndCause, report: ShutdownReport) -> Self {
        Self {
            cause,
            report,
            was_interrupted: false,
        }
    }

    /// The end of a service whose system was never made.
    pub(super) fn before_start(cause: EndCause) -> Self {
        Self::new(cause, ShutdownReport::default())
    }

    /// The end of a service whose shutdown a second signal has ended.
    pub(super) fn interrupted(cause: EndCause) -> Self {
        Self {
            was_interrupted: true,
            ..Self::before_start(cause)
        }
    }

    /// Logs the end of a service that had its turn, or waited for it.
    pub(super) fn logged(self, node: &str) -> Self {
        let urns = |urns: &[Urn]| (!urns.is_empty()).then(|| display(joined(urns)));
        info!(
            %node,
            exit_code = self.exit_code(),
            cause = %self.cause,
            killed = urns(&self.report.killed),
            stuck = urns(&self.report.stuck),
            "the service has ended"
        );
        self
    }

    /// The reason of the end.
    pub fn cause(&self) -> &EndCause {
        &self.cause
    }

    /// The actors that did not stop by themselves.
    pub fn report(&self) -> &ShutdownReport {
        &self.report
    }

    /// The exit code of the process: see [`run`](crate::service::run).
    pub fn exit_code(&self) -> u8 {
        match self.cause {
            EndCause::Stopped => u8::from(self.was_interrupted || !self.report.is_clean()),
            EndCause::StartFailed(_) | EndCause::ActorEnded(_) => 1,
            EndCause::LeaseLost => TRY_AGAIN,
            EndCause::Replaced => REPLACED,
            EndCause::Config(_) => WRONG_CONFIG,
        }
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the service ended: {}", self.cause)?;
        if self.was_interrupted {
            f.write_str("; a second signal ended its shutdown")?;
        }
        for (list, outcome) in [
            (&self.report.killed, "had to be killed"),
            (&self.report.stuck, "still run"),
        ] {
            if !list.is_empty() {
                write!(f, "; these actors {outcome}: {}", joined(list))?;
            }
        }
        Ok(())
    }
}

/// The names of actors: "`a` `b`".
fn joined(urns: &[Urn]) -> String {
    let urns: Vec<_> = urns.iter().map(|urn| format!("`{urn}`")).collect();
    urns.join(" ")
}

impl Termination for RunEnd {
    fn report(self) -> ExitCode {
        let code = self.exit_code();
        if code != 0 {
            drop(writeln!(std::io::stderr(), "{self}")); // it may be closed
        }
        code.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_and_text_say_how_the_service_ended() {
        let report = |killed: &[&'static str]| {
            let killed = killed.iter().map(|urn| Urn::new(*urn).unwrap());
            ShutdownReport {
                killed: killed.collect(),
                ..ShutdownReport::default()
            }
        };
        let clean = RunEnd::new(EndCause::Stopped, report(&[]));
        assert_eq!(clean.exit_code(), 0);
        let overran = RunEnd::new(EndCause::Stopped, report(&["a", "b"]));
        assert_eq!(overran.exit_code(), 1);
        assert_eq!(
            overran.to_string(),
            "the service ended: it was asked to stop; these actors had to be killed: `a` `b`"
        );
        assert_eq!(RunEnd::interrupted(EndCause::Stopped).exit_code(), 1);
        for (cause, code) in [
            (EndCause::StartFailed(Failure::msg("no disk")), 1),
            (EndCause::LeaseLost, 75),
            (EndCause::Replaced, 76),
        ] {
            assert_eq!(RunEnd::before_start(cause).exit_code(), code);
        }
    }
}
