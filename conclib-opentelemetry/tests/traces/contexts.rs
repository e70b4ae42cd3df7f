//! Contexts as they are sent and received: whose counts, what is dropped, what is ignored.

use conclib::envelope::Attributes;
use conclib_opentelemetry::TraceContext;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Sampler;
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::actors::{Look, ReadBaggage};
use crate::fixture::{Fixture, Spans, TestResult};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A span whose parent is in another process.
pub(crate) fn with_remote_parent(state: TraceState, flags: TraceFlags) -> Span {
    let (trace, span) = (TraceId::from(7), SpanId::from(9));
    let parent = SpanContext::new(trace, span, flags, true, state);
    let span = info_span!("request");
    let parent = Context::new().with_remote_span_context(parent);
    span.set_parent(parent).unwrap();
    span
}

#[tokio::test]
async fn context_that_the_sender_sets_wins() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    let ask = program.client.ask("desk", Look);
    assert_eq!(ask.attribute("traceparent", PARENT).await?, [""; 0]);
    let handle = spans.ended("handle Look").await;
    assert_eq!(handle.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_ne!(
        handle.span_context.trace_id(),
        spans.one("ask Look").span_context.trace_id()
    );
    Ok(())
}

#[tokio::test]
async fn texts_that_are_no_context_are_ignored() -> TestResult {
    let upper = PARENT.to_uppercase();
    let zeros = format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16));
    let long = "0".repeat(Attributes::MAX_BYTES - 100);
    for text in [
        "",
        "00",
        "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀",
        &upper,
        &zeros,
        &long,
    ] {
        let spans = Spans::collect("info");
        let program = Fixture::start().await;
        let ask = program.client.ask("desk", Look);
        assert_eq!(ask.attribute("traceparent", text).await?, [""; 0]);
        let handle = spans.ended("handle Look").await;
        assert_eq!(handle.parent_span_id, SpanId::INVALID, "{text}");
        assert!(handle.links.is_empty());
        assert_eq!(spans.warnings.all(), [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn state_travels_and_a_long_one_is_dropped() -> TestResult {
    let members = |count: usize| (0..count).map(|n| (format!("v{n}"), "x".repeat(60)));
    for (count, arrives) in [(1, true), (8, true), (9, false)] {
        let state = TraceState::from_key_value(members(count))?;
        let spans = Spans::collect("info");
        let program = Fixture::start().await;
        let request = with_remote_parent(state.clone(), TraceFlags::SAMPLED);
        let ask = program.client.ask("desk", Look).into_future();
        ask.instrument(request).await?;
        let handle = spans.ended("handle Look").await;
        let expected = if arrives {
            state.header()
        } else {
            String::new()
        };
        assert_eq!(handle.span_context.trace_state().header(), expected);
        assert_eq!(handle.span_context.trace_id(), TraceId::from(7));
    }
    Ok(())
}

#[tokio::test]
async fn message_without_room_for_a_context_is_sent_without() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    let full = (0..Attributes::MAX_LEN).map(|n| (n.to_string(), "x"));
    let seen = program.client.ask("desk", Look).attributes(full).await?;
    assert_eq!(seen.len(), Attributes::MAX_LEN);
    let handle = spans.ended("handle Look").await;
    assert_eq!(handle.parent_span_id, SpanId::INVALID);

    // A message of the greatest size is sent as well.
    let spans = Spans::collect("info");
    let config = program.config.clone().max_message_size(200);
    let client = conclib::ProxyClient::connect(&config).await?;
    let read = client.ask("desk", ReadBaggage("x".repeat(195)));
    assert_eq!(read.await?, None);
    let handle = spans.ended("handle ReadBaggage").await;
    assert_eq!(handle.parent_span_id, SpanId::INVALID);
    Ok(())
}

#[tokio::test]
async fn decision_not_to_sample_travels() -> TestResult {
    let always = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
    let spans = Spans::sampled("info", always);
    let program = Fixture::start().await;
    let request = with_remote_parent(TraceState::default(), TraceFlags::default());
    let ask = program.client.ask("desk", Look).into_future();
    ask.instrument(request).await?;
    // The next one is sampled, and comes after it.
    program
        .client
        .ask("desk", ReadBaggage(String::new()))
        .await?;
    spans.ended("handle ReadBaggage").await;
    assert_eq!(spans.names().len(), 2, "{:?}", spans.names());
    Ok(())
}

#[tokio::test]
async fn baggage_travels_if_asked_for() -> TestResult {
    for (propagator, expected) in [
        (TraceContext::new(), None),
        (TraceContext::new().with_baggage(), Some("7 & 8")),
    ] {
        let _spans = Spans::collect("info");
        let program = Fixture::with(propagator).await;
        let context = Context::new().with_baggage([KeyValue::new("tenant", "7 & 8")]);
        let request = info_span!("request");
        request.set_parent(context).unwrap();
        let read = || program.client.ask("desk", ReadBaggage("tenant".to_owned()));
        let ask = read().into_future().instrument(request.clone());
        assert_eq!(ask.await?.as_deref(), expected);
        let stored = read().durable().into_future().instrument(request);
        assert_eq!(stored.await?.as_deref(), expected);
    }
    Ok(())
}
