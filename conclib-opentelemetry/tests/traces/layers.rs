//! Programs whose layer cannot continue traces: they are told once.

use opentelemetry::trace::SpanId;
use opentelemetry_old::trace::TracerProvider as _;
use opentelemetry_sdk_old::trace::SdkTracerProvider as OldTracerProvider;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

use crate::actors::{Look, Note};
use crate::fixture::{Fixture, Spans, TestResult, subscribe};

/// Asks twice, and tells.
async fn use_the_bus(program: &Fixture) -> TestResult {
    for _ in 0..2 {
        program.client.ask("desk", Look).await?;
    }
    program.client.tell("desk", Note).await?;
    // Behind the tell, in the same mailbox.
    program.desk.ask(Look).await?;
    Ok(())
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn layer_of_another_version_is_reported_once() -> TestResult {
    let provider = OldTracerProvider::builder().build();
    let layer = tracing_opentelemetry_old::layer().with_tracer(provider.tracer("test"));
    let filtered = layer.with_filter(EnvFilter::new("info"));
    let (_subscriber, warnings) = subscribe(Registry::default().with(filtered));
    let program = Fixture::start().await;
    use_the_bus(&program).await?;
    let [sending] = &warnings.all()[..] else {
        panic!("{:?}", warnings.all());
    };
    let start = "no layer of tracing-opentelemetry 0.34 has this span";
    assert!(sending.starts_with(start), "{sending}");

    // A context that comes from a process that has the right one is lost here as well.
    for _ in 0..2 {
        let ask = program.client.ask("desk", Look);
        ask.attribute("traceparent", PARENT).await?;
    }
    let [_, receiving] = &warnings.all()[..] else {
        panic!("{:?}", warnings.all());
    };
    assert!(receiving.starts_with(start), "{receiving}");
    Ok(())
}

#[tokio::test]
async fn missing_layer_is_reported_once() -> TestResult {
    let (_subscriber, warnings) = subscribe(Registry::default());
    let program = Fixture::start().await;
    use_the_bus(&program).await?;
    assert_eq!(warnings.all().len(), 1);
    assert!(warnings.all()[0].contains("has no such layer"));
    Ok(())
}

#[tokio::test]
async fn filter_that_leaves_the_spans_out_is_reported_once() -> TestResult {
    let spans = Spans::collect("other=info");
    let program = Fixture::start().await;
    use_the_bus(&program).await?;
    assert_eq!(spans.names(), [""; 0]);
    assert_eq!(spans.warnings.all().len(), 1);
    assert!(spans.warnings.all()[0].contains("its filter must let"));
    Ok(())
}

#[tokio::test]
async fn trace_continues_if_only_the_spans_of_calls_are_left_out() -> TestResult {
    let spans = Spans::collect("info,conclib::request=off");
    let program = Fixture::start().await;
    let request = tracing::info_span!("request");
    let ask = program.client.ask("desk", Look).into_future();
    tracing::Instrument::instrument(ask, request).await?;
    let handle = spans.ended("handle Look").await;
    let request = spans.ended("request").await;
    assert_ne!(handle.parent_span_id, SpanId::INVALID);
    assert_eq!(handle.parent_span_id, request.span_context.span_id());
    assert_eq!(spans.warnings.all(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn program_without_a_subscriber_is_not_told() -> TestResult {
    let program = Fixture::start().await;
    use_the_bus(&program).await
}
