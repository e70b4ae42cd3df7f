//! Tests of the consumer on a bus with scripted failures. Time is paused.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_bytes::ByteBuf;
use tokio::sync::Semaphore;

use super::*;
use crate::bus::config::Config;
use crate::bus::durable::prefetch::{EntrySource, ReceivedMessage};
use crate::bus::durable::result_cache::Fingerprint;
use crate::bus::link::health::ConnectionState;
use crate::bus::open::open_server;
use crate::bus::proxy::{Proxy, serve};
use crate::bus::transport::stream::{Attempts, EntryId, EntryOptions, NewEntry, StreamEntry};
use crate::envelope::Attributes;
use crate::error::AskError;
use crate::prelude::*;
use crate::{ActorSystem, Backoff, ProxyClient};

use super::link::{BATCH_BYTES, EXPECTED_SIZE, PAGE, READ_COUNT};
use bus::{Bus, Script, lock};

mod bus;
mod crashes;
mod delayed;
mod instances;
mod missing;
mod retries;

const SECOND: Duration = Duration::from_secs(1);

/// Its handler waits for a permit.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, response = u32)]
struct Pass {
    n: u32,
    load: ByteBuf,
}

/// Its response is large.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, response = ByteBuf)]
struct Big;

/// Its handler fails.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable)]
struct Fail;

/// Its handler fails, and its pauses are longer than those of the config.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable, retry = "1h..2h")]
struct FailRarely;

/// No actor has a handler for it.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(durable)]
struct Unhandled;

#[derive(Actor)]
#[actor(urn = "gate", mailbox = 4)]
struct Gate {
    passed: Arc<Mutex<Vec<u32>>>,
    permits: Arc<Semaphore>,
}

#[handlers]
impl Gate {
    #[handler]
    async fn pass(&mut self, message: Pass) -> Result<u32, Failure> {
        self.permits.acquire().await?.forget();
        lock(&self.passed).push(message.n);
        Ok(message.n)
    }

    #[handler]
    fn big(&mut self, _: Big) -> ByteBuf {
        ByteBuf::from(vec![7; BATCH_BYTES / 3])
    }

    #[handler]
    fn fail_rarely(&mut self, _: FailRarely, reply: Reply<()>) {
        drop(reply);
    }

    #[handler]
    fn fail(&mut self, _: Fail, reply: Reply<()>) {
        drop(reply);
    }
}

struct Stage {
    config: Config,
    script: Arc<Script>,
    system: ActorSystem,
    proxy: Proxy,
    client: ProxyClient,
    passed: Arc<Mutex<Vec<u32>>>,
    permits: Arc<Semaphore>,
}

impl Stage {
    async fn set(config: Config) -> Self {
        Self::set_with(config, Arc::default()).await
    }

    /// The same with a script that holds from the beginning.
    async fn set_with(config: Config, script: Arc<Script>) -> Self {
        let bus = Bus {
            inner: open_server(&config, &Arc::default()).await.unwrap(),
            script: script.clone(),
        };
        let system = ActorSystem::new();
        let passed = Arc::<Mutex<Vec<u32>>>::default();
        let permits = Arc::new(Semaphore::new(0));
        let gate = || Gate {
            passed: passed.clone(),
            permits: permits.clone(),
        };
        system.spawn(gate()).await.unwrap();
        system.spawn(gate()).urn("other-gate").await.unwrap();
        let proxy = serve(&system, &config, Arc::new(bus), Arc::default()).await;
        Self {
            client: ProxyClient::connect(&config).await.unwrap(),
            config,
            script,
            system,
            proxy: proxy.unwrap(),
            passed,
            permits,
        }
    }

    async fn tell(&self, numbers: std::ops::Range<u32>, load: usize) {
        let load = ByteBuf::from(vec![7; load]);
        let message = |n| Pass {
            n,
            load: load.clone(),
        };
        let told = numbers.map(|n| self.client.tell("gate", message(n)));
        for told in join_all(told).await {
            told.unwrap();
        }
        sleep(SECOND / 10).await;
    }

    /// Adds permits for all messages, and waits until this many have passed.
    async fn let_pass(&self, count: usize) -> Vec<u32> {
        self.permits.add_permits(100_000);
        for _ in 0..600 {
            if lock(&self.passed).len() >= count {
                break;
            }
            sleep(SECOND / 10).await;
        }
        sleep(SECOND).await;
        lock(&self.passed).clone()
    }

    /// The deliveries of the entries that are left in the stream.
    async fn left(&self) -> Vec<u32> {
        let server = open_server(&self.config, &Arc::default()).await.unwrap();
        let consumer = server.consumer("").await.unwrap();
        let left = consumer.due(EntryId::default(), Duration::ZERO, 10_000);
        let left = left.await.unwrap().into_iter();
        left.map(|pending| pending.attempts.deliveries).collect()
    }

    async fn dead(&self) -> usize {
        self.proxy.dead_letters().list().await.unwrap().len()
    }

