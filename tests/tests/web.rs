//! An axum router whose handlers ask actors, over the bus in memory.

use axum::body::{Body, to_bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use conclib::bus::{AskService, ConnectionState};
use conclib::prelude::*;
use conclib::test::Faults;
use conclib::web::{self, Deadline, DeadlineHeader};
use conclib_tests::bus::Bus;
use conclib_tests::logs::{capture, logged};
use conclib_tests::messages::{Double, Hold};
use conclib_tests::{MS, SECOND, within};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

fn router(client: ProxyClient) -> Router {
    Router::new()
        .route("/livez", get(web::livez))
        .route("/readyz", get(web::readyz))
        .route("/serves", get(web::readyz_with_responder))
        .route("/missing", get(missing))
        .route("/visit/{name}", get(visit))
        .route("/fixed", get(fixed))
        .route("/hold", get(hold))
        .with_state(client)
}

async fn missing(client: ProxyClient) -> Result<String, AskError> {
    let asked = client.ask("secret/17", Double { n: 1 }).await?;
    Ok(asked.to_string())
}

/// A part of the URN, and the key, are what the HTTP client sends.
async fn visit(
    client: ProxyClient,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<String, AskError> {
    let ask = client.ask(format!("visitor/{name}"), Double { n: 1 });
    let ask = match headers.get("idempotency-key") {
        Some(key) => ask.idempotency_key(key.to_str().unwrap_or_default()),
        None => ask,
    };
    Ok(ask.await?.to_string())
}

async fn fixed(client: ProxyClient) -> Result<String, AskError> {
    let ask = client.ask("secret", Double { n: 1 });
    Ok(ask.missing_is_unavailable().await?.to_string())
}

async fn hold(client: ProxyClient, deadline: Deadline) -> Result<String, AskError> {
    let ask = client.ask("holder", Hold).deadline(deadline);
    Ok(ask.await?.to_string())
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn send(app: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = within(app.clone().oneshot(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn status(app: &Router, path: &str) -> u16 {
    send(app, path, &[]).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn health_follows_the_connection_and_the_actor_system() {
    let faults = Faults::seeded(1);
    let config = Config::memory().faults(faults.clone());
    faults.cut();
    let client = ProxyClient::lazy(&config).unwrap();
    let mut state = client.connection_state();
    let app = router(client.clone());
    let statuses = async || {
        let all = ["/livez", "/readyz", "/serves"].map(|path| status(&app, path));
        futures_util::future::join_all(all).await
    };
    assert_eq!(statuses().await, [200, 503, 503]);
    let answer = send(&app, "/readyz", &[]).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert!(!answer.body.contains("purpose"), "{}", answer.body);

    faults.calm();
    drop(state.wait_for(ConnectionState::is_connected).await.unwrap());
    assert_eq!(statuses().await, [200, 200, 503]);
    let system = ActorSystem::new();
    let proxy = start_proxy(&system, &config).await.unwrap();
    assert_eq!(statuses().await, [200, 200, 200]);
    proxy.shutdown().await;
    assert_eq!(statuses().await, [200, 200, 503]);
    client.shutdown().await;
    assert_eq!(statuses().await, [200, 503, 503]);
}

// On one thread, so that the captured log is that of this test.
#[tokio::test]
async fn full_error_is_logged_once_and_not_sent() {
    capture();
    let fixture = Bus::memory().fixture().await;
    let app = router(fixture.client.clone());
    let missing = send(&app, "/missing", &[]).await;
    assert_eq!(missing.status, 404);
    assert_eq!(status(&app, "/missing").await, 404);
    let fixed = send(&app, "/fixed", &[]).await;
    assert_eq!(fixed.status, 503);
    assert_eq!(fixed.headers["retry-after"], "1");
    for answer in [&missing, &fixed] {
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    }
    let log = logged();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("conclib::web"))
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    // A misspelt URN is seen, and only once.
    assert!(lines[0].contains(" INFO") && lines[0].contains("status=404"));
    assert!(lines[1].contains("DEBUG") && lines[1].contains("status=404"));
    assert!(lines[2].contains(" WARN") && lines[1].contains("executed=\"no\""));
    assert!(
        lines
            .iter()
            .all(|line| line.contains("error=") && line.contains("`secret"))
    );
}

#[tokio::test]
async fn http_client_causes_no_error_in_the_log() {
    capture();
    let fixture = Bus::memory().fixture().await;
    let app = router(fixture.client.clone());
    let long = format!("/visit/{}", "x".repeat(300));
    for path in ["/visit/a%20b", &long] {
        assert_eq!(status(&app, path).await, 404, "{path}");
    }
    for key in [String::new(), "k".repeat(200)] {
        let refused = send(&app, "/visit/a", &[("idempotency-key", &key)]).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
    }
    let lines = logged();
    let of_web = lines.lines().filter(|line| line.contains("conclib::web"));
    let loud = |line: &str| line.contains(" WARN ") || line.contains("ERROR ");
    assert_eq!(of_web.clone().count(), 4, "{lines}");
    assert!(!of_web.clone().any(loud), "{lines}");
}

#[tokio::test(start_paused = true)]
async fn deadline_of_the_request_ends_the_ask() {
    let fixture = Bus::memory().fixture().await;
    let app = router(fixture.client.clone());
    let start = Instant::now();
    let late = send(&app, "/hold", &[("request-timeout", "1.5")]).await;
    assert_eq!((late.status.as_u16(), start.elapsed()), (504, 1500 * MS));

    let malformed = send(&app, "/hold", &[("request-timeout", "soon")]).await;
    assert_eq!(malformed.status, 400);
    assert_eq!(
        malformed.headers["content-type"],
        "application/problem+json"
    );
    assert!(malformed.body.contains("such as 2.5"), "{}", malformed.body);
    assert!(!malformed.body.contains("soon"), "{}", malformed.body);

    let name = HeaderName::from_static("x-timeout-ms");
    let header = DeadlineHeader::millis(name).at_most(SECOND);
    let app = app.layer(Extension(header));
    for (value, limit) in [("250", 250 * MS), ("5000", SECOND)] {
        let start = Instant::now();
        let headers = [("x-timeout-ms", value), ("request-timeout", "soon")];
        let late = send(&app, "/hold", &headers).await;
        assert_eq!((late.status.as_u16(), start.elapsed()), (504, limit));
    }
}

#[tokio::test]
async fn service_is_ready_until_its_client_is_shut_down() {
    let fixture = Bus::memory().fixture().await;
    let client = &fixture.client;
    let mut worker: AskService<Double> = client.service("worker");
    assert_eq!(
        worker.ready().await.unwrap().call(Double { n: 4 }).await,
        Ok(8)
    );
    let absent = client.service::<Double>("absent");
    let asked = absent
        .clone()
        .missing_is_unavailable()
        .oneshot(Double { n: 1 });
    assert!(asked.await.unwrap_err().is_retryable());
    let asked = absent.oneshot(Double { n: 1 }).await;
    assert!(matches!(asked, Err(AskError::ActorNotFound { .. })));
    let held = client
        .service::<Hold>("holder")
        .timeout(10 * MS)
        .oneshot(Hold);
    assert!(matches!(held.await, Err(AskError::Timeout { .. })));
    client.shutdown().await;
    assert_eq!(worker.ready().await.err(), Some(AskError::Closed));
}
