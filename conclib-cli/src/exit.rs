//! Exit codes: what became of the request, in conclib's own terms.

use std::fmt;
use std::process::ExitCode;

use conclib::AskError;
use conclib::bus::ConnectError;
use conclib::durable::DeadLetterError;
use conclib::error::{AskErrorKind, Delivered};
use conclib::monitor::MonitorError;
use serde::Serialize;

pub(crate) use inspection::{of_action, of_outcome};

mod inspection;

/// An exit code of the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// The response is an `Err`, and `--fail-on-err` was given.
    AnswerIsErr = 1,
    /// The arguments or the settings are wrong.
    Usage = 2,
    /// Not executed; it may succeed when it is tried again.
    TryAgain = 3,
    /// Not executed, and trying again is pointless.
    Pointless = 4,
    /// Perhaps executed.
    PerhapsExecuted = 5,
    /// Executed, and failed.
    Failed = 6,
    /// A threshold is exceeded.
    Threshold = 7,
    /// The user of Redis lacks the permission; not executed.
    NotPermitted = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The end of a command that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// A stable name, as in `--json`.
    pub(crate) kind: &'static str,
    /// Empty if the output says it already.
    pub(crate) text: String,
    /// The remedy, if one is known.
    pub(crate) advice: String,
    /// The progress of the request, if there was one.
    pub(crate) delivered: Option<Delivered>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            exit,
            kind,
            text: text.into(),
            advice: String::new(),
            delivered: None,
        }
    }

    /// A mistake in the arguments.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", text)
    }

    /// An end whose reason is in the output.
    pub(crate) fn silent(exit: Exit, kind: &'static str) -> Self {
        Self::new(exit, kind, "")
    }

    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The same with the remedy for a want of rights: the role that the command needs.
    pub(crate) fn for_role(mut self, role: &str) -> Self {
        if self.kind == "not_permitted"
            || (self.exit == Exit::NotPermitted && self.advice.is_empty())
        {
            self.advice = if ["NOAUTH", "WRONGPASS"]
                .iter()
                .any(|word| self.text.contains(word))
            {
                "check user and password: `redis://USER:PASSWORD@HOST`, or the files that hold them"
                    .to_owned()
            } else {
                format!(
                    "use a user of Redis that has the role: `conclib acl {role}` prints its rules"
                )
            };
        }
        self
    }

    /// The error of a bus with this reason.
    pub(crate) fn of_bus(reason: &str, text: String) -> Self {
        if is_denied(reason) {
            let text = format!("Redis does not permit it: {}", without_rules(reason));
            return Self::new(Exit::NotPermitted, "not_permitted", text);
        }
        Self::new(Exit::TryAgain, "unavailable", text)
            .advise("check the address (`--redis`, CONCLIB_REDIS_URL) and Redis: `conclib doctor`")
    }
}

/// The text without the rules of a role: a user of the tool needs another user, and not another role for the same
/// one, which may be that of an application.
fn without_rules(text: &str) -> String {
    let kept = text.split_once(". The rules of its role mend that");
    kept.map_or(text, |(kept, _)| kept).to_owned()
}

/// True for a refusal of Redis for want of a permission or a password.
fn is_denied(reason: &str) -> bool {
    ["NOPERM", "NOAUTH", "WRONGPASS"]
        .iter()
        .any(|word| reason.contains(word))
}

/// The exit code of an ask that has ended with this error.
pub(crate) fn of_ask(error: &AskError) -> Exit {
    if let AskError::Unavailable { reason } = error
        && is_denied(reason)
    {
        return Exit::NotPermitted;
    }
    if error.is_retryable() {
        return Exit::TryAgain;
    }
    match (error.kind(), error.delivered()) {
        (_, Delivered::No) => Exit::Pointless,
        (AskErrorKind::Failed | AskErrorKind::NoReply | AskErrorKind::BadResponse, _) => {
            Exit::Failed
        }
        _ => Exit::PerhapsExecuted,
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let kind = error.kind();
        let mut failure = Self::new(of_ask(&error), kind.as_str(), error.to_string());
        if let (Exit::NotPermitted, AskError::Unavailable { reason }) = (failure.exit, &error) {
            failure = Self::of_bus(reason, failure.text);
        }
        failure.delivered = Some(error.delivered());
        let advice = advice(kind, failure.exit);
        failure.advise(advice)
    }
}

