//! The web process of the pair `actors` and `web`: axum handlers that ask actors of another
//! process through Redis. It starts without them, and without Redis. It listens on `PORT`, or 3000:
//!
//! ```text
//! curl localhost:3000/double/21
//! curl localhost:3000/readyz
//! curl -X POST -H 'request-timeout: 2.5' localhost:3000/account/1/withdraw/500
//! ```

use std::net::Ipv4Addr;

use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use conclib::bus::AskService;
use conclib::prelude::*;
use conclib::service::shutdown_signal;
use conclib::web;
use messages::{Double, Doubled, Withdraw};
use tower::ServiceExt;
use tower::limit::ConcurrencyLimit;

/// The state of the router, shared by all requests.
#[derive(Clone)]
struct App {
    client: ProxyClient,
    /// At most 64 of these asks are under way; further ones wait.
    doubler: ConcurrencyLimit<AskService<Double>>,
}

/// Health checks find the client in the state.
impl FromRef<App> for ProxyClient {
    fn from_ref(app: &App) -> Self {
        app.client.clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let client = ProxyClient::lazy(&Config::from_env()?)?;
    let doubler = client.service("doubler").missing_is_unavailable();
    let app = Router::new()
        .route("/livez", get(web::livez))
        .route("/readyz", get(web::readyz))
        .route("/double/{n}", get(double))
        .route("/account/{id}/withdraw/{cents}", post(withdraw))
        .with_state(App {
            client: client.clone(),
            doubler: ConcurrencyLimit::new(doubler, 64),
        });
    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("web serves at http://{}", listener.local_addr()?);
    // Requests under way are answered first; each ends by its deadline.
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    client.shutdown().await;
    println!("web ended");
    Ok(())
}

/// An error becomes a response by itself: its status, and not its text, which is logged.
async fn double(State(app): State<App>, Path(n): Path<u32>) -> Result<Json<Doubled>, AskError> {
    Ok(Json(app.doubler.oneshot(Double { n }).await?))
}

/// An HTTP client that disconnects cancels the ask, also in the actor process.
async fn withdraw(
    client: ProxyClient,
    deadline: web::Deadline,
    Path((id, cents)): Path<(u32, u64)>,
) -> Result<Response, AskError> {
    let urn = format!("account/{id}");
    let outcome = client.ask(urn, Withdraw { cents }).deadline(deadline);
    // The account's "no" is an answer, not an error of the ask.
    Ok(match outcome.await? {
        Ok(receipt) => Json(receipt).into_response(),
        Err(declined) => (StatusCode::CONFLICT, Json(declined)).into_response(),
    })
}
