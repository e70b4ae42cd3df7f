//! Tests of messages whose consumers stopped sending heartbeats: their processes have ended.

use super::*;
use crate::durable::DeadLetter;

fn attempts(deliveries: u32, failures: u32) -> Attempts {
    Attempts {
        deliveries,
        failures,
    }
}

/// Claims messages as a consumer that then ends, and sets their deliveries.
pub(super) async fn crash_with(config: &Config, count: u32, attempts: Attempts) {
    let server = open_server(config, &Arc::default()).await.unwrap();
    let ended = server.consumer("").await.unwrap();
    let read = ended.read(count, Duration::ZERO).await.unwrap();
    assert_eq!(read.len(), count as usize);
    let ids: Vec<_> = read.iter().map(|entry| entry.id).collect();
    let claimed = ended.claim(&ids, attempts, Duration::ZERO).await.unwrap();
    assert_eq!(claimed.len(), ids.len());
}

/// A stage on which a consumer has ended with messages of these numbers for the gate.
async fn after_crash(config: Config, numbers: std::ops::Range<u32>, attempts: Attempts) -> Stage {
    let client = ProxyClient::connect(&config).await.unwrap();
    let count = numbers.len();
    for n in numbers {
        client.tell("gate", pass(n)).await.unwrap();
    }
    crash_with(&config, u32::try_from(count).unwrap(), attempts).await;
    Stage::set(config).await
}

fn pass(n: u32) -> Pass {
    Pass {
        n,
        load: ByteBuf::new(),
    }
}

impl Stage {
    async fn letters(&self) -> Vec<DeadLetter> {
        self.proxy.dead_letters().list().await.unwrap()
    }
}

/// The time after which the entries of an ended consumer are certainly claimed.
const DUE: Duration = Duration::from_secs(45);

