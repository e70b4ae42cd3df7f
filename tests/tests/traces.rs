//! One trace across processes: from an HTTP request to a durable message.
#![cfg(unix)]

use conclib_tests::bus::Bus;
use conclib_tests::process::Program;
use conclib_tests::traced::ReportedSpan;
use conclib_tests::{TestResult, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const NONE: &str = "0000000000000000";

/// The spans of a process so far.
async fn spans(process: &mut Program) -> Vec<ReportedSpan> {
    process.say("report").await;
    serde_json::from_str(&process.line("spans ").await).unwrap()
}

/// Each span with its process, of all processes.
async fn all_spans(processes: &mut [(&'static str, Program)]) -> Vec<(&'static str, ReportedSpan)> {
    let mut all = Vec::new();
    for (name, process) in processes {
        let spans = spans(process).await.into_iter();
        all.extend(spans.map(|span| (*name, span)));
    }
    all
}

/// The HTTP request, two asks with their handlers, and the durable message that is sent at the end are one trace,
/// over four processes. The handler of that message has a trace of its own, with a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_request_two_asks_and_a_durable_message_are_one_trace() -> TestResult {
    let bus = Bus::redis().await;
    let binary = env!("CARGO_BIN_EXE_traced_process");
    let start = |role| (role, Program::start(binary, &[&bus.url(), role]));
    let mut processes = ["shipping", "stock", "shop", "web"].map(start);
    let mut port = String::new();
    for (_, process) in &mut processes {
        port = process.line("ready").await;
    }

    let request = reqwest::Client::new()
        .get(format!("http://127.0.0.1:{port}/orders/pen"))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("tracestate", "vendor=1");
    assert_eq!(request.send().await?.text().await?, "6 left");

    let mut all = Vec::new();
    eventually("all spans have ended", async || {
        all = all_spans(&mut processes).await;
        all.len() == 7
    })
    .await;
    let one = |name: &str| {
        let mut found = all.iter().filter(|(_, span)| span.name == name);
        let one = found.next().unwrap_or_else(|| panic!("{name}: {all:#?}"));
        assert_eq!(found.next(), None);
        one
    };
    let chain = [
        ("web", "GET /orders/{item}", "Server"),
        ("web", "ask Order", "Client"),
        ("shop", "handle Order", "Server"),
        ("shop", "ask Reserve", "Client"),
        ("stock", "handle Reserve", "Server"),
        ("stock", "tell Ship", "Producer"),
    ];
    let mut parent = CALLER;
    for (process, name, kind) in chain {
        let (found_in, span) = one(name);
        assert_eq!((*found_in, &*span.kind), (process, kind), "{name}");
        assert_eq!((&*span.trace, &*span.parent), (TRACE, parent), "{name}");
        assert_eq!(span.links, []);
        parent = &span.span;
    }
    let (found_in, handled) = one("handle Ship");
    assert_eq!((*found_in, &*handled.kind), ("shipping", "Consumer"));
    assert_eq!(handled.parent, NONE);
    assert_ne!(handled.trace, TRACE);
    assert_eq!(handled.links, [(TRACE.to_owned(), parent.to_owned())]);
    Ok(())
}
