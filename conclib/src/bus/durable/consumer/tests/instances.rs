//! Tests of processes that have an instance: they look at the lease after each read.

use super::*;
use crate::bus::transport::stream::StreamConsumer;
use crate::bus::transport::{Acquired, Epoch, LeaseClaim, LeaseGrant, ServerTransport};

fn config() -> Config {
    Config::memory().instance("gate-0")
}

fn pass(n: u32) -> Pass {
    let load = ByteBuf::new();
    Pass { n, load }
}

/// An earlier process of the instance, which has all messages in handlers that do not end.
struct Predecessor {
    server: Arc<dyn ServerTransport>,
    consumer: Arc<dyn StreamConsumer>,
    epoch: Epoch,
    claimed: Vec<EntryId>,
}

impl Predecessor {
    async fn start(config: &Config, numbers: std::ops::Range<u32>) -> Self {
        let client = ProxyClient::connect(config).await.unwrap();
        let told = numbers.map(|n| client.tell("gate", pass(n)));
        assert!(join_all(told).await.iter().all(Result::is_ok));
        let server = open_server(config, &Arc::default()).await.unwrap();
        let claim = LeaseClaim {
            versions: (1, 1),
            max_frame: 1 << 20,
            length: config.lease_duration,
            serves: true,
            instance: "gate-0".to_owned(),
            age: None,
            before: None,
        };
        let Ok(Acquired::Granted(LeaseGrant { epoch, .. })) = server.acquire(&claim).await else {
            panic!("the lease is free");
        };
        let consumer = server.consumer("gate-0").await.unwrap();
        let read = consumer.read(u32::MAX, Duration::ZERO).await.unwrap();
        Self {
            server,
            consumer,
            epoch,
            claimed: read.iter().map(|entry| entry.id).collect(),
        }
    }

    async fn release_lease(&self) {
        assert_eq!(self.server.release(self.epoch).await, Ok(true));
    }

    async fn send_heartbeat(&self) {
        self.consumer.extend_claims(&self.claimed).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn predecessor_that_stopped_in_good_order_keeps_its_messages_while_it_sends_heartbeats() {
    let config = config().visibility_timeout(3600 * SECOND);
    let former = Predecessor::start(&config, 0..1).await;
    former.release_lease().await;
    let stage = Stage::set(config).await;
    stage.permits.add_permits(9);
    for _ in 0..10 {
        sleep(2 * SECOND).await;
        former.send_heartbeat().await;
    }
    // Others do not wait.
    assert_eq!(stage.client.ask("gate", pass(7)).await, Ok(7));
    assert_eq!(stage.dead().await, 0);
    assert_eq!(*lock(&stage.passed), [7]);
    let start = Instant::now();
    assert_eq!(stage.let_pass(2).await, [7, 0]);
    // The length of its lease after its last heartbeat, and not the visibility time.
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_predecessor_that_did_not_release_its_lease_are_taken_over_at_once() {
    let config = config().visibility_timeout(3600 * SECOND);
    let former = Predecessor::start(&config, 0..1).await;
    former.send_heartbeat().await;
    let stage = Stage::set(config).await;
    stage.permits.add_permits(9);
    sleep(SECOND / 2).await;
    assert_eq!(*lock(&stage.passed), [0]);
}

#[tokio::test(start_paused = true)]
async fn large_inheritance_is_taken_over_in_parts_and_before_new_messages() {
    let config = config().visibility_timeout(3600 * SECOND);
    let former = Predecessor::start(&config, 0..3000).await;
    drop(former);
    let client = ProxyClient::connect(&config).await.unwrap();
    client.tell("gate", pass(3000)).await.unwrap();
    let script = Arc::<Script>::default();
    *lock(&script.owner_pause) = SECOND / 10;
    let stage = Stage::set_with(config, script).await;
    stage.permits.add_permits(1);
    sleep(2 * SECOND).await;
    assert_eq!(
        *lock(&stage.passed),
        [0],
        "it is delivered before all are claimed"
    );
    assert!(stage.left().await.contains(&1));
    *lock(&stage.script.owner_pause) = Duration::ZERO;
    let expected: Vec<_> = (0..=3000).collect();
    assert_eq!(stage.let_pass(3001).await, expected);
}

#[tokio::test(start_paused = true)]
async fn failed_looks_at_the_lease_delay_messages_for_a_moment_and_keep_their_order() {
    let stage = Stage::set(config()).await;
    stage.permits.add_permits(9);
    stage.script.fail("owner", 4);
    let start = Instant::now();
    stage.tell(0..2, 0).await;
    stage.tell(2..4, 0).await;
    assert_eq!(stage.let_pass(4).await, [0, 1, 2, 3]);
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    assert_eq!(lock(&stage.script.failing)["owner"], 0);
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_looks_at_the_lease_count_no_deliveries_of_claimed_messages() {
    let stage = Stage::set(config().max_deliveries(2)).await;
    stage.tell(0..600, 0).await; // most are deferred, and claimed again later
    stage.script.fail("owner", 5);
    let expected: Vec<_> = (0..600).collect();
    assert_eq!(stage.let_pass(600).await, expected);
    assert_eq!(lock(&stage.script.failing)["owner"], 0);
    assert_eq!(stage.dead().await, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_read_before_the_lease_is_lost_are_delivered_in_the_next_term() {
    let stage = Stage::set(config()).await;
    stage.permits.add_permits(9);
    stage.script.fail("owner", usize::MAX);
    stage.tell(0..2, 0).await;
    stage.lose_the_lease().await;
    stage.script.fail("owner", 0);
    stage.tell(2..3, 0).await;
    sleep(6 * SECOND).await; // the longest pause between two looks
    assert_eq!(*lock(&stage.passed), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn stop_amid_a_look_at_the_lease_releases_the_messages() {
    let stage = Stage::set(config()).await;
    *lock(&stage.script.owner_pause) = SECOND / 2;
    stage.tell(0..2, 0).await; // they are read, and the look is under way
    assert!(stage.system.shutdown().await.is_clean());
    assert_eq!(stage.left().await, [0, 0]);
    // Also a process of another instance need not wait for the visibility time.
    let next = Stage::set(stage.config.clone().instance("gate-1")).await;
    next.permits.add_permits(9);
    sleep(SECOND).await;
    assert_eq!(*lock(&next.passed), [0, 1]);
}
