//! A program with traces: actors on a bus in memory, a client, and a real exporter that keeps the spans.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use conclib::prelude::*;
use conclib_opentelemetry::TraceContext;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, InMemorySpanExporterBuilder, Sampler, SdkTracerProvider, ShouldSample,
    SpanData,
};
use tracing::field::{Field, Visit};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Identity, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Registry};

use crate::actors::{Desk, Front};

pub(crate) type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The log of `conclib_opentelemetry`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        if event.metadata().target() == "conclib_opentelemetry" {
            let mut text = Text::default();
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

/// The text of an event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// The spans of this thread, which runs all tasks of a test.
pub(crate) struct Spans {
    exporter: InMemorySpanExporter,
    pub(crate) warnings: Warnings,
    _subscriber: DefaultGuard,
}

impl Spans {
    /// Collects the spans that this filter lets pass.
    pub(crate) fn collect(filter: &str) -> Self {
        Self::sampled(filter, Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    pub(crate) fn sampled(filter: &str, sampler: impl ShouldSample + 'static) -> Self {
        Self::with_layer(filter, sampler, Identity::new())
    }

    /// Spans beside another layer, which has no filter.
    pub(crate) fn with_layer(
        filter: &str,
        sampler: impl ShouldSample + 'static,
        layer: impl Layer<Registry> + Send + Sync,
    ) -> Self {
        let exporter = InMemorySpanExporterBuilder::new().build();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(sampler)
            .build();
        let traces = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("test"))
            .with_filter(EnvFilter::new(filter));
        let warnings = Warnings::default();
        let subscriber = Registry::default()
            .with(layer)
            .with(traces)
            .with(warnings.clone());
        Self {
            exporter,
            warnings,
            _subscriber: set_default(subscriber),
        }
    }

    /// All spans that have ended.
    pub(crate) fn all(&self) -> Vec<SpanData> {
        self.exporter.get_finished_spans().unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let all = self.all().into_iter();
        all.map(|span| span.name.into_owned()).collect()
    }

    /// The only span of a name.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> SpanData {
        let mut spans = self.all();
        spans.retain(|span| span.name == name);
        assert_eq!(spans.len(), 1, "{name} among {:?}", self.names());
        spans.remove(0)
    }

    /// Waits until a span of that name has ended.
    pub(crate) async fn ended(&self, name: &str) -> SpanData {
        let ended = async {
            while !self.names().iter().any(|known| known == name) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), ended).await;
        waited.unwrap_or_else(|_| panic!("no {name} among {:?}", self.names()));
        self.one(name)
    }
}

/// Any subscriber for this thread, and the log of `conclib_opentelemetry`.
pub(crate) fn subscribe<S>(subscriber: S) -> (DefaultGuard, Warnings)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let warnings = Warnings::default();
    (set_default(subscriber.with(warnings.clone())), warnings)
}

/// The value of an attribute, as text.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == key)?;
    Some(found.value.to_string())
}

/// The actors `desk` and `front`, and a client of them.
pub(crate) struct Fixture {
    pub(crate) system: ActorSystem,
    pub(crate) desk: ActorRef<Desk>,
    pub(crate) front: ActorRef<Front>,
    pub(crate) client: ProxyClient,
    pub(crate) config: Config,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with(TraceContext::new()).await
    }

    pub(crate) async fn with(propagator: TraceContext) -> Self {
        let config = Config::memory().propagator(propagator);
        let system = ActorSystem::new();
        let client = ProxyClient::connect(&config).await.unwrap();
        let desk = system.supervise(|| async { Desk });
        let desk = desk.urn("desk").await.unwrap();
        let front = Front {
            desk: desk.clone(),
            client: client.clone(),
        };
        let front = system.spawn(front).urn("front").await.unwrap();
        start_proxy(&system, &config).await.unwrap();
        Self {
            system,
            desk,
            front,
            client,
            config,
        }
    }
}
