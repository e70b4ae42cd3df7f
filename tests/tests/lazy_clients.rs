//! Clients that start before their Redis does, or that it does not let in.
#![cfg(unix)]

use conclib::bus::ConnectionState;
use conclib::prelude::*;
use conclib_tests::actors::Worker;
use conclib_tests::durable::{Order, open_shop};
use conclib_tests::logs::{capture, logged};
use conclib_tests::messages::Double;
use conclib_tests::redis::PersistentRedis;
use conclib_tests::{ASK_TIMEOUT, Log, SECOND, eventually, within};
use tokio::time::{Instant, sleep};

/// Waits for a state with this beginning.
async fn state(client: &ProxyClient, beginning: &str) -> ConnectionState {
    let mut state = client.connection_state();
    let is_so = |state: &ConnectionState| state.to_string().starts_with(beginning);
    within(state.wait_for(is_so)).await.unwrap().clone()
}

// On one thread, so that the captured log is that of this test.
#[tokio::test]
async fn redis_starts_later_and_is_stopped() {
    capture();
    let mut redis = PersistentRedis::start().await;
    redis.kill().await;
    let config = redis.config();
    let client = ProxyClient::lazy(&config).unwrap();
    let now = state(&client, "connecting: cannot reach Redis").await;
    assert!(matches!(now, ConnectionState::Connecting { .. }));
    assert_eq!(now, client.state());

    let start = Instant::now();
    let refused = client.ask("worker", Double { n: 1 }).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("the bus is unavailable: cannot reach Redis at 127.0.0.1:"));
    assert_eq!(client.responder().await, Err(refused));
    assert!(start.elapsed() < SECOND);
    let order = client.ask("shop", Order { n: 7 }).timeout(ASK_TIMEOUT);
    let order = tokio::spawn(order.into_future());
    sleep(SECOND).await; // several attempts
    assert!(!order.is_finished());

    redis.start_again().await;
    state(&client, "connected").await;
    assert_eq!(client.responder().await, Err(AskError::NoResponder));
    let system = ActorSystem::new();
    let log = Log::default();
    let _watch = open_shop(&system, "shop", &log).await;
    system.spawn(Worker::default()).await.unwrap();
    let proxy = start_proxy(&system, &config).await.unwrap();
    assert_eq!(client.responder().await, Ok(()));
    assert!(proxy.state().is_connected());
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    assert_eq!(within(order).await.unwrap(), Ok(7));
    assert_eq!(log.count(), 1);

    redis.kill().await;
    state(&client, "reconnecting").await;
    let refused = client.responder().await;
    assert!(matches!(refused, Err(AskError::Unavailable { .. })));
    redis.start_again().await;
    state(&client, "connected").await;
    eventually("it is answered again", async || {
        client.ask("worker", Double { n: 4 }).await == Ok(8)
    })
    .await;
    assert!(system.shutdown().await.is_clean());
    assert_eq!(client.responder().await, Err(AskError::NoResponder));

    let lines = logged();
    let once = |text: &str| assert_eq!(lines.matches(text).count(), 1, "{text}");
    once("cannot connect to the bus: asks end with");
    once("connected to the bus");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_password_is_the_reason_until_it_is_corrected() {
    let directory = std::env::temp_dir().join(format!("conclib-lazy-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let password = directory.join("password");
    std::fs::write(&password, "right").unwrap();
    let config = Config::new("redis://127.0.0.1:0").unwrap();
    let redis = start_redis(&config.password_file(&password)).await.unwrap();
    std::fs::write(&password, "wrong").unwrap();

    let client = ProxyClient::lazy(redis.config()).unwrap();
    let now = state(&client, "connecting: cannot reach").await;
    assert!(now.to_string().contains("WRONGPASS"), "{now}");
    let refused = client.tell("worker", Double { n: 1 }).await;
    assert!(matches!(refused, Err(AskError::Unavailable { .. })));

    std::fs::write(&password, "right").unwrap();
    state(&client, "connected").await;
    let refused = client.tell("worker", Double { n: 1 }).await;
    assert_eq!(refused, Err(AskError::NoResponder));
    client.shutdown().await;
    assert_eq!(client.state(), ConnectionState::Closed);
    std::fs::remove_dir_all(directory).unwrap();
}
