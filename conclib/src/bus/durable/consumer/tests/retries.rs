//! Tests of the pauses after failed deliveries.

use std::future::IntoFuture;

use super::*;

/// Longer than any test: no message is due because of it.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

fn config(deliveries: u32) -> Config {
    let config = Config::memory().visibility_timeout(NEVER);
    config.max_deliveries(deliveries)
}

#[tokio::test(start_paused = true)]
async fn failed_message_is_delivered_again_after_growing_pauses() {
    let config = config(4).retry_backoff(Backoff::from_secs(10).up_to(30 * SECOND));
    let stage = Stage::set(config).await;
    let start = Instant::now();
    let asked = stage.client.ask("gate", Fail).timeout(600 * SECOND).await;
    assert_eq!(asked, Err(AskError::NoReply));
    // 10 + 20 + 30 s, each shortened by up to one half.
    let elapsed = start.elapsed();
    assert!(
        (30 * SECOND..=61 * SECOND).contains(&elapsed),
        "{elapsed:?}"
    );
    assert_eq!(stage.dead().await, 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_of_a_type_travel_with_the_message() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let config = config(3).retry_backoff(Backoff::none());
    let stage = Stage::set(config).await;
    let start = Instant::now();
    let ask = stage.client.ask("gate", FailRarely).timeout(5 * HOUR);
    assert_eq!(ask.await, Err(AskError::NoReply));
    let elapsed = start.elapsed();
    assert!((3 * HOUR / 2..4 * HOUR).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn pauses_continue_while_the_bus_fails() {
    let config = config(2).retry_backoff(Backoff::from_secs(10));
    let stage = Stage::set(config).await;
    stage.client.tell("gate", Fail).await.unwrap();
    sleep(SECOND).await;
    stage.script.fail("claim", 5);
    sleep(20 * SECOND).await;
    assert_eq!(lock(&stage.script.failing)["claim"], 0);
    assert_eq!(stage.dead().await, 1);
}

#[tokio::test(start_paused = true)]
async fn stop_releases_messages_amid_their_pauses() {
    let config = config(2).retry_backoff(Backoff::from_secs(3600));
    let stage = Stage::set(config.clone()).await;
    stage.client.tell("gate", Fail).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(stage.dead().await, 0);
    assert!(stage.system.shutdown().await.is_clean());
    let next = Stage::set(config).await;
    sleep(SECOND).await;
    // The last delivery has failed as well.
    let letters = next.proxy.dead_letters().list().await.unwrap();
    assert_eq!(letters[0].deliveries, 2);
}

#[tokio::test(start_paused = true)]
async fn last_delivery_after_a_process_end_and_a_failure_is_isolated() {
    let config = config(3).visibility_timeout(30 * SECOND);
    let config = config.retry_backoff(Backoff::from_secs(10));
    let client = ProxyClient::connect(&config).await.unwrap();
    client.tell("gate", Fail).await.unwrap();
    crashes::crash_with(&config, 1, Attempts::new(1)).await;
    let stage = Stage::set(config).await;
    sleep(35 * SECOND).await;
    assert_eq!(stage.left().await, [2]);
    stage.tell(0..1, 0).await;
    sleep(20 * SECOND).await;
    // It waits for the message that the gate has.
    assert_eq!(stage.left().await, [2, 1]);
    assert_eq!(stage.let_pass(1).await, [0]);
    assert_eq!(stage.dead().await, 1);
}

#[tokio::test(start_paused = true)]
async fn repeated_ask_of_a_failing_handler_adds_no_deliveries() {
    // Less than the 30 s of silence after which the client asks again without a sign of loss.
    let config = config(4).retry_backoff(Backoff::from_secs(4).up_to(16 * SECOND));
    let stage = Stage::set(config).await;
    let ask = stage.client.ask("gate", Fail).timeout(120 * SECOND);
    let start = Instant::now();
    assert_eq!(ask.retry().await, Err(AskError::NoReply));
    // 4 + 8 + 16 s, each shortened by up to one half.
    let elapsed = start.elapsed();
    assert!(
        (14 * SECOND..=28 * SECOND).contains(&elapsed),
        "{elapsed:?}"
    );
    assert_eq!(stage.script.counts("read").iter().sum::<usize>(), 1);
    let letters = stage.proxy.dead_letters().list().await.unwrap();
    assert_eq!((letters.len(), letters[0].deliveries), (1, 4));
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn repetition_shares_the_pause_and_the_deliveries_of_its_message() {
    let config = config(3).retry_backoff(Backoff::from_secs(20).up_to(40 * SECOND));
    let stage = Stage::set(config).await;
    let ask = stage.client.ask("gate", Fail).timeout(600 * SECOND);
    let start = Instant::now();
    let asked = tokio::spawn(ask.retry().into_future());
    sleep(2 * SECOND).await;
    stage.lose_the_lease().await; // its answer may be lost with the term
    assert_eq!(asked.await.unwrap(), Err(AskError::NoReply));
    let elapsed = start.elapsed();
    // 20 + 40 s, each shortened by up to one half.
    assert!(
        (30 * SECOND..=65 * SECOND).contains(&elapsed),
        "{elapsed:?}"
    );
    assert!(stage.script.counts("read").iter().sum::<usize>() > 1);
    let letters = stage.proxy.dead_letters().list().await.unwrap();
    assert_eq!((letters.len(), letters[0].deliveries), (1, 3));
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn slow_handler_is_sent_no_repetition_without_a_sign_of_loss() {
    let stage = Stage::set(config(3)).await;
    let load = ByteBuf::new();
    let ask = stage.client.ask("gate", Pass { n: 1, load });
    let asked = tokio::spawn(ask.timeout(600 * SECOND).retry().into_future());
    sleep(29 * SECOND).await;
    assert_eq!(stage.script.counts("read").iter().sum::<usize>(), 1);
    stage.permits.add_permits(1);
    assert_eq!(asked.await.unwrap(), Ok(1));
    assert_eq!(*lock(&stage.passed), [1]);
}
