//! The web process: `CONCLIB_REDIS_URL`, and `ORDERS_ADDRESS`, `127.0.0.1:3000` unless set.

use std::env;
use std::error::Error;

use conclib::prelude::*;
use conclib::service::shutdown_signal;
use orders::web;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let config = Config::from_env()?;
    let client = ProxyClient::lazy(&config)?;
    let address = env::var("ORDERS_ADDRESS").unwrap_or("127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("serving at {}", listener.local_addr()?);
    axum::serve(listener, web::router(client.clone(), config))
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    client.shutdown().await;
    Ok(())
}