#[tokio::test(start_paused = true)]
async fn reason_names_process_ends_and_failures() {
    for (attempts, reason) in [
        (
            attempts(3, 0),
            "its process ended 3 times before it was handled",
        ),
        (
            attempts(3, 2),
            "its delivery failed 2 times, and its process ended once before it was handled",
        ),
    ] {
        let stage = after_crash(Config::memory().max_deliveries(3), 0..1, attempts).await;
        stage.permits.add_permits(9);
        sleep(DUE).await;
        let letters = stage.letters().await;
        let facts = letters.iter().map(|one| (one.deliveries, &*one.reason));
        assert_eq!(facts.collect::<Vec<_>>(), [(3, reason)]);
        assert!(lock(&stage.passed).is_empty() && stage.left().await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn last_deliveries_are_isolated() {
    let stage = after_crash(Config::memory().max_deliveries(3), 0..3, attempts(2, 0)).await;
    sleep(DUE).await;
    // One message is with its actor; the others keep their count, and new ones have to wait.
    assert_eq!(stage.left().await, [3, 2, 2]);
    stage.tell(3..5, 0).await;
    for passed in 1..3 {
        stage.permits.add_permits(1);
        sleep(SECOND / 100).await;
        assert_eq!(lock(&stage.passed).len(), passed);
    }
    let mut passed = stage.let_pass(5).await;
    passed.sort_unstable();
    assert_eq!(passed, [0, 1, 2, 3, 4]);
    assert_eq!(stage.dead().await, 0);
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn new_messages_wait_for_an_isolated_delivery() {
    let stage = after_crash(Config::memory().max_deliveries(3), 0..1, attempts(2, 0)).await;
    sleep(DUE).await;
    let other = stage.client.tell("other-gate", pass(7));
    other.await.unwrap();
    sleep(SECOND).await;
    let snapshot = stage.system.snapshot();
    let running = ["gate", "other-gate"].map(|urn| snapshot.actor(urn).unwrap().running.is_some());
    assert_eq!(running, [true, false]);
    assert_eq!(stage.let_pass(2).await, [0, 7]);
}

#[tokio::test(start_paused = true)]
async fn stuck_isolated_delivery_blocks_others_for_the_visibility_time() {
    let config = Config::memory().max_deliveries(3);
    let visibility = config.visibility_timeout;
    let stage = after_crash(config, 0..1, attempts(2, 0)).await;
    sleep(visibility + visibility / 2).await;
    assert_eq!(stage.left().await, [3]);
    let start = Instant::now();
    let big = stage.client.ask("other-gate", Big).timeout(2 * visibility);
    assert!(big.await.is_ok());
    assert!(start.elapsed() <= visibility);
    // Stuck messages are not waited for again.
    let start = Instant::now();
    assert!(stage.client.ask("other-gate", Big).await.is_ok());
    assert!(start.elapsed() < SECOND);
    assert_eq!(stage.let_pass(1).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn duplicates_wait_for_an_isolated_delivery_and_share_its_outcome() {
    let config = Config::memory().max_deliveries(3);
    let client = ProxyClient::connect(&config).await.unwrap();
    let tell = |n| client.tell("gate", pass(n));
    tell(1).idempotency_key("a").await.unwrap();
    tell(2).idempotency_key("b").await.unwrap();
    crash_with(&config, 2, attempts(2, 0)).await;
    let stage = Stage::set(config.clone()).await;
    sleep(DUE).await;
    // One message is with its actor. The other waits, and so does its duplicate.
    let again = tokio::spawn(
        client
            .ask("gate", pass(2))
            .idempotency_key("b")
            .timeout(DUE),
    );
    sleep(SECOND).await;
    assert_eq!(stage.left().await, [3, 2, 0]);
    assert_eq!(stage.let_pass(2).await, [1, 2]);
    assert_eq!(again.await.unwrap(), Ok(2));
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn duplicates_of_a_dead_letter_are_removed() {
    let config = Config::memory().max_deliveries(3);
    let client = ProxyClient::connect(&config).await.unwrap();
    let tell = || client.tell("gate", pass(1)).idempotency_key("a");
    tell().await.unwrap();
    crash_with(&config, 1, attempts(3, 0)).await;
    tell().await.unwrap();
    crash_with(&config, 1, attempts(2, 0)).await;
    let stage = Stage::set(config).await;
    stage.permits.add_permits(9);
    sleep(DUE).await;
    assert_eq!(
        (stage.letters().await.len(), stage.left().await.len()),
        (1, 0)
    );
    assert!(lock(&stage.passed).is_empty());
}

#[tokio::test(start_paused = true)]
async fn missing_actor_of_a_last_delivery_is_the_reason() {
    let config = Config::memory().max_deliveries(3).missing_timeout(DUE);
    let client = ProxyClient::connect(&config).await.unwrap();
    client.tell("absent", pass(1)).await.unwrap();
    client.tell("gate", pass(2)).await.unwrap();
    crash_with(&config, 2, attempts(2, 0)).await;
    let stage = Stage::set(config).await;
    stage.permits.add_permits(9);
    sleep(DUE).await;
    assert_eq!(*lock(&stage.passed), [2]);
    sleep(2 * DUE).await;
    let letters = stage.letters().await;
    // The last delivery has not begun.
    assert_eq!((letters.len(), letters[0].deliveries), (1, 2));
    let reason = "no actor had the URN for 45s: no actor has the URN `absent`";
    assert_eq!(letters[0].reason, reason);
}

#[tokio::test(start_paused = true)]
async fn graceful_stop_counts_no_delivery_of_quarantined_messages() {
    let stage = after_crash(Config::memory().max_deliveries(3), 0..3, attempts(2, 0)).await;
    sleep(DUE).await;
    assert_eq!(stage.left().await, [3, 2, 2]);
    stage.permits.add_permits(1);
    assert!(stage.system.shutdown().await.is_clean());
    let mut left = stage.left().await;
    left.retain(|deliveries| *deliveries == 2);
    assert!(left.len() >= 2 || lock(&stage.passed).len() > 1);
    assert_eq!(stage.dead().await, 0);
    let next = Stage::set(stage.config.clone()).await;
    next.permits.add_permits(9);
    sleep(DUE).await;
    assert_eq!(lock(&stage.passed).len() + lock(&next.passed).len(), 3);
    assert_eq!(next.dead().await, 0);
}

#[tokio::test(start_paused = true)]
async fn failed_delivery_is_recorded_in_the_stream() {
    let stage = Stage::set(Config::memory().max_deliveries(3)).await;
    stage.client.tell("gate", Fail).await.unwrap();
    sleep(SECOND).await;
    let server = open_server(&stage.config, &Arc::default()).await.unwrap();
    let consumer = server.consumer("").await.unwrap();
    let left = consumer.due(EntryId::default(), Duration::ZERO, 9).await;
    let left: Vec<_> = left.unwrap().iter().map(|one| one.attempts).collect();
    assert_eq!(left, [attempts(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn lost_reply_of_a_read_counts_no_delivery() {
    let stage = Stage::set(Config::memory().max_deliveries(1)).await;
    stage.script.fail("read", 1);
    stage.tell(0..2, 0).await;
    assert_eq!(lock(&stage.script.failing)["read"], 0);
    stage.permits.add_permits(9);
    sleep(DUE).await;
    assert_eq!(*lock(&stage.passed), [0, 1]);
    assert_eq!(stage.dead().await, 0);
}
