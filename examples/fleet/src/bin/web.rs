//! The web process: answers HTTP requests by asking the fleet.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use conclib::prelude::*;
use conclib::service::shutdown_signal;
use conclib::web;
use fleet::messages::{GetSquare, Square};
use tokio::net::TcpListener;

async fn square(client: ProxyClient, Path(n): Path<u64>) -> Result<Json<Square>, AskError> {
    Ok(Json(client.ask("squares", GetSquare { n }).await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let client = ProxyClient::lazy(&Config::from_env()?.fleet())?;
    let app = Router::new()
        .route("/squares/{n}", get(square))
        .route("/livez", get(web::livez))
        .route("/readyz", get(web::readyz_with_responder))
        .with_state(client.clone());
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("web serves at http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    client.shutdown().await;
    Ok(())
}
