//! Traces of [OpenTelemetry](https://opentelemetry.io) that continue across the processes of
//! [conclib](https://docs.rs/conclib).
//!
//! conclib makes spans of [`tracing`] for the messages between processes; the layer of
//! [`tracing-opentelemetry`](tracing_opentelemetry) hands them to OpenTelemetry. [`TraceContext`] joins the spans
//! of different processes: it sends the context of the W3C, `traceparent` and `tracestate`, along with each message.
//!
//! ```
//! use conclib::prelude::*;
//! use conclib_opentelemetry::TraceContext;
//! use opentelemetry::trace::TracerProvider;
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//! use tracing_subscriber::layer::SubscriberExt;
//! use tracing_subscriber::util::SubscriberInitExt;
//!
//! # #[derive(ActorMessage, Serialize, Deserialize)]
//! # #[message(response = u32)]
//! # struct Double { n: u32 }
//! # #[derive(Actor)]
//! # #[actor(urn = "doubler")]
//! # struct Doubler;
//! # #[handlers]
//! # impl Doubler {
//! #     #[handler]
//! #     async fn double(&mut self, message: Double) -> u32 { message.n * 2 }
//! # }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a program: an exporter of `opentelemetry-otlp`, in batches.
//! let exporter = InMemorySpanExporter::default();
//! let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
//! let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
//! tracing_subscriber::registry().with(traces).init();
//!
//! // In each process: the one that serves, and those that ask.
//! let config = Config::memory().propagator(TraceContext::new());
//! # let system = ActorSystem::new();
//! # system.spawn(Doubler).await?;
//! # start_proxy(&system, &config).await?;
//! let client = ProxyClient::connect(&config).await?;
//! assert_eq!(client.ask("doubler", Double { n: 21 }).await?, 42);
//! # system.shutdown().await;
//!
//! let spans = exporter.get_finished_spans()?;
//! let span = |name| spans.iter().find(|span| span.name == name).unwrap();
//! assert_eq!(
//!     span("handle Double").parent_span_id,
//!     span("ask Double").span_context.span_id(),
//! );
//! # Ok(()) }
//! ```
//!
//! The spans, their names and fields are in conclib's page on
//! [tracing](https://docs.rs/conclib/latest/conclib/docs/tracing/index.html), with an export over OTLP.
//!
//! # Versions
//!
//! The program's `tracing-opentelemetry` must be the one of this crate, 0.34, which goes with `opentelemetry`
//! 0.33. With another one the layer does not know these spans, and each process would have traces of its own. That
//! is logged once, as a `WARN` of the target `conclib_opentelemetry`.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use conclib::envelope::Attributes;
use conclib::trace::{Propagate, Relation};
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::{Span, warn};
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

pub use early::EarlySampler;

mod baggage;
mod early;
mod traceparent;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const BAGGAGE: &str = "baggage";

/// The most bytes of a `tracestate`. A longer one is dropped, and the trace continues without it.
const MAX_TRACESTATE_LEN: usize = 512;

/// The version of `tracing-opentelemetry` that the program must have.
const LAYER_VERSION: &str = "0.34";

/// The trace context of the W3C, for [`Config::propagator`](https://docs.rs/conclib/latest/conclib/struct.Config.html#method.propagator).
///
/// An attribute `traceparent` that the sender of a message has set itself is sent as it is, and no
/// `tracestate` is added to it. Texts of peers that are no context are ignored: the handler's span begins a
/// trace of its own then.
#[derive(Debug, Default)]
pub struct TraceContext {
    has_baggage: bool,
    sampler: Option<EarlySampler>,
    sampling: SamplerCheck,
    sending: LayerCheck,
    receiving: LayerCheck,
}

impl TraceContext {
    /// Sends `traceparent` and `tracestate` along.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends the [baggage](opentelemetry::baggage) along as well, up to 8 KiB: values of the program, which each
    /// process that a trace passes can read. A handler finds it in `opentelemetry::Context::current()`.
    ///
    /// ```
    /// # use conclib::Config;
    /// use conclib_opentelemetry::TraceContext;
    ///
    /// let config = Config::memory().propagator(TraceContext::new().with_baggage());
    /// # drop(config);
    /// ```
    #[must_use]
    pub fn with_baggage(mut self) -> Self {
        self.has_baggage = true;
        self
    }

