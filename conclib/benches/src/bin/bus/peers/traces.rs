//! Traces as a program has them that exports few of them: the layer of OpenTelemetry with a sampler, and batches
//! for an exporter, which drops them here.

use std::sync::LazyLock;

use conclib::Config;
use conclib_opentelemetry::{EarlySampler, TraceContext};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::Problem;

/// Keeps one trace in a hundred.
static SAMPLER: LazyLock<EarlySampler> = LazyLock::new(|| EarlySampler::new(0.01));

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
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Discard)
            .with_sampler(SAMPLER.clone())
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("bench"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        let filter = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("conclib::handle::unsampled", LevelFilter::OFF);
        let layer = layer.with_filter(filter);
        Ok(tracing_subscriber::registry().with(layer).try_init()?)
    }

    /// The config of this process.
    pub(crate) fn config(self, config: Config) -> Config {
        match self {
            Self::Off => config,
            Self::Sampled => config.propagator(TraceContext::new().with_sampler(SAMPLER.clone())),
        }
    }
}
