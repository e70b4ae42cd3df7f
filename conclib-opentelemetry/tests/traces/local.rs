//! Spans of messages within a process.

use conclib::pool::Pool;
use opentelemetry::trace::{SpanId, SpanKind, Status};
use tracing::{Instrument, info_span};

use crate::actors::{AskDesk, Break, Desk, Forward, Look, Note, TellDesk};
use crate::fixture::{Fixture, Spans, TestResult, attribute};

/// The filter of a program that wants traces through actors of its own process.
const LOCAL: &str = "info,conclib::handle=debug,conclib::handle::tell=off";

#[tokio::test]
async fn local_asks_are_children_if_enabled() -> TestResult {
    let spans = Spans::collect(LOCAL);
    let program = Fixture::start().await;
    program.client.ask("front", AskDesk).await?;
    spans.ended("handle AskDesk").await;
    let (outer, inner) = (spans.one("handle AskDesk"), spans.one("handle Look"));
    assert_eq!(inner.parent_span_id, outer.span_context.span_id());
    assert_eq!(inner.span_context.trace_id(), outer.span_context.trace_id());
    assert_eq!(inner.span_kind, SpanKind::Internal);
    assert_eq!(attribute(&inner, "urn").as_deref(), Some("desk"));
    let queue_us: i64 = attribute(&inner, "queue_us").unwrap().parse()?;
    assert!((0..10_000_000).contains(&queue_us));

    let spans = Spans::collect("info");
    program.client.ask("front", AskDesk).await?;
    spans.ended("handle AskDesk").await;
    assert_eq!(spans.names().len(), 2, "{:?}", spans.names());
    Ok(())
}

#[tokio::test]
async fn asker_need_not_be_an_actor() -> TestResult {
    let spans = Spans::collect(LOCAL);
    let program = Fixture::start().await;
    let ask = program.desk.ask(Look).into_future();
    ask.instrument(info_span!("request")).await?;
    let handle = spans.ended("handle Look").await;
    let request = spans.ended("request").await;
    assert_eq!(handle.parent_span_id, request.span_context.span_id());
    // Without a span, it is the first one.
    let spans = Spans::collect(LOCAL);
    program.front.ask(AskDesk).await?;
    let first = spans.ended("handle AskDesk").await;
    assert_eq!(first.parent_span_id, SpanId::INVALID);
    assert_eq!(
        spans.one("handle Look").parent_span_id,
        first.span_context.span_id()
    );
    Ok(())
}

#[tokio::test]
async fn local_tells_have_spans_if_asked_for() -> TestResult {
    let spans = Spans::collect(LOCAL);
    let program = Fixture::start().await;
    program.client.tell("front", TellDesk).await?;
    program.desk.tell(Note).await?;
    program.desk.ask(Look).await?;
    spans.ended("handle Look").await;
    spans.ended("handle TellDesk").await;
    assert_eq!(spans.names().len(), 3, "{:?}", spans.names());

    let spans = Spans::collect("info,conclib::handle=debug");
    program.desk.tell(Note).await?;
    let handle = spans.ended("handle Note").await;
    assert_eq!(handle.parent_span_id, SpanId::INVALID);
    Ok(())
}

#[tokio::test]
async fn pools_and_forwards_keep_the_context() -> TestResult {
    let spans = Spans::collect(LOCAL);
    let program = Fixture::start().await;
    program.client.ask("front", Forward).await?;
    program.front.ask(AskDesk).await?; // both have handled the message by then
    let ask = spans.one("ask Forward").span_context;
    let mut handled = spans.all();
    handled.retain(|span| span.name == "handle Forward");
    assert_eq!(handled.len(), 2);
    for span in handled {
        assert_eq!(span.parent_span_id, ask.span_id());
    }

    let pool = Pool::new(2, || async { Desk });
    let pool = program.system.spawn(pool).urn("pool").await?;
    let spans = Spans::collect(LOCAL);
    program.client.ask("pool", Look).await?;
    let ask = spans.one("ask Look").span_context;
    let request = info_span!("request");
    let local = pool.ask(Look).into_future().instrument(request);
    local.await?;
    let request = spans.ended("request").await.span_context;
    let parents: Vec<_> = spans
        .all()
        .into_iter()
        .filter(|span| span.name == "handle Look")
        .map(|span| span.parent_span_id)
        .collect();
    let [ask, request] = [ask, request].map(|span| span.span_id());
    assert_eq!(parents, [ask, ask, request, request]);
    Ok(())
}

#[tokio::test]
async fn failure_of_a_local_message_is_in_its_span() -> TestResult {
    let spans = Spans::collect(LOCAL);
    let program = Fixture::start().await;
    assert!(program.desk.ask(Break).await.is_err());
    let handle = spans.ended("handle Break").await;
    assert!(matches!(handle.status, Status::Error { .. }));
    assert_eq!(attribute(&handle, "error.type").as_deref(), Some("failed"));
    Ok(())
}
