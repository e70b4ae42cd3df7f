//! Spans of conclib, as a real exporter of OpenTelemetry gets them.

mod actors;
mod contexts;
mod early;
mod fixture;
mod layers;
mod local;

use std::time::Duration;

use conclib::prelude::*;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

use actors::{AskAcross, Break, Hang, Look, Note, Unknown};
use fixture::{Fixture, Spans, TestResult, attribute};

fn error_type(span: &SpanData) -> Option<String> {
    attribute(span, "error.type")
}

#[tokio::test]
async fn ask_is_a_call_and_its_handler_a_child() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    assert_eq!(program.client.ask("desk", Look).await?, [""; 0]);

    let (ask, handle) = (spans.one("ask Look"), spans.ended("handle Look").await);
    assert_eq!(ask.span_kind, SpanKind::Client);
    assert_eq!(ask.parent_span_id, SpanId::INVALID);
    assert_eq!(handle.span_kind, SpanKind::Server);
    assert_eq!(handle.parent_span_id, ask.span_context.span_id());
    assert_eq!(handle.span_context.trace_id(), ask.span_context.trace_id());
    assert!(handle.links.is_empty() && handle.parent_span_is_remote);
    assert!(ask.start_time <= handle.start_time && handle.end_time <= ask.end_time);
    for span in [&ask, &handle] {
        assert_eq!(attribute(span, "rpc.system").as_deref(), Some("conclib"));
        assert_eq!(attribute(span, "rpc.method").as_deref(), Some("Look"));
        assert_eq!(attribute(span, "urn").as_deref(), Some("desk"));
        assert_eq!((&span.status, error_type(span)), (&Status::Unset, None));
    }
    let queue_us: i64 = attribute(&handle, "queue_us").unwrap().parse()?;
    assert!((0..10_000_000).contains(&queue_us));
    assert_eq!(spans.names().len(), 2);
    assert_eq!(spans.warnings.all(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn tells_and_durable_messages_are_linked() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    program.client.tell("desk", Note).await?;
    let told = (spans.one("tell Note"), spans.ended("handle Note").await);
    let durable = Spans::collect("info");
    program.client.ask("desk", Look).durable().await?;
    let stored = (durable.one("ask Look"), durable.ended("handle Look").await);

    for (sent, handled) in [told, stored] {
        assert_eq!(sent.span_kind, SpanKind::Producer);
        assert_eq!(handled.span_kind, SpanKind::Consumer);
        assert_eq!(handled.parent_span_id, SpanId::INVALID);
        assert_ne!(
            handled.span_context.trace_id(),
            sent.span_context.trace_id()
        );
        let links: Vec<_> = handled.links.iter().collect();
        let [link] = &links[..] else {
            panic!("{links:?}");
        };
        assert_eq!(link.span_context.trace_id(), sent.span_context.trace_id());
        assert_eq!(link.span_context.span_id(), sent.span_context.span_id());
        for (span, kind) in [(&sent, "send"), (&handled, "process")] {
            let value = |key| attribute(span, key);
            assert_eq!(value("messaging.system").as_deref(), Some("conclib"));
            assert_eq!(value("messaging.operation.type").as_deref(), Some(kind));
            let to = value("messaging.destination.name");
            assert_eq!(to.as_deref(), Some("desk"));
            assert_eq!(span.status, Status::Unset);
        }
    }
    Ok(())
}

#[tokio::test]
async fn handler_passes_attributes_on_and_its_own_context() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    let ask = program.client.ask("front", AskAcross);
    let seen = ask.attribute("tenant", "7").await?;
    assert_eq!(seen, ["tenant"]);

    spans.ended("handle AskAcross").await;
    let chain = [
        "ask AskAcross",
        "handle AskAcross",
        "ask Look",
        "handle Look",
    ];
    let chain = chain.map(|name| spans.one(name));
    for pair in chain.windows(2) {
        assert_eq!(pair[1].parent_span_id, pair[0].span_context.span_id());
        assert_eq!(
            pair[1].span_context.trace_id(),
            pair[0].span_context.trace_id()
        );
    }
    assert_eq!(spans.names().len(), 4);
    Ok(())
}

