//! Tests of messages with a due time.

use super::*;
use crate::bus::transport::ServerTime;

const MINUTE: Duration = Duration::from_secs(60);

fn pass(n: u32) -> Pass {
    Pass {
        n,
        load: ByteBuf::new(),
    }
}

impl Stage {
    async fn tell_after(&self, n: u32, delay: Duration) {
        let told = self.client.tell("gate", pass(n)).after(delay);
        told.await.unwrap();
    }

    /// The moment at which this many messages have passed.
    async fn passed_at(&self, count: usize) -> Instant {
        while lock(&self.passed).len() < count {
            sleep(Duration::from_millis(1)).await;
        }
        Instant::now()
    }
}

/// Checks that a message with this delay was delivered in time.
fn is_punctual(elapsed: Duration, delay: Duration) -> bool {
    // Its lease takes 10 ms, so that the bus' clock is known to half of that.
    let earliest = delay.saturating_sub(Duration::from_millis(6));
    (earliest..delay + SECOND / 10).contains(&elapsed)
}

#[tokio::test(start_paused = true)]
async fn delayed_message_is_delivered_at_its_time() {
    let stage = Stage::set(Config::memory()).await;
    stage.permits.add_permits(9);
    let start = Instant::now();
    for (n, delay) in [
        (1, 10 * MINUTE),
        (2, SECOND),
        (3, SECOND / 10),
        (4, Duration::ZERO),
    ] {
        stage.tell_after(n, delay).await;
    }
    for (count, delay) in [(2, SECOND / 10), (3, SECOND), (4, 10 * MINUTE)] {
        let elapsed = stage.passed_at(count).await - start;
        assert!(is_punctual(elapsed, delay), "{elapsed:?} {delay:?}");
    }
    assert_eq!(*lock(&stage.passed), [4, 3, 2, 1]);
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_wait_outside_the_stream_in_their_order() {
    let stage = Stage::set(Config::memory()).await;
    stage.permits.add_permits(10_000);
    let told = (0..1000).map(|n| stage.client.tell("gate", pass(n)).after(MINUTE));
    assert!(join_all(told).await.iter().all(Result::is_ok));
    sleep(SECOND).await;
    assert!(stage.left().await.is_empty());
    sleep(MINUTE).await;
    assert_eq!(*lock(&stage.passed), (0..1000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_wait_in_the_stream_when_the_set_takes_none() {
    let stage = Stage::set(Config::memory().max_deliveries(1)).await;
    stage.permits.add_permits(9);
    stage.script.fail("delay", usize::MAX);
    let start = Instant::now();
    stage.tell_after(1, 5 * MINUTE).await;
    sleep(MINUTE).await;
    // Nothing counts as a delivery.
    assert_eq!(stage.left().await, [0]);
    let elapsed = stage.passed_at(1).await - start;
    assert!(is_punctual(elapsed, 5 * MINUTE), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn full_set_leaves_messages_in_the_stream() {
    let config = Config::memory();
    let stage = Stage::set(config.clone().max_stream_len(2)).await;
    stage.permits.add_permits(9);
    let client = ProxyClient::connect(&config).await.unwrap();
    for n in 0..4 {
        let told = client.tell("gate", pass(n)).after((4 - n) * MINUTE);
        told.await.unwrap();
        sleep(SECOND / 10).await;
    }
    assert_eq!(stage.left().await, [0, 0]);
    sleep(5 * MINUTE).await;
    assert_eq!(*lock(&stage.passed), [3, 2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn failing_bus_delays_messages_and_loses_none() {
    let stage = Stage::set(Config::memory()).await;
    stage.permits.add_permits(9);
    stage.tell_after(1, MINUTE).await;
    sleep(SECOND).await;
    stage.script.fail("resume_delayed", 5);
    sleep(MINUTE + 5 * SECOND).await;
    assert_eq!(lock(&stage.script.failing)["resume_delayed"], 0);
    assert_eq!(*lock(&stage.passed), [1]);
}

#[tokio::test(start_paused = true)]
async fn next_process_delivers_at_the_same_time() {
    let stage = Stage::set(Config::memory()).await;
    let start = Instant::now();
    stage.tell_after(1, MINUTE).await;
    sleep(SECOND).await;
    assert!(stage.system.shutdown().await.is_clean());
    // Told while no system serves.
    stage.tell_after(2, MINUTE).await;
    let next = Stage::set(stage.config.clone()).await;
    next.permits.add_permits(9);
    for (count, delay) in [(1, MINUTE), (2, MINUTE + SECOND)] {
        let elapsed = next.passed_at(count).await - start;
        assert!(elapsed < delay + SECOND / 5, "{elapsed:?}");
    }
    assert!(stage.passed_at(0).await - start >= MINUTE);
}

#[tokio::test(start_paused = true)]
async fn key_counts_when_the_message_is_delivered() {
    let stage = Stage::set(Config::memory()).await;
    stage.permits.add_permits(9);
    let tell = || stage.client.tell("gate", pass(7)).idempotency_key("seven");
    tell().after(MINUTE).await.unwrap();
    tell().after(2 * MINUTE).await.unwrap();
    tell().after(120 * MINUTE).await.unwrap();
    sleep(SECOND).await;
    tell().await.unwrap();
    sleep(3 * MINUTE).await;
    assert_eq!(*lock(&stage.passed), [7]);
    // The result has expired by then.
    sleep(120 * MINUTE).await;
    assert_eq!(*lock(&stage.passed), [7, 7]);
}

#[tokio::test(start_paused = true)]
async fn due_time_of_a_peer_is_bounded() {
    let stage = Stage::set(Config::memory()).await;
    let far = stage
        .client
        .tell("gate", pass(1))
        .after(367 * 24 * 60 * MINUTE);
    assert!(matches!(far.await, Err(AskError::BadRequest { .. })));
    let entry = NewEntry {
        key: "key".to_owned(),
        frame: Bytes::from_static(b"frame"),
        options: EntryOptions {
            due: Some(ServerTime(u64::MAX)),
            ..EntryOptions::default()
        },
    };
    let id = crate::reply::remote::ClientId([7; 16]);
    let (replies, health) = (Arc::new(NoReplies), Arc::default());
    let peer = crate::bus::open::open_client(&stage.config, id, replies, &health);
    peer.await.unwrap().append(vec![entry]).await.unwrap();
    sleep(SECOND).await;
    let letters = stage.proxy.dead_letters().list().await.unwrap();
    assert!(letters[0].reason.contains("366 days"), "{letters:?}");
    assert!(stage.left().await.is_empty());
}

/// A client that only writes.
struct NoReplies;

impl crate::bus::transport::ReplySink for NoReplies {
    fn receive(&self, _: Bytes) {}
}

#[tokio::test(start_paused = true)]
async fn replayed_dead_letter_is_not_delayed_again() {
    let stage = Stage::set(Config::memory()).await;
    stage.script.fail("delay", usize::MAX); // so that the entry keeps its due time
    let told = stage.client.tell("gate", Unhandled).after(MINUTE);
    told.await.unwrap();
    sleep(2 * MINUTE).await;
    let dead = stage.proxy.dead_letters();
    let letter = dead.list().await.unwrap().remove(0);
    assert!(dead.replay(&letter.id).await.unwrap().is_some());
    sleep(SECOND).await;
    assert_eq!(dead.list().await.unwrap().len(), 1);
}