/// The remedy for an ask that has ended like this.
fn advice(kind: AskErrorKind, exit: Exit) -> &'static str {
    match (kind, exit) {
        (_, Exit::NotPermitted) => "", // for_role
        (AskErrorKind::NoResponder, _) => {
            "start the actor process, or name another one: `--namespace`, `--node`, `--fleet`; \
             `conclib status` shows who serves"
        }
        (AskErrorKind::ActorNotFound, _) => "check the URN: `conclib ls` lists the actors",
        (AskErrorKind::ActorFailed, _) => {
            "read why it failed: `conclib failures`; start its process again"
        }
        (AskErrorKind::Unhandled, _) => "check the name of the message: `conclib actor URN`",
        (AskErrorKind::BadRequest, _) => "check the fields of the message, and its options",
        (AskErrorKind::Overloaded, _) => "try again later; `conclib status` shows the queues",
        (AskErrorKind::Unavailable, _) => "check Redis: `conclib doctor`",
        (AskErrorKind::Timeout, Exit::PerhapsExecuted) => {
            "its handler may have run, or run still: look before you repeat it; `--timeout` waits longer"
        }
        (_, Exit::PerhapsExecuted) => "it may have been executed: look before you repeat it",
        _ => "",
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let text = error.to_string();
        match error {
            ConnectError::Config(_) => Self::usage(text),
            ConnectError::Unreachable { reason, .. } | ConnectError::Unavailable { reason, .. } => {
                Self::of_bus(&reason, text)
            }
            _ => Self::new(Exit::Pointless, "not_connected", text),
        }
    }
}

impl From<MonitorError> for Failure {
    fn from(error: MonitorError) -> Self {
        let text = error.to_string();
        match error {
            MonitorError::NotPermitted(reason) => {
                let mut failure = Self::of_bus(&reason, text);
                // Also a command that Redis does not have.
                failure.exit = Exit::NotPermitted;
                failure.kind = "not_permitted";
                failure
            }
            MonitorError::Unavailable(reason) => Self::of_bus(&reason, text),
            _ => Self::new(Exit::TryAgain, "unavailable", text),
        }
    }
}

impl From<DeadLetterError> for Failure {
    fn from(error: DeadLetterError) -> Self {
        let text = error.to_string();
        match error {
            DeadLetterError::Unavailable(reason) => Self::of_bus(&reason, text),
            _ => Self::new(Exit::PerhapsExecuted, "disconnected", text)
                .advise("list the dead letters again: a message is handled once all the same"),
        }
    }
}

/// As an object of JSON.
impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Object<'a> {
            error: &'a str,
            text: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            advice: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            delivered: Option<&'static str>,
            exit: u8,
        }
        Object {
            error: self.kind,
            text: &self.text,
            advice: &self.advice,
            delivered: self.delivered.map(Delivered::as_str),
            exit: self.exit as u8,
        }
        .serialize(serializer)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if !self.advice.is_empty() {
            write!(f, "\n  try: {}", self.advice)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_error_of_an_ask_has_its_code() {
        use Delivered::{Accepted, No, Stored, Unknown};
        let urn: conclib::Urn = "desk".parse().unwrap();
        let text = || "a reason".to_owned();
        let timeout = |delivered| AskError::Timeout { delivered };
        let disconnected = |delivered| AskError::Disconnected { delivered };
        let table = [
            (AskError::NoResponder, 3),
            (AskError::ActorNotFound { urn: urn.clone() }, 4),
            (AskError::ActorFailed { urn: urn.clone() }, 4),
            (
                AskError::ActorUnavailable {
                    urn: urn.clone(),
                    has_failed: false,
                },
                3,
            ),
            (
                AskError::Unhandled {
                    urn: urn.clone(),
                    message: text(),
                },
                4,
            ),
            (
                AskError::Overloaded {
                    retry_after: Duration::from_millis(50),
                },
                3,
            ),
            (timeout(No), 3),
            (timeout(Accepted), 5),
            (timeout(Stored), 5),
            (timeout(Unknown), 5),
            (AskError::Failed { cause: None }, 6),
            (AskError::ActorStopped, 5),
            (AskError::NoReply, 6),
            (AskError::AskCycle { chain: vec![urn] }, 5),
            (AskError::InvalidUrn { reason: text() }, 4),
            (AskError::InvalidKey { size: 0, limit: 1 }, 4),
            (AskError::KeyReused { key: text() }, 4),
            (AskError::BadRequest { reason: text() }, 4),
            (AskError::BadResponse { reason: text() }, 6),
            (AskError::TooLarge { size: 2, limit: 1 }, 4),
            (AskError::Unavailable { reason: text() }, 3),
            (
                AskError::Unavailable {
                    reason: "NOPERM this user has no permissions".to_owned(),
                },
                8,
            ),
            (disconnected(No), 3),
            (disconnected(Accepted), 5),
            (disconnected(Unknown), 5),
            (AskError::Incompatible { reason: text() }, 4),
            (AskError::Closed, 5),
        ];
        for (error, code) in &table {
            assert_eq!(of_ask(error) as u8, *code, "{error:?}");
            // Not executed is said only where that is certain.
            let is_certain = matches!(code, 3 | 4 | 8);
            assert_eq!(is_certain, error.delivered() == No, "{error:?}");
        }
        let kinds: std::collections::HashSet<_> =
            table.iter().map(|(error, _)| error.kind()).collect();
        assert_eq!(kinds.len(), 21, "a kind is missing");
    }

    #[test]
    fn denials_of_redis_are_known() {
        for reason in [
            "NOPERM no",
            "it said: WRONGPASS",
            "NOAUTH Authentication required.",
        ] {
            assert_eq!(
                Failure::of_bus(reason, String::new()).exit,
                Exit::NotPermitted
            );
        }
        assert_eq!(
            Failure::of_bus("refused", String::new()).exit,
            Exit::TryAgain
        );
    }
}
