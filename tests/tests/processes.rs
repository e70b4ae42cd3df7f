//! Web servers and an actor process as in production: real processes, a real Redis, and
//! real HTTP.
#![cfg(unix)]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use conclib::daemon::{ApiDaemon, start_api};
use conclib::error::Delivered;
use conclib::{AskError, ProxyClient};
use conclib_tests::bus::Bus;
use conclib_tests::desk::Parse;
use conclib_tests::messages::Double;
use conclib_tests::process::Program;
use conclib_tests::{eventually, within};
use tokio::process::Command;
use tokio::time::Instant;

/// A web server.
struct Web {
    api: ApiDaemon,
    port: u16,
}

impl Web {
    async fn start(redis: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut command = Command::new(env!("CARGO_BIN_EXE_web_process"));
        command.args([&port.to_string(), redis]);
        let api = start_api(command, &format!("http://127.0.0.1:{port}/readyz")).await;
        let api = api.unwrap();
        Self { api, port }
    }

    /// Status and body.
    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        answer(reqwest::Client::new().get(url)).await
    }

    /// Status and body of a request with this time limit, in seconds.
    async fn get_within(&self, path: &str, limit: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = reqwest::Client::new().get(url);
        answer(request.header("request-timeout", limit)).await
    }

    async fn post(&self, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        answer(reqwest::Client::new().post(url)).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, String) {
    let response = within(request.send()).await.unwrap();
    let status = response.status().as_u16();
    (status, response.text().await.unwrap())
}

/// Checks an error as a web server sends it: without a word about actors.
fn assert_problem((status, body): &(u16, String), expected: u16, executed: &str) {
    let member = format!(r#""executed":"{executed}"}}"#);
    assert_eq!(*status, expected, "{body}");
    assert!(body.ends_with(&member) && !body.contains("actor"), "{body}");
}

async fn actors(redis: &str) -> Program {
    let mut actors = Program::start(env!("CARGO_BIN_EXE_actor_process"), &[redis]);
    actors.line("ready").await;
    actors
}

async fn redis() -> (Bus, String) {
    let bus = Bus::redis().await;
    let url = bus.url();
    (bus, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_status_shows_the_outcome_of_an_ask() {
    let (_bus, url) = redis().await;
    let mut process = actors(&url).await;
    let web = Web::start(&url).await;

    assert_eq!(web.get("/double/worker/21").await, (200, "42".to_owned()));
    assert_problem(&web.get("/double/absent/21").await, 404, "no");
    assert_problem(&web.get("/double/holder/21").await, 502, "no");
    let start = Instant::now();
    let late = web.get_within("/hold", "0.2").await;
    assert_problem(&late, 504, "maybe");
    assert!(start.elapsed() < Duration::from_secs(5));

    // Stopped in order, and started again.
    process.signal("TERM").await;
    assert!(process.ended().await);
    assert_problem(&web.get("/double/worker/21").await, 503, "no");
    let mut process = actors(&url).await;
    assert_eq!(web.get("/double/worker/4").await, (200, "8".to_owned()));

    // A panicking handler ends its actor, and nothing else.
    assert_problem(&web.post("/explode/worker").await, 500, "yes");
    eventually("it is gone", async || {
        let asked = web.get("/double/worker/1").await;
        asked.0 == 500 && asked.1.contains(r#""executed":"no""#)
    })
    .await;
    assert_eq!(web.get("/double/raw/1").await, (200, "2".to_owned()));

    process.signal("TERM").await;
    assert!(process.ended().await);
    web.api.shutdown().await.unwrap();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, web.port)).is_err());
}

/// A service whose desk has failed on a bad request, and its client.
async fn broken_desk(redis: &Bus, url: &str, then: &str) -> (Program, ProxyClient) {
    let mut process = Program::start(env!("CARGO_BIN_EXE_desk_process"), &[url, then]);
    process.line("ready").await;
    let client = redis.client().await;
    let ask = |text: &str| client.ask("desk", Parse(text.to_owned()));
    assert_eq!(ask("7").await, Ok(7));
    for _ in 0..4 {
        let failed = ask("seven").await.unwrap_err();
        assert_eq!(failed.delivered(), Delivered::Accepted, "{failed}");
    }
    assert_eq!(process.line("failed").await, "desk");
    (process, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_may_end_after_an_actor_failed_for_good() {
    let (redis, url) = redis().await;
    let (mut process, client) = broken_desk(&redis, &url, "end").await;
    process.line("stopped").await;
    assert!(!process.ended().await);
    let asked = client.ask("desk", Parse("7".to_owned())).await;
    assert_eq!(asked, Err(AskError::NoResponder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_may_continue_after_an_actor_failed_for_good() {
    let (redis, url) = redis().await;
    let (mut process, client) = broken_desk(&redis, &url, "serve").await;
    let asked = client.ask("desk", Parse("7".to_owned())).await;
    assert!(
        matches!(&asked, Err(AskError::ActorFailed { urn }) if urn == "desk"),
        "{asked:?}"
    );
    assert_eq!(client.ask("worker", Double { n: 4 }).await, Ok(8));
    process.signal("TERM").await;
    process.line("stopped").await;
    assert!(process.ended().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_web_servers_ask_the_same_actors() {
    let (_bus, url) = redis().await;
    let mut process = actors(&url).await;
    let webs = tokio::join!(Web::start(&url), Web::start(&url), Web::start(&url));
    let webs = [webs.0, webs.1, webs.2];
    let requests = webs.iter().enumerate().flat_map(|(number, web)| {
        (0..40).map(move |n| async move {
            let n = number * 1000 + n;
            let answer = web.get(&format!("/double/worker/{n}")).await;
            assert_eq!(answer, (200, (2 * n).to_string()));
        })
    });
    futures_util::future::join_all(requests).await;

    // Killed, and replaced: its lease must expire first.
    process.kill().await;
    let start = Instant::now();
    let mut process = actors(&url).await;
    assert!(start.elapsed() < Duration::from_secs(12));
    for web in &webs {
        assert_eq!(web.get("/double/worker/3").await, (200, "6".to_owned()));
    }
    process.signal("TERM").await;
    assert!(process.ended().await);
    for web in webs {
        web.api.shutdown().await.unwrap();
    }
}
