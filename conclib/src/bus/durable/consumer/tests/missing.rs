//! Tests of messages for actors that are missing.

use super::*;

fn pass(n: u32) -> Pass {
    Pass {
        n,
        load: ByteBuf::new(),
    }
}

impl Stage {
    async fn tell_late(&self, numbers: std::ops::Range<u32>) {
        let told = numbers.map(|n| self.client.tell("late", pass(n)));
        assert!(join_all(told).await.iter().all(Result::is_ok));
    }

    async fn open_late(&self) {
        let gate = Gate {
            passed: self.passed.clone(),
            permits: self.permits.clone(),
        };
        self.system.spawn(gate).urn("late").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn actor_that_appears_is_served_within_a_second() {
    let stage = Stage::set(Config::memory().max_deliveries(1)).await;
    stage.tell_late(0..1000).await;
    sleep(600 * SECOND).await;
    // No delivery counts, and no message occupies room.
    assert_eq!(stage.left().await, vec![0; 1000]);
    stage.permits.add_permits(1);
    let start = Instant::now();
    assert_eq!(stage.client.ask("gate", pass(7)).await, Ok(7));
    assert!(start.elapsed() < SECOND / 10);
    stage.permits.add_permits(100_000);
    stage.open_late().await;
    sleep(SECOND).await;
    assert_eq!(lock(&stage.passed)[..2], [7, 0]);
    let passed = stage.let_pass(1001).await;
    assert_eq!(passed[1..], (0..1000).collect::<Vec<_>>());
    assert_eq!(stage.dead().await, 0);
}

#[tokio::test(start_paused = true)]
async fn restarting_actor_is_waited_for_without_a_deferral() {
    let stage = Stage::set(Config::memory()).await;
    stage.tell_late(0..3).await;
    sleep(SECOND / 2).await;
    stage.permits.add_permits(3);
    stage.open_late().await;
    sleep(SECOND).await;
    assert_eq!(*lock(&stage.passed), [0, 1, 2]);
    assert!(stage.script.counts("claim").is_empty());
}

#[tokio::test(start_paused = true)]
async fn message_becomes_a_dead_letter_when_no_actor_came_in_time() {
    let stage = Stage::set(Config::memory().missing_timeout(60 * SECOND)).await;
    stage.tell_late(0..300).await;
    let asked = stage.client.ask("late", pass(300)).timeout(600 * SECOND);
    let asked = tokio::spawn(asked);
    sleep(30 * SECOND).await;
    stage.tell_late(301..302).await;
    sleep(29 * SECOND).await;
    assert_eq!(stage.dead().await, 0);
    sleep(5 * SECOND).await;
    let error = asked.await.unwrap();
    assert!(
        matches!(error, Err(AskError::ActorNotFound { .. })),
        "{error:?}"
    );
    let letters = stage.proxy.dead_letters().list().limit(1000).await.unwrap();
    // The last message has waited for half of the time only.
    assert_eq!((letters.len(), letters[0].deliveries), (301, 0));
    assert_eq!(
        letters[0].reason,
        "no actor had the URN for 60s: no actor has the URN `late`"
    );
    stage.permits.add_permits(9);
    stage.open_late().await;
    sleep(SECOND).await;
    assert_eq!(*lock(&stage.passed), [301]);
}

#[tokio::test(start_paused = true)]
async fn bus_that_fails_delays_the_dead_letters_only() {
    let stage = Stage::set(Config::memory().missing_timeout(60 * SECOND)).await;
    stage.tell_late(0..3).await;
    sleep(50 * SECOND).await;
    stage.script.fail("claim", 20);
    sleep(30 * SECOND).await;
    assert_eq!(lock(&stage.script.failing)["claim"], 0);
    assert_eq!(stage.dead().await, 3);
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn last_delivery_waits_for_its_actor_and_is_isolated() {
    let config = Config::memory().max_deliveries(3);
    let client = ProxyClient::connect(&config).await.unwrap();
    client.tell("late", pass(1)).await.unwrap();
    crashes::crash_with(&config, 1, Attempts::new(2)).await;
    let stage = Stage::set(config).await;
    sleep(600 * SECOND).await;
    assert_eq!((stage.left().await, stage.dead().await), (vec![2], 0));
    stage.open_late().await;
    sleep(SECOND).await;
    assert_eq!(stage.left().await, [3]);
    // Others wait for the isolated delivery.
    stage.tell(2..3, 0).await;
    stage.permits.add_permits(1);
    sleep(SECOND / 100).await;
    assert_eq!(*lock(&stage.passed), [1]);
    assert_eq!(stage.let_pass(2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn stop_releases_messages_without_an_actor() {
    let config = Config::memory().visibility_timeout(3600 * SECOND);
    let stage = Stage::set(config.clone()).await;
    stage.tell_late(0..3).await;
    sleep(10 * SECOND).await;
    assert!(stage.system.shutdown().await.is_clean());
    let next = Stage::set(config).await;
    next.permits.add_permits(9);
    next.open_late().await;
    sleep(2 * SECOND).await;
    assert_eq!(*lock(&next.passed), [0, 1, 2]);
}
