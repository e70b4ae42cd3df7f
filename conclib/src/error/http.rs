//! Errors of asks as HTTP says them: a status, and the time until a repetition.

use std::time::Duration;

use super::{AskError, Delivered};

/// The pause recommended where nothing is known about the length of an outage: a connection to Redis
/// is tried again after 1.6 s at most, and a process that waits for the lease has it after 0.2 s.
const OUTAGE: Duration = Duration::from_secs(1);

impl AskError {
    /// The status code with which a web server replies when an ask ends with this error.
    ///
    /// | status | errors | the request |
    /// |---|---|---|
    /// | 400 Bad Request | `InvalidKey` | was not executed |
    /// | 404 Not Found | `ActorNotFound`, `InvalidUrn` | was not executed |
    /// | 413 Content Too Large | `TooLarge` | was not executed |
    /// | 422 Unprocessable Content | `KeyReused` | was not executed |
    /// | 500 Internal Server Error | `ActorFailed` | was not executed |
    /// | 500 | `Failed`, `NoReply` | was executed |
    /// | 500 | `AskCycle` | may have been executed |
    /// | 502 Bad Gateway | `Unhandled`, `BadRequest`, `Incompatible` | was not executed |
    /// | 502 | `BadResponse` | was executed |
    /// | 502 | `ActorStopped`, `Closed`, `Disconnected` | may have been executed |
    /// | 503 Service Unavailable | `NoResponder`, `Overloaded`, `Unavailable`, `ActorUnavailable`, `Timeout` and `Disconnected` with [`Delivered::No`] | was not executed: try again, see [`retry_after`](Self::retry_after) |
    /// | 504 Gateway Timeout | any other `Timeout` | may have been executed; with [`Delivered::Stored`] it will be |
    ///
    /// A URN that is made from the path of a request may name nothing, or be none: hence 404. A URN that is fixed
    /// in the program names an actor that is starting or being replaced: use
    /// [`missing_is_unavailable`](Self::missing_is_unavailable), which makes it a 503. `Unhandled`,
    /// `BadRequest` and `Incompatible` mean that two processes are of different versions, which is no
    /// fault of the HTTP client.
    ///
    /// ```
    /// use conclib::AskError;
    /// use std::time::Duration;
    ///
    /// let busy = AskError::Overloaded { retry_after: Duration::from_millis(50) };
    /// assert_eq!(busy.http_status(), 503);
    /// assert_eq!(AskError::Failed { cause: None }.http_status(), 500);
    /// ```
    ///
    /// With the feature `axum` an `AskError` is a response of that status: see `conclib::web`.
    pub const fn http_status(&self) -> u16 {
        use Delivered::{Accepted, No, Stored, Unknown};
        match self {
            Self::InvalidKey { .. } => 400,
            Self::ActorNotFound { .. } | Self::InvalidUrn { .. } => 404,
            Self::TooLarge { .. } => 413,
            Self::KeyReused { .. } => 422,
            Self::ActorFailed { .. }
            | Self::Failed { .. }
            | Self::NoReply
            | Self::AskCycle { .. } => 500,
            Self::Unhandled { .. }
            | Self::BadRequest { .. }
            | Self::BadResponse { .. }
            | Self::Incompatible { .. }
            | Self::ActorStopped
            | Self::Closed => 502,
            Self::NoResponder
            | Self::Overloaded { .. }
            | Self::Unavailable { .. }
            | Self::ActorUnavailable { .. } => 503,
            Self::Timeout { delivered } => match delivered {
                No => 503,
                Accepted | Stored | Unknown => 504,
            },
            Self::Disconnected { delivered } => match delivered {
                No => 503,
                Accepted | Stored | Unknown => 502,
            },
        }
    }

