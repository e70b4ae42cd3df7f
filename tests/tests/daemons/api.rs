//! `start_api`: a web server as a helper process.

use std::time::Duration;

use conclib::daemon::{StartApiError, start_api};
use tokio::process::Command;
use tokio::time::Instant;

use crate::support::{
    BOUND, capture_log, eventually, exchange, free_port, is_alive, is_closed, logged,
};

#[tokio::test]
async fn shutdown_ends_all_processes_of_an_api() {
    capture_log();
    let (command, url, port) = web_server("200");
    let api = start_api(command, &url).await.unwrap();
    let child = child_of(port).await;
    assert!(is_alive(child));
    api.shutdown().await.unwrap();
    assert!(is_closed(port).await);
    eventually("the grandchild is gone", async || !is_alive(child)).await;
    let log = logged();
    assert!(
        log.contains(&format!("conclib::api: child {child}")),
        "{log}"
    );
    assert!(log.contains("conclib::api: a line on stderr"), "{log}");
}

#[tokio::test]
async fn api_is_gone_once_dropped() {
    let (command, url, port) = web_server("200");
    let api = start_api(command, &url).await.unwrap();
    let child = child_of(port).await;
    drop(api);
    assert!(is_closed(port).await);
    eventually("the grandchild is gone", async || !is_alive(child)).await;
}

#[tokio::test]
async fn grandchild_that_ignores_sigterm_is_killed() {
    let (mut command, url, port) = web_server("200");
    command.arg("stubborn");
    let api = start_api(command, &url).await.unwrap();
    let child = child_of(port).await;
    api.shutdown().await.unwrap();
    eventually("the grandchild is gone", async || !is_alive(child)).await;
}

#[tokio::test]
async fn server_that_ignores_sigterm_is_killed() {
    let (server, url, port) = web_server("200");
    let server = server.as_std();
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap '' TERM; exec "$@""#, "sh"]);
    command.arg(server.get_program()).args(server.get_args());
    let api = start_api(command, &url).await.unwrap();
    api.shutdown().await.unwrap();
    assert!(is_closed(port).await);
}

#[tokio::test]
async fn api_that_ends_at_once_shows_why() {
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "for n in $(seq 30); do echo line $n >&2; done; exit 3",
    ]);
    let started = Instant::now();
    let error = start_api(command, &url(free_port())).await.unwrap_err();
    assert!(
        started.elapsed() < BOUND,
        "it does not wait for the timeout"
    );
    let text = error.to_string();
    let StartApiError::Exited {
        status, last_lines, ..
    } = error
    else {
        panic!("{text}")
    };
    assert_eq!(status.code(), Some(3));
    assert_eq!(last_lines.as_slice().len(), 20);
    assert!(
        text.contains("exit status: 3") && text.ends_with("    line 30"),
        "{text}"
    );
}

#[tokio::test]
async fn api_that_is_never_healthy_shows_its_last_answer() {
    let (command, url, port) = web_server("500");
    let limit = Duration::from_secs(2);
    let error = start_api(command, &url).timeout(limit).await.unwrap_err();
    let text = error.to_string();
    let StartApiError::Unhealthy { last, after, .. } = error else {
        panic!("{text}")
    };
    assert!(last.contains("HTTP/1.1 500"), "{last}");
    assert_eq!(after, limit);
    assert!(text.contains("a line on stderr"), "{text}");
    assert!(is_closed(port).await);
}

#[tokio::test]
async fn api_that_never_listens_shows_the_connection_error() {
    let (command, url, _) = web_server("0");
    let error = start_api(command, &url)
        .timeout(Duration::from_millis(500))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StartApiError::Unhealthy { .. }), "{text}");
    assert!(text.contains("onnection refused"), "{text}");
}

#[tokio::test]
async fn api_is_gone_if_its_start_is_dropped() {
    capture_log();
    let (command, url, _) = web_server("0");
    let mut start = start_api(command, &url);
    let runs = eventually("it runs", async || logged().contains("child "));
    tokio::select! {
        result = &mut start => panic!("it never gets healthy: {result:?}"),
        () = runs => {}
    }
    let text = logged();
    let child = text
        .split("child ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    let child = child.parse().unwrap();
    assert!(is_alive(child));
    drop(start);
    eventually("the grandchild is gone", async || !is_alive(child)).await;
}

#[tokio::test]
async fn wrong_urls_and_commands_are_refused() {
    for url in [
        "https://localhost:1/",
        "localhost:8000",
        "http://localhost:0",
    ] {
        let error = start_api(Command::new("true"), url).await.unwrap_err();
        assert!(matches!(error, StartApiError::InvalidUrl { .. }), "{error}");
    }
    let error = start_api(Command::new("no-such-program"), &url(free_port()))
        .await
        .unwrap_err();
    assert!(matches!(error, StartApiError::Spawn { .. }), "{error}");
    assert!(error.to_string().contains("`no-such-program`"), "{error}");
}

#[tokio::test]
async fn foreign_server_is_not_taken_for_the_api() {
    let (command, url, _) = web_server("200");
    let api = start_api(command, &url).await.unwrap();
    let error = start_api(Command::new("true"), &url).await.unwrap_err();
    assert!(
        matches!(error, StartApiError::AlreadyHealthy { .. }),
        "{error}"
    );
    api.shutdown().await.unwrap();
}

/// A web server that answers with `status`, the URL of its health check, and its port.
fn web_server(status: &str) -> (Command, String, u16) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiny_web_server"));
    command.args([&port.to_string(), status]);
    (command, url(port), port)
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/health")
}

/// The child process of the web server at this port.
async fn child_of(port: u16) -> u32 {
    let answer = exchange(port, "GET / HTTP/1.1\r\n\r\n").await.unwrap();
    answer.split("\r\n\r\n").nth(1).unwrap().parse().unwrap()
}
