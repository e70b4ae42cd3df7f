//! Actors behind a web server: responses for errors of asks, health checks, and deadlines of requests.
//! Needs the feature `axum`, which brings `axum-core` and `http` only.
//!
//! | to | see |
//! |---|---|
//! | reply with an error of an ask | `Result<_, AskError>` as the response of a handler: [problem responses](#problem-responses) |
//! | reply with an error of the application | [`problem`] |
//! | accept work now, and do it when an actor system serves | a durable tell, and 202: [work for later](#work-for-later) |
//! | have the client in a handler | `State<ProxyClient>`, or [`ProxyClient`] itself as an extractor |
//! | start without Redis | [`ProxyClient::lazy`] |
//! | tell an orchestrator that the process is well | [`livez`], [`readyz`], [`readyz_with_responder`] |
//! | end an ask when the HTTP client stops waiting | nothing: axum drops the handler, and that cancels the ask, also in the other process |
//! | take a time limit from a header | [`Deadline`], [`DeadlineHeader`] |
//! | retry, limit, shed load | `bus::AskService` (feature `tower`) |
//!
//! ```
//! use axum::extract::{Path, State};
//! use axum::routing::get;
//! use axum::{Json, Router};
//! use conclib::prelude::*;
//! use conclib::web;
//!
//! #[derive(ActorMessage, Serialize, Deserialize)]
//! #[message(response = Doubled)]
//! struct Double { n: u32 }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Doubled { n: u64 }
//!
//! async fn double(
//!     State(client): State<ProxyClient>,
//!     deadline: web::Deadline,
//!     Path(n): Path<u32>,
//! ) -> Result<Json<Doubled>, AskError> {
//!     let ask = client.ask("doubler", Double { n }).missing_is_unavailable();
//!     Ok(Json(ask.deadline(deadline).await?))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = Config::memory();
//! let client = ProxyClient::lazy(&config)?;
//! let app: Router = Router::new()
//!     .route("/double/{n}", get(double))
//!     .route("/livez", get(web::livez))
//!     .route("/readyz", get(web::readyz))
//!     .with_state(client);
//! # use {axum::body::Body, axum::http::Request, tower::ServiceExt};
//! // Not connected yet: 503 with `Retry-After: 1`.
//! let response = app.oneshot(Request::get("/double/21").body(Body::empty())?).await?;
//! assert_eq!(response.status(), 503);
//! assert_eq!(response.headers()["retry-after"], "1");
//! # Ok(()) }
//! ```
//!
//! # Problem responses
//!
//! An [`AskError`](crate::AskError) becomes a response with its
//! [`http_status`](crate::AskError::http_status) and a body of `application/problem+json` (RFC 9457):
//!
//! ```text
//! {"type":"about:blank","title":"Service Unavailable","status":503,
//!  "detail":"The request was not executed. Try again later.","executed":"no"}
//! ```
//!
//! `executed` is `no`, `maybe`, `yes`, or `eventually` for a durable message that is stored. `Retry-After` has the seconds of
//! [`retry_after`](crate::AskError::retry_after), rounded up: only what was certainly not executed is to
//! be repeated. `Cache-Control: no-store` keeps the momentary absence of an actor out of caches.
//!
//! The response has no URN, no reason, and no text of Redis or of an actor. The full error is logged
//! once, to the target `conclib::web`, with the fields `error`, `status` and `executed`: as an error
//! where a program is at fault (500, and 502 for messages that do not fit), as a warning for outages
//! (502, 503, 504), and as debug for 4xx. A 404 is an info once a minute per URN, for eight URNs at most: the
//! URN may be misspelt in the program, and any visitor can cause one.
//!
//! # Work for later
//!
//! A durable tell is ready when its message is stored, whether or not an actor system serves: the reply
//! is 202 Accepted. The key of the HTTP client makes its repetitions the same message.
//!
//! ```
//! use axum::http::{HeaderMap, StatusCode};
//! use axum::response::{IntoResponse, Response};
//! use axum::{Json, Router, routing::post};
//! use conclib::prelude::*;
//! use conclib::web;
//!
//! #[derive(ActorMessage, Serialize, Deserialize)]
//! #[message(durable)]
//! struct PlaceOrder { item: String }
//!
//! async fn place(client: ProxyClient, headers: HeaderMap, Json(order): Json<PlaceOrder>) -> Response {
//!     let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
//!     let Some(key) = key else {
//!         return web::problem(StatusCode::BAD_REQUEST, "The header Idempotency-Key is missing.");
//!     };
//!     match client.tell("shop", order).idempotency_key(key).await {
//!         Ok(()) => StatusCode::ACCEPTED.into_response(),
//!         Err(error) => error.into_response(), // 503 without Redis, 400 for an empty key
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = ProxyClient::connect(&Config::memory()).await?;
//! let app: Router = Router::new().route("/orders", post(place)).with_state(client);
//! # use {axum::body::Body, axum::http::Request, tower::ServiceExt};
//! # let request = Request::post("/orders").header("idempotency-key", "order-17");
//! # let request = request.header("content-type", "application/json");
//! # let response = app.oneshot(request.body(Body::from(r#"{"item":"tea"}"#))?).await?;
//! # assert_eq!(response.status(), StatusCode::ACCEPTED);
//! # Ok(()) }
//! ```
//!
//! A durable *ask* waits for the response as well. While no actor system serves, it ends by its timeout with 504, and
//! `"executed":"eventually"`: it is stored, and an ask with the same key gets its response later. A program
//! that would rather reply with 202 here, too, finds it as
//! [`Delivered::Stored`](crate::error::Delivered::Stored).

use std::convert::Infallible;

use axum_core::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use crate::bus::ProxyClient;

pub use deadline::{Deadline, DeadlineHeader, InvalidDeadline};
pub use health::{livez, readyz, readyz_with_responder};
pub use problem::problem;

mod deadline;
mod health;
mod problem;

/// The client in the router's state: that itself, or a part of it by [`FromRef`].
impl<S: Send + Sync> FromRequestParts<S> for ProxyClient
where
    Self: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self::from_ref(state))
    }
}
