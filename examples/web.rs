//! The web process of the pair `actors` and `web`: axum handlers that ask actors of another
//! process through Redis. It listens on `PORT`, or 3000:
//!
//! ```text
//! curl localhost:3000/double/21
//! curl localhost:3000/health
//! curl -X POST localhost:3000/account/1/withdraw/500
//! ```

use std::net::Ipv4Addr;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use conclib::bus::ConnectionState;
use conclib::prelude::*;
use messages::{Double, Withdraw};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let client = ProxyClient::connect(&Config::from_env()?).await?;
    let app = Router::new()
        .route("/health", get(health))
        .route("/double/{n}", get(double))
        .route("/account/{id}/withdraw/{cents}", post(withdraw))
        .with_state(client);
    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("web serves at http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Reports if this process is connected to Redis, not if an actor answers.
async fn health(State(client): State<ProxyClient>) -> (StatusCode, String) {
    match &*client.connection_state().borrow() {
        ConnectionState::Connected => (StatusCode::OK, "ok".to_owned()),
        ConnectionState::Reconnecting { reason } => {
            (StatusCode::SERVICE_UNAVAILABLE, reason.clone())
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "closed".to_owned()),
    }
}

async fn double(
    State(client): State<ProxyClient>,
    Path(n): Path<u32>,
) -> Result<impl IntoResponse, WebError> {
    Ok(Json(client.ask("doubler", Double { n }).await?))
}

async fn withdraw(
    State(client): State<ProxyClient>,
    Path((id, cents)): Path<(u32, u64)>,
) -> Result<Response, WebError> {
    // The account's "no" is an answer, not an error of the ask.
    Ok(
        match client
            .ask(format!("account/{id}"), Withdraw { cents })
            .await?
        {
            Ok(receipt) => Json(receipt).into_response(),
            Err(declined) => (StatusCode::CONFLICT, Json(declined)).into_response(),
        },
    )
}

/// A failed ask as an HTTP response.
struct WebError(AskError);

impl From<AskError> for WebError {
    fn from(error: AskError) -> Self {
        Self(error)
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            // The actor process is starting or being replaced: the page exists, and will answer soon.
            AskError::ActorNotFound { .. } => StatusCode::SERVICE_UNAVAILABLE,
            error if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            AskError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            // The actor process is of another version than this one.
            AskError::Unhandled { .. } => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.0.to_string()).into_response()
    }
}
