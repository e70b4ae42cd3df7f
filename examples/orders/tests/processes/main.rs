//! The third level: web and worker as processes, a real Redis, and real HTTP, under load.
//!
//! The loops are short here, and longer by environment variables (`scripts/long orders`):
//! `ORDERS_REQUESTS` between two changes, `ORDERS_CHANGES`, `ORDERS_KILLS`, `ORDERS_RESTARTS`.
#![cfg(unix)]

mod asks;
mod customers;
mod program;
mod shop;

use std::time::Duration;

use conclib::prelude::*;
use orders::GetOrder;
use serde_json::json;
use tokio::time::Instant;

use asks::Asks;
use customers::{Customers, Outcome};
use shop::{Shop, free_port, setting};

/// Customers who place and read orders at the same time.
const CUSTOMERS: usize = 16;

/// The longest time from the start of a worker until it serves, if another one of its instance was
/// killed; the goal is half a second on an idle machine.
const MOST: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_workers_take_turns() {
    let shop = Shop::open().await;
    let requests = setting("ORDERS_REQUESTS", 200);
    let mut serving = shop.worker("");
    serving.line("the service serves").await;
    let mut customers = Customers::at(&shop.url, CUSTOMERS);
    for _ in 0..setting("ORDERS_CHANGES", 4) {
        let mut standby = shop.worker("");
        standby.line("standing by").await;
        customers.more(requests).await;
        serving.signal("TERM").await;
        standby.line("the service serves").await;
        assert_eq!(serving.exit_code().await, Some(0));
        serving = standby;
    }
    customers.more(requests).await;
    let outcomes = customers.end().await;
    let failures: Vec<_> = outcomes.iter().filter(|o| !o.is_success()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    shop.assert_stored_once(&outcomes);
    println!("{} requests while workers took turns", outcomes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_worker_serves_again_at_once_and_loses_only_the_reads_in_its_hands() {
    let shop = Shop::open().await;
    let requests = setting("ORDERS_REQUESTS", 200);
    let mut worker = shop.worker("worker-0");
    let client = ProxyClient::connect(&shop.config).await.unwrap();
    first_answer(&client).await;
    let mut customers = Customers::at(&shop.url, CUSTOMERS);
    let (mut kills, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..setting("ORDERS_KILLS", 2) {
        customers.more(requests).await;
        worker.kill().await;
        kills.push(Instant::now());
        let start = Instant::now();
        worker = shop.worker("worker-0");
        first_answer(&client).await;
        waits.push(start.elapsed());
    }
    customers.more(requests).await;
    let outcomes = customers.end().await;
    let failures: Vec<_> = outcomes.iter().filter(|o| !o.is_success()).collect();
    let is_lost = |failure: &&Outcome| {
        let limit = Duration::from_secs(5)..Duration::from_secs(30);
        let is_in_hand = |killed| failure.begun < killed && failure.ended > killed;
        let is_timeout = failure.status == 504 && failure.body.contains(r#""executed":"maybe""#);
        let took = failure.ended - failure.begun;
        !failure.places
            && is_timeout
            && kills.iter().copied().any(is_in_hand)
            && limit.contains(&took)
    };
    assert!(failures.iter().all(is_lost), "{failures:#?}");
    assert!(waits.iter().all(|wait| *wait < MOST), "{waits:?}");
    shop.assert_stored_once(&outcomes);
    let (all, lost) = (outcomes.len(), failures.len());
    println!("{all} requests, {lost} reads in hand at a kill; served again after {waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_actor_is_missing_while_workers_restart() {
    let shop = Shop::open().await;
    let mut worker = shop.worker("worker-0");
    let client = ProxyClient::connect(&shop.config).await.unwrap();
    first_answer(&client).await;
    let mut asks = Asks::of(&client);
    for restart in 0..setting("ORDERS_RESTARTS", 4) {
        asks.more(600).await;
        if restart % 2 == 0 {
            worker.signal("TERM").await;
            assert_eq!(worker.exit_code().await, Some(0));
        } else {
            worker.kill().await;
        }
        worker = shop.worker("worker-0");
        first_answer(&client).await;
    }
    let counts = asks.end().await;
    println!("outcomes of asks: {counts:?}");
    let expected = ["Ok", "NoResponder", "Timeout { delivered: Accepted }"];
    assert!(
        counts.keys().all(|outcome| expected.contains(&&**outcome)),
        "{counts:?}"
    );
    assert!(counts["Ok"] > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_process_starts_without_redis_and_ends_in_good_order() {
    let config = Config::new(&format!("redis://127.0.0.1:{}", free_port())).unwrap();
    let config = config.timeout(Duration::from_secs(30));
    let (mut web, url) = shop::web(&config).await;
    let http = reqwest::Client::new();
    let status = async |path: &str| {
        let response = http.get(format!("{url}{path}")).send().await;
        response.unwrap().status().as_u16()
    };
    assert_eq!(
        (status("/livez").await, status("/readyz").await),
        (200, 503)
    );
    let body = json!({ "item": "tea", "quantity": 1, "cents": 450 }).to_string();
    let place = http.post(format!("{url}/orders")).body(body);
    let place = place.header("content-type", "application/json");
    let place = place.header("idempotency-key", "a-1");
    let early = place.try_clone().unwrap().header("request-timeout", "0.2");
    assert_eq!(early.send().await.unwrap().status(), 503);

    // The order waits for Redis, and then for the worker.
    let placed = tokio::spawn(place.header("request-timeout", "60").send());
    let shop = Shop::open_at(&config).await;
    let mut worker = shop.worker("");
    assert_eq!(placed.await.unwrap().unwrap().status(), 201);
    assert_eq!(
        (status("/readyz").await, status("/orders/a-1").await),
        (200, 200)
    );
    for process in [&mut web, &mut worker] {
        process.signal("TERM").await;
        assert_eq!(process.exit_code().await, Some(0));
    }
}

/// Asks until an answer comes; each ask ends as soon as a worker serves.
async fn first_answer(client: &ProxyClient) {
    let answered = async {
        while let Err(error) = client.ask("order/none", GetOrder).await {
            assert!(error.is_retryable(), "{error}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), answered).await;
    waited.expect("a worker serves");
}
