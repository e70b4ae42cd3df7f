//! One of the processes of a trace: `traced_process <redis url> <role>`, where the role is `web`, or the actor
//! that it serves: `shop`, `stock` or `shipping`. It prints `ready`, or `ready <port>`, and its spans for each line
//! of its input.

use std::error::Error;
use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use conclib::{ActorSystem, AskError, ProxyClient, start_proxy};
use conclib_tests::traced::{Order, ProcessSpans, Shipping, Shop, Stock, config};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::net::TcpListener;
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, role] = &arguments[..] else {
        return Err("usage: traced_process <redis url> <role>".into());
    };
    let spans = ProcessSpans::install();
    let client = |node: &'static str| async move {
        let config = config(url, node)?;
        Ok::<_, Box<dyn Error>>(ProxyClient::connect(&config).await?)
    };
    let system = ActorSystem::new();
    match &**role {
        "web" => {
            println!("ready {}", serve(client("shop").await?).await?);
            return spans.report().await;
        }
        "shop" => {
            let stock = client("stock").await?;
            system.spawn(Shop { stock }).await?;
        }
        "stock" => {
            let shipping = client("shipping").await?;
            system.spawn(Stock { shipping }).await?;
        }
        _ => {
            system.spawn(Shipping).await?;
        }
    }
    start_proxy(&system, &config(url, role)?).await?;
    println!("ready");
    spans.report().await?;
    system.shutdown().await;
    Ok(())
}

/// Serves orders over HTTP; returns the port.
async fn serve(shop: ProxyClient) -> Result<u16, Box<dyn Error>> {
    let app = Router::new()
        .route("/orders/{item}", get(order))
        .layer(from_fn(trace))
        .with_state(shop);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}

async fn order(
    State(shop): State<ProxyClient>,
    Path(item): Path<String>,
) -> Result<String, AskError> {
    shop.ask("shop", Order { item }).await
}

/// The span of a request, whose parent is in the program that has sent it.
async fn trace(request: Request, next: Next) -> Response {
    let span = info_span!("GET /orders/{item}", otel.kind = "server");
    let sender = TraceContextPropagator::new().extract(&Headers(request.headers()));
    span.set_parent(sender).expect("there is a layer for spans");
    next.run(request).instrument(span).await
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
