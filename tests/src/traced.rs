//! A chain of processes whose spans are one trace: a web server, two actors that ask each other, and one that
//! handles a durable message.

use std::error::Error;
use std::sync::Arc;

use conclib::prelude::*;
use conclib_opentelemetry::TraceContext;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Answered with the name of the order: the web server asks the first actor.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[message(response = String)]
pub struct Order {
    /// The goods.
    pub item: String,
}

/// The first actor asks the second one.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[message(response = u32)]
pub struct Reserve {
    /// The goods.
    pub item: String,
}

/// Stored by the second actor, for the third one.
#[derive(ActorMessage, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[message(durable)]
pub struct Ship {
    /// The goods.
    pub item: String,
}

/// Takes orders.
#[derive(Actor, Debug)]
#[actor(urn = "shop")]
pub struct Shop {
    /// Leads to the process of the stock.
    pub stock: ProxyClient,
}

#[handlers]
impl Shop {
    #[handler]
    async fn order(&mut self, Order { item }: Order) -> Result<String, Failure> {
        let left = self.stock.ask("stock", Reserve { item }).await?;
        Ok(format!("{left} left"))
    }
}

/// Reserves goods.
#[derive(Actor, Debug)]
#[actor(urn = "stock")]
pub struct Stock {
    /// Leads to the process that ships.
    pub shipping: ProxyClient,
}

#[handlers]
impl Stock {
    #[handler]
    async fn reserve(&mut self, Reserve { item }: Reserve) -> Result<u32, Failure> {
        self.shipping.tell("shipping", Ship { item }).await?;
        Ok(6)
    }
}

/// Ships goods, at any time.
#[derive(Actor, Debug)]
#[actor(urn = "shipping")]
pub struct Shipping;

#[handlers]
impl Shipping {
    #[handler]
    fn ship(&mut self, _: Ship) {}
}

/// A span, as its process reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedSpan {
    /// Its name.
    pub name: String,
    /// Its kind, such as `Server`.
    pub kind: String,
    /// The id of its trace.
    pub trace: String,
    /// Its own id.
    pub span: String,
    /// The id of its parent, zeros without one.
    pub parent: String,
    /// The trace and the id of each span that it is linked to.
    pub links: Vec<(String, String)>,
}

impl From<SpanData> for ReportedSpan {
    fn from(span: SpanData) -> Self {
        let ids = |context: &opentelemetry::trace::SpanContext| {
            (
                context.trace_id().to_string(),
                context.span_id().to_string(),
            )
        };
        let (trace, id) = ids(&span.span_context);
        let links = span.links.iter();
        Self {
            links: links.map(|link| ids(&link.span_context)).collect(),
            name: span.name.into_owned(),
            kind: format!("{:?}", span.span_kind),
            parent: span.parent_span_id.to_string(),
            span: id,
            trace,
        }
    }
}

/// The spans of a process, in a real exporter.
#[derive(Debug, Clone)]
pub struct ProcessSpans(Arc<InMemorySpanExporter>);

impl ProcessSpans {
    /// Installs the subscriber of this process, and its exporter.
    pub fn install() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing_subscriber::registry()
            .with(layer.with_filter(LevelFilter::INFO))
            .init();
        Self(Arc::new(exporter))
    }

    /// Prints the spans so far as a line of JSON for each line of the input, until that ends.
    ///
    /// # Errors
    ///
    /// Those of input and JSON.
    pub async fn report(self) -> Result<(), Box<dyn Error>> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while lines.next_line().await?.is_some() {
            let spans = self.0.get_finished_spans()?.into_iter();
            let spans: Vec<_> = spans.map(ReportedSpan::from).collect();
            println!("spans {}", serde_json::to_string(&spans)?);
        }
        Ok(())
    }
}

/// The config of one of the processes.
///
/// # Errors
///
/// That of a wrong URL.
pub fn config(url: &str, node: &str) -> Result<Config, Box<dyn Error>> {
    let config = Config::new(url)?.timeout(crate::ASK_TIMEOUT).node(node);
    Ok(config.propagator(TraceContext::new()))
}
