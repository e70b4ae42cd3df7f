//! The time limit of an HTTP request, from a header.

use std::time::Duration;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use tokio::time::Instant;
use tracing::debug;

use super::problem::problem;

/// The moment at which the sender of an HTTP request stops waiting, as an extractor.
///
/// The request says it in a header: `Request-Timeout: 2.5`, in seconds, unless a [`DeadlineHeader`]
/// among the request's extensions names another. A length, not a moment, since the clocks of two
/// machines differ; it counts from when axum calls the handler. Without the header there is no limit,
/// and the timeout of the ask holds alone. A header that is no such number is replied to with 400.
///
/// [`RemoteAsk::deadline`](crate::bus::RemoteAsk::deadline) takes it. It goes along with the request: an
/// actor does not begin on it afterwards, and the asks that its handler makes end by it as well.
///
/// ```
/// # use conclib::prelude::*;
/// use axum::extract::State;
/// use conclib::web::Deadline;
///
/// # #[derive(ActorMessage, Serialize, Deserialize)]
/// # #[message(response = String)]
/// # struct Report;
/// async fn report(client: ProxyClient, deadline: Deadline) -> Result<String, AskError> {
///     client.ask("reporter", Report).deadline(deadline).await
/// }
/// # let _: axum::Router<ProxyClient> = axum::Router::new().route("/", axum::routing::get(report));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// The moment; `None` if the request has no limit.
    pub fn at(self) -> Option<Instant> {
        self.0
    }

    /// The time that is left, such as for the timeout of a local ask; `None` if the request has no
    /// limit.
    pub fn remaining(self) -> Option<Duration> {
        self.0
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl From<Deadline> for Option<Instant> {
    fn from(deadline: Deadline) -> Self {
        deadline.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Deadline {
    type Rejection = InvalidDeadline;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, InvalidDeadline> {
        match parts.extensions.get::<DeadlineHeader>() {
            Some(header) => header.read(&parts.headers),
            None => DeadlineHeader::default().read(&parts.headers),
        }
    }
}

/// The header that has a request's [`Deadline`], and the longest limit that it may set: by default
/// `Request-Timeout`, in seconds, up to a minute. Longer ones are cut.
///
/// No standard names such a header. This one follows `Retry-After` and `max-age`, which count
/// seconds, with up to three decimals as in RFC 9651. Envoy sends milliseconds:
///
/// ```
/// use axum::http::HeaderName;
/// use axum::{Extension, Router};
/// use conclib::web::DeadlineHeader;
/// use std::time::Duration;
///
/// let envoy = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// let header = DeadlineHeader::millis(envoy).at_most(Duration::from_secs(15));
/// let app: Router = Router::new().layer(Extension(header));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadlineHeader {
    name: HeaderName,
    unit: Unit,
    longest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds,
    Millis,
}

impl DeadlineHeader {
    /// A header with seconds: `2`, or `2.5`, with up to three decimals.
    pub fn seconds(name: HeaderName) -> Self {
        Self::new(name, Unit::Seconds)
    }

    /// A header with whole milliseconds.
    pub fn millis(name: HeaderName) -> Self {
        Self::new(name, Unit::Millis)
    }

    fn new(name: HeaderName, unit: Unit) -> Self {
        Self {
            name,
            unit,
            longest: Duration::from_secs(60),
        }
    }

    /// The longest limit that a request may set; longer ones are cut. A minute unless set.
    #[must_use]
    pub fn at_most(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    fn read(&self, headers: &HeaderMap) -> Result<Deadline, InvalidDeadline> {
        let mut values = headers.get_all(&self.name).iter();
        let Some(value) = values.next() else {
            return Ok(Deadline(None));
        };
        let limit = value.to_str().ok().and_then(|text| self.unit.parse(text));
        match limit {
            Some(limit) if values.next().is_none() => {
                let limit = limit.min(self.longest);
                Ok(Deadline(Instant::now().checked_add(limit)))
            }
            _ => Err(InvalidDeadline {
                header: self.clone(),
            }),
        }
    }
}

impl Default for DeadlineHeader {
    fn default() -> Self {
        Self::seconds(HeaderName::from_static("request-timeout"))
    }
}

impl Unit {
    fn parse(self, text: &str) -> Option<Duration> {
        match (self, text.split_once('.')) {
            (Self::Millis, None) => number(text, 15).map(Duration::from_millis),
            (Self::Millis, Some(_)) => None,
            (Self::Seconds, None) => number(text, 12).map(Duration::from_secs),
            (Self::Seconds, Some((whole, decimals))) => {
                let millis =
                    number(&format!("{decimals:0<3}"), 3).filter(|_| !decimals.is_empty())?;
                Some(Duration::from_secs(number(whole, 12)?) + Duration::from_millis(millis))
            }
        }
    }
}

/// A number of 1 to `most` decimal digits.
fn number(digits: &str, most: usize) -> Option<u64> {
    let is_number =
        (1..=most).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// The error of a request whose [`Deadline`] cannot be read: a response with status 400, in
/// `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header `{}` must have a number of {}", header.name, header.unit.example())]
pub struct InvalidDeadline {
    header: DeadlineHeader,
}

impl Unit {
    fn example(self) -> &'static str {
        match self {
            Self::Seconds => "seconds, such as 2.5",
            Self::Millis => "milliseconds, such as 2500",
        }
    }
}

impl IntoResponse for InvalidDeadline {
    fn into_response(self) -> Response {
        debug!(target: "conclib::web", error = %self, status = 400, "refused a request");
        problem(StatusCode::BAD_REQUEST, &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn read(header: &DeadlineHeader, values: &[&str]) -> Result<Option<Duration>, InvalidDeadline> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&header.name, HeaderValue::from_str(value).unwrap());
        }
        header.read(&headers).map(Deadline::remaining)
    }

    #[tokio::test(start_paused = true)]
    async fn seconds_have_up_to_three_decimals() {
        let header = DeadlineHeader::default();
        assert_eq!(read(&header, &[]), Ok(None));
        for (text, millis) in [
            ("2", 2000),
            ("0", 0),
            ("2.5", 2500),
            ("0.05", 50),
            ("0.001", 1),
            ("00.100", 100),
            ("60.001", 60_000),
            ("999999999999", 60_000),
        ] {
            assert_eq!(read(&header, &[text]), Ok(Some(MS * millis)), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            " 1",
            "1e3",
            "1.2.3",
            "0.0001",
            "soon",
            "1000000000000",
            "1,2",
            "²",
        ] {
            assert!(read(&header, &[text]).is_err(), "{text}");
        }
        assert!(read(&header, &["1", "1"]).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn millis_are_whole_and_bounds_are_the_programs() {
        let name = HeaderName::from_static("x-timeout-ms");
        let header = DeadlineHeader::millis(name).at_most(100 * MS);
        assert_eq!(read(&header, &["99"]), Ok(Some(99 * MS)));
        assert_eq!(read(&header, &["999999999999999"]), Ok(Some(100 * MS)));
        let error = read(&header, &["9.5"]).unwrap_err();
        let text = "the header `x-timeout-ms` must have a number of milliseconds, such as 2500";
        assert_eq!(error.to_string(), text);
    }
}