#[tokio::test]
async fn errors_set_the_status_at_both_ends() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    assert!(program.client.ask("desk", Break).await.is_err());
    let (ask, handle) = (spans.one("ask Break"), spans.ended("handle Break").await);
    assert_eq!(error_type(&ask).as_deref(), Some("failed"));
    assert_eq!(
        ask.status,
        Status::error("the actor failed while handling the message")
    );
    assert_eq!(error_type(&handle).as_deref(), Some("failed"));
    assert!(matches!(handle.status, Status::Error { .. }));
    // The consequences of its failure are within the span.
    let events: Vec<_> = handle.events.iter().map(|event| &*event.name).collect();
    assert!(events.contains(&"actor failed"), "{events:?}");
    let restart = spans.ended("restart").await;
    assert_eq!(attribute(&restart, "urn").as_deref(), Some("desk"));
    assert_eq!(
        attribute(&restart, "failure").as_deref(),
        Some("on purpose")
    );
    let links: Vec<_> = restart.links.iter().collect();
    assert_eq!(links.len(), 1);
    assert_eq!(
        links[0].span_context.span_id(),
        handle.span_context.span_id()
    );

    assert_eq!(restart.status, Status::Unset);

    assert!(program.client.ask("desk", Unknown).await.is_err());
    let handle = spans.ended("handle _OTHER").await;
    assert_eq!(
        attribute(&handle, "message_name").as_deref(),
        Some("Unknown")
    );
    assert_eq!(attribute(&handle, "rpc.method").as_deref(), Some("_OTHER"));
    for span in [spans.one("ask Unknown"), handle] {
        assert_eq!(error_type(&span).as_deref(), Some("unhandled"));
        assert!(matches!(span.status, Status::Error { .. }));
    }

    assert!(program.client.ask("missing", Look).await.is_err());
    let missing = spans.one("ask Look");
    assert_eq!(error_type(&missing).as_deref(), Some("actor_not_found"));
    Ok(())
}

#[tokio::test]
async fn dropped_ask_ends_its_span_and_says_so() -> TestResult {
    let spans = Spans::collect("info");
    let program = Fixture::start().await;
    let ask = program.client.ask("desk", Hang);
    let dropped = tokio::time::timeout(Duration::from_millis(20), ask).await;
    assert!(dropped.is_err());
    let ask = spans.one("ask Hang");
    assert_eq!(error_type(&ask).as_deref(), Some("cancelled"));
    assert!(
        matches!(&ask.status, Status::Error { description } if description.contains("no longer"))
    );
    assert!(ask.end_time.duration_since(ask.start_time)? >= Duration::from_millis(20));
    // One that was never polled has none.
    drop(program.client.ask("desk", Look));
    assert_eq!(spans.names(), ["ask Hang"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn repetitions_are_counted_within_one_span() -> TestResult {
    let spans = Spans::collect("info");
    let config = Config::memory().propagator(conclib_opentelemetry::TraceContext::new());
    let client = ProxyClient::connect(&config).await?;
    let ask = client.ask("desk", Look).retry();
    assert_eq!(ask.await, Err(AskError::NoResponder));
    let ask = spans.one("ask Look");
    let retries: i64 = attribute(&ask, "retries").unwrap().parse()?;
    assert!(retries > 1, "{retries}");

    let between_attempts = client.ask("desk", Note).retry();
    let waited = tokio::time::timeout(Duration::from_millis(10), between_attempts).await;
    assert!(waited.is_err());
    let ask = spans.one("ask Note");
    assert_eq!(error_type(&ask).as_deref(), Some("cancelled"));
    Ok(())
}

#[tokio::test]
async fn without_a_propagator_there_are_no_spans_of_calls() -> TestResult {
    let spans = Spans::collect("info");
    let system = ActorSystem::new();
    system.spawn(actors::Desk).urn("desk").await?;
    let config = Config::memory();
    start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;
    // The context of a program that knows it is an attribute as any other.
    let ask = client.ask("desk", Look).attribute("traceparent", "x");
    assert_eq!(ask.await?, ["traceparent"]);
    let handle = spans.ended("handle").await;
    assert_eq!(attribute(&handle, "otel.kind"), None);
    assert_eq!(spans.names(), ["handle"]);
    Ok(())
}
