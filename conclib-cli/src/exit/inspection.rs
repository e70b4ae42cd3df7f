//! The ends of inspections and actions.

use conclib::error::Delivered;
use conclib::inspect::{ActionOutcome, InspectError, Refusal};

use super::{Exit, Failure, of_ask};

/// The failure of an inspection, which has changed nothing.
impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        let text = error.to_string();
        match error {
            InspectError::Node(_) => Self::usage(text),
            InspectError::NoResponder => Self::new(Exit::TryAgain, "no_responder", text).advise(
                "start the actor process, or name another one: --namespace, --node, --fleet",
            ),
            InspectError::Refused(refusal) => of_refusal(&refusal, text),
            InspectError::Timeout { .. } => Self::new(Exit::TryAgain, "timeout", text)
                .advise(
                    "its process may hang, or have died just now: `conclib status` tells once its lease has run out, \
                     after some seconds; or its version of conclib is too old for this",
                ),
            InspectError::Unavailable { reason, .. } => Self::of_bus(&reason, text),
            InspectError::Failed(error) => error.into(),
            InspectError::Unreadable { .. } => Self::new(Exit::Pointless, "unreadable", text)
                .advise("use the tool of the member's version"),
            _ => Self::new(Exit::TryAgain, "not_answered", text),
        }
    }
}

/// The failure of an action, which may have been executed.
pub(crate) fn of_action(error: InspectError) -> Failure {
    let is_not_executed = error.is_not_executed();
    let delivered = match &error {
        InspectError::Timeout { delivered, .. } | InspectError::Unavailable { delivered, .. } => {
            Some(*delivered)
        }
        InspectError::Failed(error) => Some(error.delivered()),
        _ => None,
    };
    let failed = match &error {
        InspectError::Failed(error) => Some(of_ask(error)),
        _ => None,
    };
    let mut failure = Failure::from(error);
    failure.delivered = delivered;
    if !is_not_executed && !matches!(failed, Some(Exit::Pointless | Exit::TryAgain)) {
        failure.exit = Exit::PerhapsExecuted;
        "it may have been executed: look before you repeat it".clone_into(&mut failure.advice);
        failure.delivered.get_or_insert(Delivered::Unknown);
    }
    failure
}

/// The failure of an action that was answered; none if it was executed, or has begun.
pub(crate) fn of_outcome(outcome: &ActionOutcome) -> Result<(), Failure> {
    let text = outcome.to_string();
    match outcome {
        ActionOutcome::Impossible { .. } => Err(Failure::new(Exit::Pointless, "impossible", text)),
        outcome if outcome.is_accepted() => Ok(()),
        _ => Err(Failure::new(Exit::PerhapsExecuted, "unknown_outcome", text)
            .advise("use the tool of the member's version")),
    }
}

fn of_refusal(refusal: &Refusal, text: String) -> Failure {
    match refusal {
        Refusal::NotAllowed { .. } => Failure::new(Exit::NotPermitted, "not_allowed", text)
            .advise("set CONCLIB_ADMIN=1 for the actor process, or `Config::allow_admin`"),
        Refusal::NoSuchActor { failed, .. } => {
            let failure = Failure::new(Exit::Pointless, "actor_not_found", text);
            match failed {
                None => failure.advise("`conclib ls` lists the actors"),
                Some(failed) => {
                    failure.advise(format!("the last one failed for good: {}", failed.reason))
                }
            }
        }
        Refusal::CursorExpired => Failure::new(Exit::TryAgain, "cursor_expired", text),
        Refusal::Ending => Failure::new(Exit::TryAgain, "ending", text),
        _ => Failure::new(Exit::Pointless, "refused", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_action_that_is_certainly_not_executed_may_be_tried_again() {
        let denied = || {
            InspectError::Refused(Refusal::NotAllowed {
                reason: "a reason".to_owned(),
            })
        };
        let gone = || {
            InspectError::Refused(Refusal::NoSuchActor {
                urn: "desk".parse().unwrap(),
                failed: None,
            })
        };
        for (error, asked, acted) in [
            (InspectError::NoResponder, 3, 3),
            (denied(), 8, 8),
            (gone(), 4, 4),
            (InspectError::Refused(Refusal::Ending), 3, 3),
            (InspectError::Failed(conclib::AskError::NoResponder), 3, 3),
            (InspectError::Failed(conclib::AskError::Closed), 5, 5),
        ] {
            assert_eq!(of_action(error.clone()).exit as u8, acted, "{error:?}");
            assert_eq!(Failure::from(error.clone()).exit as u8, asked, "{error:?}");
        }
    }

    #[test]
    fn impossible_actions_are_pointless() {
        let outcome = ActionOutcome::Impossible {
            reason: "it is not supervised".to_owned(),
        };
        let failure = of_outcome(&outcome).unwrap_err();
        assert_eq!(failure.exit, Exit::Pointless);
        assert!(failure.text.contains("it is not supervised"));
        assert_eq!(
            of_outcome(&ActionOutcome::Unknown).unwrap_err().exit,
            Exit::PerhapsExecuted
        );
    }
}