    /// The time after which a request that was certainly not executed is worth another try: as
    /// [`Overloaded`](Self::Overloaded) says, and 1 s after other errors. `None` if the request may
    /// have been executed, or repeating it is pointless.
    ///
    /// ```
    /// use conclib::error::Delivered;
    /// use conclib::AskError;
    /// use std::time::Duration;
    ///
    /// assert_eq!(AskError::NoResponder.retry_after(), Some(Duration::from_secs(1)));
    /// let late = AskError::Timeout { delivered: Delivered::Accepted };
    /// assert_eq!(late.retry_after(), None);
    /// ```
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } => Some(*retry_after),
            Self::NoResponder | Self::Unavailable { .. } | Self::ActorUnavailable { .. } => {
                Some(OUTAGE)
            }
            Self::Timeout { delivered } | Self::Disconnected { delivered } => match delivered {
                Delivered::No => Some(OUTAGE),
                Delivered::Accepted | Delivered::Stored | Delivered::Unknown => None,
            },
            Self::ActorNotFound { .. }
            | Self::ActorFailed { .. }
            | Self::Unhandled { .. }
            | Self::Failed { .. }
            | Self::ActorStopped
            | Self::NoReply
            | Self::AskCycle { .. }
            | Self::InvalidUrn { .. }
            | Self::InvalidKey { .. }
            | Self::KeyReused { .. }
            | Self::BadRequest { .. }
            | Self::BadResponse { .. }
            | Self::TooLarge { .. }
            | Self::Incompatible { .. }
            | Self::Closed => None,
        }
    }

    /// Converts [`ActorNotFound`](Self::ActorNotFound) and [`ActorFailed`](Self::ActorFailed) into
    /// [`ActorUnavailable`](Self::ActorUnavailable), which is retryable and has the status 503; leaves
    /// other errors as they are.
    ///
    /// For asks whose URN is fixed in the program: there the absence of the actor is a state of the
    /// service that will pass, not a mistake in a URL. [`RemoteAsk`](crate::bus::RemoteAsk) has a method
    /// of the same name; for a local ask:
    ///
    /// ```
    /// # use conclib::prelude::*;
    /// # #[derive(ActorMessage)]
    /// # #[message(local, response = u32)]
    /// # struct Count;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let system = ActorSystem::new();
    /// let asked = system.ask("counter", Count).await;
    /// let error = asked.map_err(AskError::missing_is_unavailable).unwrap_err();
    /// assert_eq!(error.http_status(), 503);
    /// assert_eq!(error.to_string(), "the actor `counter` is unavailable: no actor has this URN");
    /// # }
    /// ```
    #[must_use]
    pub fn missing_is_unavailable(self) -> Self {
        let (urn, has_failed) = match self {
            Self::ActorNotFound { urn } => (urn, false),
            Self::ActorFailed { urn } => (urn, true),
            other => return other,
        };
        Self::ActorUnavailable { urn, has_failed }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::error::FailureCause;
    use crate::urn::Urn;

    /// One error of each kind and progress. Each text, URN and name in them has `word` in it.
    pub(crate) fn all_errors(word: &str) -> Vec<AskError> {
        use Delivered::{Accepted, No, Stored, Unknown};
        let (urn, reason) = (Urn::new(word).unwrap(), word.to_owned());
        let retry_after = Duration::from_millis(1);
        let mut all = vec![
            AskError::NoResponder,
            AskError::ActorNotFound { urn: urn.clone() },
            AskError::ActorFailed { urn: urn.clone() },
            AskError::ActorUnavailable {
                urn: urn.clone(),
                has_failed: true,
            },
            AskError::Unhandled {
                urn: urn.clone(),
                message: reason.clone(),
            },
            AskError::Overloaded { retry_after },
            AskError::Failed { cause: None },
            AskError::Failed {
                cause: Some(FailureCause::new(urn.clone(), &reason)),
            },
            AskError::ActorStopped,
            AskError::NoReply,
            AskError::AskCycle { chain: vec![urn] },
            AskError::InvalidUrn {
                reason: reason.clone(),
            },
            AskError::InvalidKey { size: 0, limit: 1 },
            AskError::KeyReused {
                key: reason.clone(),
            },
            AskError::BadRequest {
                reason: reason.clone(),
            },
            AskError::BadResponse {
                reason: reason.clone(),
            },
            AskError::TooLarge { size: 2, limit: 1 },
            AskError::Unavailable {
                reason: reason.clone(),
            },
            AskError::Incompatible { reason },
            AskError::Closed,
        ];
        for delivered in [No, Accepted, Stored, Unknown] {
            all.push(AskError::Timeout { delivered });
            all.push(AskError::Disconnected { delivered });
        }
        all
    }

    #[test]
    fn retryable_errors_are_those_with_503_and_a_time_to_wait() {
        for error in all_errors("word") {
            let is_retryable = error.is_retryable();
            assert_eq!(error.retry_after().is_some(), is_retryable, "{error:?}");
            assert_eq!(error.http_status() == 503, is_retryable, "{error:?}");
            assert!(!is_retryable || error.delivered() == Delivered::No);
        }
    }

    #[test]
    fn missing_actors_are_unavailable_and_others_stay() {
        for error in all_errors("word") {
            let converted = error.clone().missing_is_unavailable();
            if matches!(
                error,
                AskError::ActorNotFound { .. } | AskError::ActorFailed { .. }
            ) {
                assert_eq!(converted.http_status(), 503);
                assert_eq!(converted.delivered(), Delivered::No);
            } else {
                assert_eq!(converted, error);
            }
        }
        let failed = AskError::ActorFailed {
            urn: Urn::new("desk").unwrap(),
        };
        let text = failed.missing_is_unavailable().to_string();
        assert_eq!(
            text,
            "the actor `desk` is unavailable: it failed and will not start again"
        );
    }
}
