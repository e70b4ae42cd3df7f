//! Traces that go to a collector over OTLP: an actor, and a client that asks it. With a collector or Jaeger at
//! `localhost:4318`:
//!
//! ```text
//! cargo run -p conclib-opentelemetry --example otlp
//! ```
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` names another one. The bus is in memory: in a program the two ends are two
//! processes, each with the same subscriber and the same config.

use std::error::Error;

use conclib::prelude::*;
use conclib_opentelemetry::{EarlySampler, TraceContext};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Double {
    n: u32,
}

#[derive(Actor)]
#[actor(urn = "doubler")]
struct Doubler;

#[handlers]
impl Doubler {
    #[handler]
    async fn double(&mut self, message: Double) -> u32 {
        tracing::info!("doubling"); // an event of the span
        message.n * 2
    }
}

/// Filter of the layer of traces: messages from the bus, and asks within the process. Tells within it, and messages
/// that the sampler leaves out, have spans for logs alone.
const TRACES: &str =
    "info,conclib::handle=debug,conclib::handle::tell=off,conclib::handle::unsampled=off";

/// Sends the spans of this process to a collector.
fn export_traces(
    service: &'static str,
    sampler: EarlySampler,
) -> Result<SdkTracerProvider, Box<dyn Error>> {
    let exporter = SpanExporter::builder().with_http().build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build();
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer(service));
    // The log needs no fields of OpenTelemetry: all have a dot in their names.
    let fields = fmt::format::debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?} "),
        name if name.contains('.') => Ok(()),
        name => write!(writer, "{name}={value:?} "),
    });
    let log = fmt::layer().fmt_fields(fields);
    tracing_subscriber::registry()
        .with(traces.with_filter(EnvFilter::new(TRACES)))
        .with(log.with_filter(EnvFilter::new("info")))
        .init();
    Ok(provider)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // All traces; with 0.01, one in a hundred.
    let sampler = EarlySampler::new(1.0);
    let provider = export_traces("otlp-example", sampler.clone())?;
    let config = Config::memory().propagator(TraceContext::new().with_sampler(sampler));

    let system = ActorSystem::new();
    system.spawn(Doubler).await?;
    start_proxy(&system, &config).await?;

    let client = ProxyClient::connect(&config).await?;
    println!("{}", client.ask("doubler", Double { n: 21 }).await?);

    system.shutdown().await;
    // Off the runtime: it waits for the last batch.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    Ok(())
}
