//! The web process.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use conclib::prelude::*;
use conclib::service::shutdown_signal;
use conclib::web;
use hello::{Greet, Greeting};
use tokio::net::TcpListener;

async fn greet(client: ProxyClient, Path(name): Path<String>) -> Result<Json<Greeting>, AskError> {
    let ask = client.ask("greeter", Greet { name });
    Ok(Json(ask.missing_is_unavailable().retry().await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let client = ProxyClient::lazy(&Config::from_env()?)?;
    let app = Router::new()
        .route("/greet/{name}", get(greet))
        .route("/livez", get(web::livez))
        .route("/readyz", get(web::readyz))
        .with_state(client.clone());
    let port = std::env::var("PORT").unwrap_or("3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("web serves at http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    client.shutdown().await;
    Ok(())
}