    /// Decides with this sampler which messages have spans, before they are made: for programs whose processor time
    /// matters. The provider must have the same sampler: see [`EarlySampler`].
    ///
    /// Messages with [baggage](Self::with_baggage) have spans in any case, since handlers read it from theirs.
    #[must_use]
    pub fn with_sampler(mut self, sampler: EarlySampler) -> Self {
        sampler.decide_early();
        self.sampler = Some(sampler);
        self
    }

    /// Writes the context of a sender, unless the attributes have one.
    fn write(context: &SpanContext, attributes: &mut Attributes) {
        if attributes.get(TRACEPARENT).is_some() {
            return;
        }
        attributes.insert(TRACEPARENT, traceparent::format(context));
        let state = context.trace_state().header();
        if (1..=MAX_TRACESTATE_LEN).contains(&state.len()) {
            attributes.insert(TRACESTATE, state);
        }
    }
}

/// The context of a span, or the current one: of a caller whose span is not one of `tracing`, or if the layer has a
/// filter.
fn context_of(span: &Span) -> Context {
    let of_span = (!span.is_disabled()).then(|| span.context());
    let valid = of_span.filter(|context| context.span().span_context().is_valid());
    valid.unwrap_or_else(Context::current)
}

impl Propagate for TraceContext {
    fn fields(&self) -> &[&'static str] {
        if self.has_baggage {
            &[TRACEPARENT, TRACESTATE, BAGGAGE]
        } else {
            &[TRACEPARENT, TRACESTATE]
        }
    }

    fn inject(&self, span: &Span, attributes: &mut Attributes) {
        let context = context_of(span);
        let current = context.span().span_context().clone();
        if !current.is_valid() {
            return self.sending.check(span);
        }
        if self.sampler.is_some() && !self.has_baggage && !current.is_sampled() {
            self.sampling.warn(span);
        }
        Self::write(&current, attributes);
        if self.has_baggage
            && attributes.get(BAGGAGE).is_none()
            && let Some(text) = baggage::format(context.baggage())
        {
            attributes.insert(BAGGAGE, text);
        }
    }

    fn extract(&self, attributes: &Attributes, span: &Span, relation: Relation) {
        let sender = sender(attributes);
        if relation == Relation::LeftOut {
            // The filter of the layer should have turned it off: its own sampler does not know.
            let parent = Context::new().with_remote_span_context(left_out(sender));
            let _ = span.set_parent(parent);
            return;
        }
        let Some(sender) = sender else {
            return;
        };
        let mut parent = Context::new();
        if relation == Relation::Child {
            parent = parent.with_remote_span_context(sender.clone());
        }
        if self.has_baggage
            && let Some(text) = attributes.get(BAGGAGE)
        {
            parent = parent.with_baggage(baggage::parse(text));
        }
        // The check below finds out about a layer that does not know the span.
        let _ = span.set_parent(parent);
        if relation != Relation::Child {
            span.add_link(sender);
        }
        self.receiving.check(span);
    }

    fn leave_out(&self, span: &Span, attributes: &mut Attributes) -> bool {
        let Some(sampler) = &self.sampler else {
            return false;
        };
        if self.has_baggage && (attributes.get(BAGGAGE).is_some() || has_baggage(span)) {
            return false;
        }
        if let Some(sender) = sender(attributes) {
            return !sender.is_sampled();
        }
        let context = context_of(span);
        let current = context.span();
        let current = current.span_context();
        if !current.is_valid() {
            return sampler.leaves_out();
        }
        if !current.is_sampled() {
            attributes.remove(TRACEPARENT); // a text that is no context
            Self::write(current, attributes);
        }
        !current.is_sampled()
    }
}