    async fn lose_the_lease(&self) {
        let mut state = self.proxy.connection_state();
        self.script.fail("renew", 1);
        drop(state.wait_for(|state| !state.is_connected()).await);
        drop(state.wait_for(ConnectionState::is_connected).await);
        sleep(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn failed_claims_keep_the_order() {
    let stage = Stage::set(Config::memory()).await;
    stage.tell(0..600, 0).await;
    stage.script.fail("claim", 3);
    stage.permits.add_permits(150);
    stage.tell(600..700, 0).await;
    let expected: Vec<_> = (0..700).collect();
    assert_eq!(stage.let_pass(700).await, expected);
    assert_eq!(lock(&stage.script.failing)["claim"], 0);
}

#[tokio::test(start_paused = true)]
async fn failed_lookups_count_no_deliveries_and_become_rarer() {
    let stage = Stage::set(Config::memory().max_deliveries(2)).await;
    stage.script.fail("cached_results", 8);
    stage.tell(0..3, 0).await;
    // The pauses become longer.
    assert!(stage.script.counts("cached_results").len() < 5);
    let start = Instant::now();
    assert_eq!(stage.let_pass(3).await, [0, 1, 2]);
    assert!(start.elapsed() < 9 * SECOND);
    assert_eq!(lock(&stage.script.failing)["cached_results"], 0);
    assert_eq!(stage.dead().await, 0);
}

#[tokio::test(start_paused = true)]
async fn lost_lease_counts_no_deliveries_of_waiting_messages() {
    let stage = Stage::set(Config::memory().max_deliveries(2)).await;
    stage.tell(0..20, 0).await;
    for _ in 0..5 {
        stage.lose_the_lease().await;
    }
    let expected: Vec<_> = (0..20).collect();
    assert_eq!(stage.let_pass(20).await, expected);
    assert_eq!(stage.dead().await, 0);
}

#[tokio::test(start_paused = true)]
async fn lost_group_is_created_again_with_the_next_lease() {
    let stage = Stage::set(Config::memory()).await;
    *lock(&stage.script.lacks_group) = true;
    stage.lose_the_lease().await;
    stage.tell(0..3, 0).await;
    assert_eq!(stage.let_pass(3).await, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn failed_claims_become_smaller() {
    let stage = Stage::set(Config::memory().max_deliveries(2)).await;
    stage.tell(0..600, 0).await;
    *lock(&stage.script.max_claimed) = Some(4);
    let expected: Vec<_> = (0..600).collect();
    assert_eq!(stage.let_pass(600).await, expected);
    assert_eq!(stage.dead().await, 0);
    let counts = stage.script.counts("claim");
    assert!(counts.iter().any(|count| *count > 4), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn large_messages_are_claimed_a_few_at_a_time() {
    const LOAD: usize = 256 * 1024;
    let stage = Stage::set(Config::memory()).await;
    for first in [0, 100] {
        stage.tell(first..first + 100, LOAD).await;
    }
    let expected: Vec<_> = (0..200).collect();
    assert_eq!(stage.let_pass(200).await, expected);
    let taken = stage.script.counts("claim");
    assert!(!taken.is_empty() && taken.iter().all(|count| count * LOAD <= 2 * BATCH_BYTES));
    let read = stage.script.counts("read");
    assert!(
        read.iter()
            .all(|count| *count <= BATCH_BYTES / EXPECTED_SIZE)
    );
    let total = read.iter().sum::<usize>();
    assert!(total >= 200 && *read.iter().rev().find(|count| **count > 0).unwrap() <= 8);
}

#[tokio::test(start_paused = true)]
async fn large_due_messages_are_claimed_a_few_at_a_time() {
    const LOAD: usize = 256 * 1024;
    let stage = Stage::set(Config::memory()).await;
    assert!(stage.system.shutdown().await.is_clean());
    stage.tell(0..100, LOAD).await;
    let server = open_server(&stage.config, &Arc::default()).await.unwrap();
    let dead = server.consumer("").await.unwrap();
    assert_eq!(dead.read(100, Duration::ZERO).await.unwrap().len(), 100);
    let next = Stage::set(stage.config.clone()).await;
    let expected: Vec<_> = (0..100).collect();
    assert_eq!(next.let_pass(100).await, expected);
    let taken = next.script.counts("claim");
    assert!(
        taken
            .iter()
            .all(|count| *count <= BATCH_BYTES / EXPECTED_SIZE),
        "{taken:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_bounded() {
    let config = Config::memory();
    let stage = Stage::set(config.clone().max_stream_len(10)).await;
    let message = || Pass {
        n: 1,
        load: ByteBuf::new(),
    };
    let clients = ProxyClient::connect(&config).await.unwrap();
    let told = (0..3000).map(|_| clients.tell("gate", message()).idempotency_key("k"));
    assert!(join_all(told).await.iter().all(Result::is_ok));
    sleep(10 * SECOND).await;
    let read = stage.script.counts("read").iter().sum::<usize>();
    assert!((1034..1034 + READ_COUNT).contains(&read), "{read}");
    assert_eq!(stage.let_pass(1).await, [1]);
    assert!(stage.left().await.is_empty());
    let finished = stage.script.counts("acknowledge");
    assert_eq!(finished.iter().sum::<usize>(), 3000);
    assert!(finished.iter().all(|count| *count <= PAGE), "{finished:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_awaiting_redelivery_do_not_block_redelivery() {
    let config = Config::memory();
    let pause = Backoff::from_secs(30);
    let bounded = config.clone().max_stream_len(10).max_deliveries(2);
    let stage = Stage::set(bounded.retry_backoff(pause)).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    let told = (0..1500).map(|_| client.tell("gate", Fail));
    assert!(join_all(told).await.iter().all(Result::is_ok));
    sleep(10 * SECOND).await;
    // No more entries are read than may be kept track of.
    let read = stage.script.counts("read").iter().sum::<usize>();
    assert!((1034..1034 + READ_COUNT).contains(&read), "{read}");
    sleep(200 * SECOND).await;
    assert!(stage.left().await.is_empty());
    let moved = stage.script.counts("dead_letter");
    assert_eq!(moved.iter().sum::<usize>(), 1500);
    assert!(moved.len() < 1000, "many are moved together");
}

#[tokio::test(start_paused = true)]
async fn large_results_are_cached_a_few_at_a_time() {
    let stage = Stage::set(Config::memory()).await;
    stage.script.fail("acknowledge", 5);
    let asked = (0..20).map(|_| stage.client.ask("gate", Big));
    for answer in join_all(asked).await {
        assert_eq!(answer.map(|load| load.len()), Ok(BATCH_BYTES / 3));
    }
    let finished = stage.script.counts("acknowledge");
    // After the failures more than one fits into a batch.
    assert!(finished.contains(&2), "{finished:?}");
    assert!(finished.iter().all(|count| *count <= 2), "{finished:?}");
    assert!(stage.left().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failing_dead_letters_delay_no_results() {
    let stage = Stage::set(Config::memory()).await;
    stage.script.fail("dead_letter", usize::MAX);
    let unhandled = tokio::spawn(stage.client.ask("gate", Unhandled).timeout(60 * SECOND));
    sleep(30 * SECOND).await; // the pauses are long by now
    stage.permits.add_permits(100);
    let start = Instant::now();
    for n in 0..20 {
        let load = ByteBuf::new();
        assert_eq!(stage.client.ask("gate", Pass { n, load }).await, Ok(n));
    }
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    stage.script.fail("dead_letter", 0);
    let asked = unhandled.await.unwrap();
    assert!(
        matches!(asked, Err(AskError::Unhandled { .. })),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn graceful_stop_counts_only_deliveries_to_actors() {
    let config = Config::memory().retry_backoff(Backoff::from_secs(60));
    let stage = Stage::set(config).await;
    for _ in 0..2 {
        stage.client.tell("gate", Fail).await.unwrap();
    }
    sleep(SECOND / 10).await;
    *lock(&stage.script.swallows_reads) = true;
    sleep(3 * SECOND).await; // the read in progress has ended
    stage.tell(0..3, 0).await;
    assert!(stage.system.shutdown().await.is_clean());
    assert_eq!(stage.left().await, [1, 1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn full_acknowledgements_let_the_consumer_sleep() {
    let stage = Stage::set(Config::memory()).await;
    let shared = stage.proxy.shared.clone();
    let transport = shared.transport.consumer("").await.unwrap();
    let mut consumer = Consumer::new(shared, transport);
    consumer.next_heartbeat = Instant::now() + SECOND;
    stage.tell(0..100, 0).await;
    let read = stage.script.counts("read").iter().sum::<usize>();
    assert_eq!(read, 100);
    let now = Instant::now();
    let entry = StreamEntry {
        id: EntryId(1, 1),
        key: "k".to_owned(),
        frame: Bytes::new(),
        options: EntryOptions::default(),
    };
    let message = ReceivedMessage {
        id: entry.id,
        key: entry.key.clone(),
        frame: Bytes::new(),
        retry: None,
        is_repetition: false,
        attempts: Attempts::new(1),
        urn: "gate".to_owned(),
        name: String::new(),
        contents: Bytes::new(),
        attributes: Attributes::new(),
        is_left_out: false,
        origin: crate::reply::remote::Origin::default(),
        dedup_key: "s".to_owned(),
        fingerprint: Fingerprint::of(b""),
        caller: None,
    };
    consumer
        .backlog
        .prefetch
        .admit(message, EntrySource::Stream);
    assert_eq!(consumer.wakes_at(now), now);
    while !consumer.ack.is_full() {
        consumer
            .ack
            .unreadable(entry.clone(), Attempts::new(1), &AskError::NoReply);
    }
    assert!(consumer.wakes_at(now) > now);
}
