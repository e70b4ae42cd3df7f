//! Sampling before spans are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conclib::trace::is_left_out;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, SamplingResult, ShouldSample,
};

/// The attributes by one of which spans of messages across the bus are known.
const SYSTEMS: [&str; 2] = ["rpc.system", "messaging.system"];

/// A sampler that keeps a share of the traces, and leaves messages of the others out before a span is made for them:
/// the layer of `tracing-opentelemetry` makes each span before it asks its sampler, which costs a microsecond
/// or two for each message.
///
/// Given to both, the provider and the [`TraceContext`](crate::TraceContext):
///
/// ```
/// use conclib::Config;
/// use conclib_opentelemetry::{EarlySampler, TraceContext};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let sampler = EarlySampler::new(0.01);
/// let provider = SdkTracerProvider::builder().with_sampler(sampler.clone()).build();
/// let config = Config::memory().propagator(TraceContext::new().with_sampler(sampler));
/// # drop((provider, config));
/// ```
///
/// # Decisions
///
/// A span or a message that has a parent, in this process or another, is kept if its parent is, and the handler of a
/// tell or of a durable message if these are. Of the traces that begin here, the share is kept. A trace that is left out
/// stays so in all processes that its messages reach: they say so.
///
/// A message that is left out has a span for logs nevertheless, of the target `conclib::handle::unsampled`, which
/// the filter of the layer should turn off: it would cost as much as one that is kept.
///
/// Alone, without a [`TraceContext`](crate::TraceContext) that has it, it is the sampler
/// `ParentBased(TraceIdRatioBased(share))`.
#[derive(Debug, Clone)]
pub struct EarlySampler {
    /// Of traces that are not decided on before their first span.
    usual: Sampler,
    /// Of traces that begin with a message.
    share: Sampler,
    /// Messages are decided on before their spans are made, so that all of these are kept.
    decides_early: Arc<AtomicBool>,
}

impl EarlySampler {
    /// Keeps this share of the traces: none with 0, all with 1 or more.
    pub fn new(share: f64) -> Self {
        let share = Sampler::TraceIdRatioBased(share);
        Self {
            usual: Sampler::ParentBased(Box::new(share.clone())),
            share,
            decides_early: Arc::default(),
        }
    }

    /// Notes that messages are decided on before their spans are made.
    pub(crate) fn decide_early(&self) {
        self.decides_early.store(true, Ordering::Relaxed);
    }

    /// Decides on a trace that begins with a message.
    pub(crate) fn leaves_out(&self) -> bool {
        let trace = RandomIdGenerator::default().new_trace_id();
        let result = (self.share).should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
        result.decision == SamplingDecision::Drop
    }
}

impl ShouldSample for EarlySampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_first = parent.is_none_or(|parent| !parent.has_active_span());
        let is_of_message = || {
            attributes.iter().any(|attribute| {
                SYSTEMS.contains(&attribute.key.as_str()) && attribute.value.as_str() == "conclib"
            })
        };
        let sampler = if !is_first {
            &self.usual
        } else if is_left_out() {
            &Sampler::AlwaysOff
        } else if self.decides_early.load(Ordering::Relaxed) && is_of_message() {
            &Sampler::AlwaysOn
        } else {
            &self.usual
        };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}