/// The context of a trace that is left out: that of the sender, or a new one.
fn left_out(sender: Option<SpanContext>) -> SpanContext {
    let ids = RandomIdGenerator::default();
    let new = || {
        let (trace, span) = (ids.new_trace_id(), ids.new_span_id());
        SpanContext::new(trace, span, TraceFlags::NOT_SAMPLED, true, TraceState::NONE)
    };
    sender
        .filter(|sender| !sender.is_sampled())
        .unwrap_or_else(new)
}

fn has_baggage(span: &Span) -> bool {
    !context_of(span).baggage().is_empty()
}

/// The sender's span, as the attributes of its message have it.
fn sender(attributes: &Attributes) -> Option<SpanContext> {
    let state = attributes.get(TRACESTATE);
    let state = match state.filter(|state| state.len() <= MAX_TRACESTATE_LEN) {
        Some(state) => state.parse().unwrap_or_default(),
        None => TraceState::NONE,
    };
    traceparent::parse(attributes.get(TRACEPARENT)?, state)
}

/// Checks once that a layer of the right version has the spans: otherwise contexts would be lost without a word.
#[derive(Debug, Default)]
struct LayerCheck(AtomicU8);

impl LayerCheck {
    const UNKNOWN: u8 = 0;
    const WORKS: u8 = 1;
    const WARNED: u8 = 2;

    fn check(&self, span: &Span) {
        if self.0.load(Ordering::Relaxed) != Self::UNKNOWN || span.is_disabled() {
            return;
        }
        if span.context().span().span_context().is_valid() {
            self.0.store(Self::WORKS, Ordering::Relaxed);
            return;
        }
        // A span without a context has no parent to lose.
        let is_layer_missing = matches!(
            span.set_parent(Context::new()),
            Err(SetParentError::LayerNotFound)
        );
        if self.0.swap(Self::WARNED, Ordering::Relaxed) == Self::WARNED {
            return;
        }
        let name = span.metadata().map_or("", |metadata| metadata.name());
        if is_layer_missing {
            warn!(
                span = name,
                "no layer of tracing-opentelemetry {LAYER_VERSION} has this span, so that traces end at this \
                 process: the subscriber has no such layer, or one of another version \
                 (`cargo tree -i tracing-opentelemetry` shows them)"
            );
        } else {
            warn!(
                span = name,
                "the layer of tracing-opentelemetry leaves this span out, so that traces end at this process: \
                 its filter must let `conclib::request=info` and `conclib::handle=info` pass"
            );
        }
    }
}

/// Warns once that the provider has another sampler than the messages were decided on with.
#[derive(Debug, Default)]
struct SamplerCheck(AtomicBool);

impl SamplerCheck {
    fn warn(&self, span: &Span) {
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        warn!(
            span = span.metadata().map_or("", |metadata| metadata.name()),
            "the sampler of the tracer provider leaves a span out that the `EarlySampler` of the `TraceContext` has \
             chosen, so that fewer traces are kept than its share: give the same sampler to the provider \
             (`with_sampler(sampler.clone())`)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_the_layer_is_the_one_that_is_built() {
        let own = include_str!("../Cargo.toml");
        let here = format!("tracing-opentelemetry = {{ version = \"{LAYER_VERSION}\"");
        // As `cargo package` writes it.
        let packaged =
            format!("[dependencies.tracing-opentelemetry]\nversion = \"{LAYER_VERSION}\"");
        assert!(own.contains(&here) || own.contains(&packaged));
    }

    #[test]
    fn long_state_is_dropped_and_the_rest_stays() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let state = |bytes: usize| format!("vendor={}", "x".repeat(bytes - 7));
        let read = |state: &str| {
            let attributes = Attributes::from([(TRACEPARENT, parent), (TRACESTATE, state)]);
            sender(&attributes).unwrap().trace_state().header()
        };
        assert_eq!(read("vendor=1,other=2"), "vendor=1,other=2");
        assert_eq!(read("none"), "");
        assert_eq!(read(&state(200)), state(200));
        let long: Vec<_> = (0..6)
            .map(|n| format!("v{n}={}", "x".repeat(100)))
            .collect();
        assert_eq!(read(&long.join(",")), "");
    }
}
