//! A web server whose handlers ask actors of another process: `web_process <port> <redis url>`.

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use conclib::message::RemoteMessage;
use conclib::{AskError, Config, ProxyClient};
use conclib_tests::messages::{Double, Explode, Hold};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, url] = &arguments[..] else {
        return Err("usage: web_process <port> <redis url>".into());
    };
    let client = ProxyClient::connect(&Config::new(url)?).await?;
    let app = Router::new()
        .route("/health", get(async || "ok"))
        .route("/double/{urn}/{n}", get(double))
        .route("/hold", get(hold))
        .route("/explode/{urn}", post(explode))
        .with_state(client);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn double(
    State(client): State<ProxyClient>,
    Path((urn, n)): Path<(String, u32)>,
) -> Result<String, WebError> {
    ask(&client, &urn, Double { n })
        .await
        .map(|n| n.to_string())
}

async fn hold(State(client): State<ProxyClient>) -> Result<String, WebError> {
    let timeout = Duration::from_millis(200);
    let held = client.ask("holder", Hold).timeout(timeout).await;
    held.map(|n| n.to_string()).map_err(WebError)
}

async fn explode(
    State(client): State<ProxyClient>,
    Path(urn): Path<String>,
) -> Result<(), WebError> {
    ask(&client, &urn, Explode).await
}

async fn ask<M: RemoteMessage>(
    client: &ProxyClient,
    urn: &str,
    message: M,
) -> Result<M::Response, WebError> {
    let timeout = Duration::from_secs(20);
    client
        .ask(urn, message)
        .timeout(timeout)
        .await
        .map_err(WebError)
}

/// An ask that failed, as HTTP says it.
struct WebError(AskError);

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
