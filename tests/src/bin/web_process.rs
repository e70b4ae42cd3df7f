//! A web server whose handlers ask actors of another process: `web_process <port> <redis url>`.

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use conclib::{AskError, Config, ProxyClient, web};
use conclib_tests::messages::{Double, Explode, Hold};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, url] = &arguments[..] else {
        return Err("usage: web_process <port> <redis url>".into());
    };
    let config = Config::new(url)?.timeout(Duration::from_secs(20));
    let client = ProxyClient::lazy(&config)?;
    let app = Router::new()
        .route("/readyz", get(web::readyz))
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
) -> Result<String, AskError> {
    let doubled = client.ask(urn, Double { n }).await?;
    Ok(doubled.to_string())
}

async fn hold(client: ProxyClient, deadline: web::Deadline) -> Result<String, AskError> {
    let held = client.ask("holder", Hold).deadline(deadline).await?;
    Ok(held.to_string())
}

async fn explode(
    State(client): State<ProxyClient>,
    Path(urn): Path<String>,
) -> Result<(), AskError> {
    client.ask(urn, Explode).await
}
