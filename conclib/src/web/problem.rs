//! Errors as responses of `application/problem+json`. No text of an error of an ask goes into them: the
//! body is made of constants.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::bus::link::log_once::printable;
use crate::bus::link::urn_log::UrnLog;
use crate::error::{AskError, Delivered};

/// A response for an error of the application, in the format of those of
/// [asks](crate::web#problem-responses): `application/problem+json` (RFC 9457), not to be cached. The HTTP
/// client reads `detail`.
///
/// ```
/// use axum::http::StatusCode;
/// use axum::response::Result;
/// use conclib::web::problem;
///
/// fn seat(number: u32) -> Result<u32> {
///     if number > 100 {
///         return Err(problem(StatusCode::CONFLICT, "There are seats 1 to 100.").into());
///     }
///     Ok(number)
/// }
/// # assert!(seat(101).is_err());
/// ```
pub fn problem(status: StatusCode, detail: &str) -> Response {
    problem_with(status, detail, "")
}

/// The same with further JSON members, with a comma before each.
fn problem_with(status: StatusCode, detail: &str, members: &str) -> Response {
    let (code, title) = (
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
    );
    let detail = escaped(detail);
    let body = format!(
        r#"{{"type":"about:blank","title":"{title}","status":{code},"detail":"{detail}"{members}}}"#
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(CONTENT_TYPE, json);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A text within a JSON string (RFC 8259, section 7).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            // Writing to a string cannot fail.
            ..' ' => drop(write!(escaped, "\\u{:04x}", u32::from(character))),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// See [`web`](crate::web#problem-responses).
impl IntoResponse for AskError {
    fn into_response(self) -> Response {
        // Every status of an error is valid.
        let status = StatusCode::from_u16(self.http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let executed = executed(&self);
        log(&self, status, executed);
        let retry_after = self.retry_after();
        let detail = detail(status, executed, retry_after.is_some());
        let mut response = problem_with(status, detail, &format!(r#","executed":"{executed}""#));
        if let Some(pause) = retry_after {
            let seconds = HeaderValue::from(whole_seconds(pause));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

fn executed(error: &AskError) -> &'static str {
    match (error.delivered(), error) {
        (Delivered::No, _) => "no",
        (Delivered::Stored, _) => "eventually",
        (Delivered::Unknown, _)
        | (Delivered::Accepted, AskError::Timeout { .. } | AskError::Disconnected { .. }) => {
            "maybe"
        }
        (Delivered::Accepted, _) => "yes",
    }
}

fn detail(status: StatusCode, executed: &str, is_retryable: bool) -> &'static str {
    match (status, executed) {
        (StatusCode::NOT_FOUND, _) => "There is no such resource.",
        (StatusCode::BAD_REQUEST, _) => "The idempotency key must have 1 to 128 bytes.",
        (StatusCode::PAYLOAD_TOO_LARGE, _) => "The request is too large.",
        (StatusCode::UNPROCESSABLE_ENTITY, _) => {
            "The idempotency key was used before with other contents."
        }
        (_, "no") if is_retryable => "The request was not executed. Try again later.",
        (_, "no") => "The request was not executed.",
        (_, "eventually") => {
            "The request is stored: it was executed, or will be. Its result is not available yet."
        }
        (_, "yes") => "The request was executed, and its result is not available.",
        _ => "The request may have been executed.",
    }
}

/// A time in whole seconds, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    let begun = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(begun)
}

/// The errors of URNs without an actor, each of which has its URN in its text. Any HTTP client can cause
/// them, at any rate.
static ABSENCES: LazyLock<UrnLog> = LazyLock::new(UrnLog::default);

/// Logs the whole error, of which the response says nothing.
fn log(error: &AskError, status: StatusCode, executed: &str) {
    const HINT: &str = "further ones for this URN are logged as debug for a minute. A URN that is fixed in the \
                        program is misspelt, or its ask needs `missing_is_unavailable()`";
    const TEXT: &str = "an ask ended without a response: replying with an error status";
    let (status, text) = (status.as_u16(), printable(&error.to_string()));
    match Severity::of(error) {
        Severity::Fault => {
            error!(target: "conclib::web", error = %text, status, executed, "{TEXT}");
        }
        Severity::Absence => match ABSENCES.admit(&text, Instant::now()) {
            Some(omitted) => {
                info!(target: "conclib::web", error = %text, status, executed, omitted, "{TEXT}; {HINT}");
            }
            None => {
                debug!(target: "conclib::web", error = %text, status, executed, "{TEXT}");
            }
        },
        Severity::Outage => {
            warn!(target: "conclib::web", error = %text, status, executed, "{TEXT}");
        }
        Severity::Client => {
            debug!(target: "conclib::web", error = %text, status, executed, "{TEXT}");
        }
    }
}

/// Says on which level an error is logged.
#[derive(Debug, PartialEq, Eq)]
enum Severity {
    /// A program is at fault, and goes on being so.
    Fault,
    /// Something is away, or too slow, for a while.
    Outage,
    /// The HTTP client asked for what does not exist, or the program misspells a URN.
    Absence,
    /// The HTTP client sent too much, or a key that does not do.
    Client,
}

impl Severity {
    fn of(error: &AskError) -> Self {
        match error {
            AskError::ActorFailed { .. }
            | AskError::Unhandled { .. }
            | AskError::Failed { .. }
            | AskError::NoReply
            | AskError::AskCycle { .. }
            | AskError::BadRequest { .. }
            | AskError::BadResponse { .. }
            | AskError::Incompatible { .. } => Self::Fault,
            AskError::NoResponder
            | AskError::ActorUnavailable { .. }
            | AskError::Overloaded { .. }
            | AskError::Timeout { .. }
            | AskError::ActorStopped
            | AskError::Unavailable { .. }
            | AskError::Disconnected { .. }
            | AskError::Closed => Self::Outage,
            AskError::ActorNotFound { .. } | AskError::InvalidUrn { .. } => Self::Absence,
            AskError::InvalidKey { .. }
            | AskError::KeyReused { .. }
            | AskError::TooLarge { .. } => Self::Client,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::error::http::tests::all_errors;

    const SECRET: &str = "s3cr3t";

    /// The body, whose bytes are there at once.
    fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).now_or_never();
        String::from_utf8(bytes.unwrap().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn texts_of_an_application_are_escaped() {
        let response = problem(StatusCode::CONFLICT, "\"seat\\7\"\né");
        assert_eq!(response.status(), 409);
        let expected = r#""status":409,"detail":"\"seat\\7\"\u000aé"}"#;
        let body = body(response);
        assert!(body.ends_with(expected), "{body}");
    }

    #[test]
    fn no_text_of_an_error_is_in_its_response() {
        for error in all_errors(SECRET) {
            let shown = format!("{error:?}");
            let status = error.http_status();
            let severity = Severity::of(&error);
            let is_quiet = matches!(severity, Severity::Absence | Severity::Client);
            assert_eq!(is_quiet, status < 500, "{shown}");
            let retry_after = error.retry_after().map(|_| "1");
            let response = error.into_response();
            assert_eq!(response.status(), status, "{shown}");
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
            let sent = headers
                .get(RETRY_AFTER)
                .map(|value| value.to_str().unwrap());
            assert_eq!(sent, retry_after, "{shown}");
            assert!(!format!("{headers:?}").contains(SECRET), "{shown}");
            let body = body(response);
            assert!(!body.contains(SECRET), "{shown}: {body}");
            let code = format!(r#","status":{status},"detail":""#);
            assert!(body.contains(&code), "{body}");
        }
    }

    #[test]
    fn body_is_a_problem_of_rfc_9457() {
        let late = AskError::Timeout {
            delivered: Delivered::Accepted,
        };
        let expected = r#"{"type":"about:blank","title":"Gateway Timeout","status":504,"detail":"The request may have been executed.","executed":"maybe"}"#;
        assert_eq!(body(late.into_response()), expected);
        for (error, executed) in [
            (AskError::NoResponder, "no"),
            (AskError::Closed, "maybe"),
            (AskError::NoReply, "yes"),
            (
                AskError::Timeout {
                    delivered: Delivered::Stored,
                },
                "eventually",
            ),
        ] {
            let member = format!(r#""executed":"{executed}"}}"#);
            assert!(body(error.into_response()).ends_with(&member));
        }
    }

    #[test]
    fn pauses_are_rounded_up_to_whole_seconds() {
        let seconds = [0, 1, 999, 1000, 1001].map(|ms| whole_seconds(Duration::from_millis(ms)));
        assert_eq!(seconds, [0, 1, 1, 1, 2]);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
