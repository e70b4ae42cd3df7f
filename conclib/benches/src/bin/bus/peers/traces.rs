//! Traces as a program has them that exports few of them: the layer of OpenTelemetry with a sampler, and batches
//! for an exporter, which drops them here.

use conclib::Config;
use conclib_opentelemetry::TraceContext;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Problem;

/// The share of the traces that is kept.
const SAMPLED: f64 = 0.01;

/// The traces of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Traces {
    Off,
    Sampled,
}

#[derive(Debug)]
struct Discard;

impl SpanExporter for Discard {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl Traces {
    /// Installs the subscriber of this process.
    pub(crate) fn install(self) -> Result<(), Problem> {
        if let Self::Off = self {
            return Ok(());
        }
        let few = Sampler::TraceIdRatioBased(SAMPLED);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Discard)
            .with_sampler(Sampler::ParentBased(Box::new(few)))
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("bench"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let layer = layer.with_filter(LevelFilter::INFO);
        Ok(tracing_subscriber::registry().with(layer).try_init()?)
    }

    /// The config of this process.
    pub(crate) fn config(self, config: Config) -> Config {
        match self {
            Self::Off => config,
            Self::Sampled => config.propagator(TraceContext::new()),
        }
    }
}
