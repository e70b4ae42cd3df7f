//! Durable messages on a real Redis.

use std::time::Duration;

use conclib::daemon::start_redis;
use conclib::{AskError, Backoff, Config};
use conclib_tests::bus::Bus;
use conclib_tests::durable::{Order, Poison, Wait};
use conclib_tests::messages::{Double, Record};
use conclib_tests::redis::PersistentRedis;
use conclib_tests::{Log, eventually, within};
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::Config as FredConfig;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use tokio::time::sleep;

use crate::{Server, VISIBILITY, config, connect};

pub(crate) const STREAM: &str = "conclib:{n:main}:durable";
const DEAD: &str = "conclib:{n:main}:dead";

/// A raw connection to Redis.
pub(crate) struct Peer(Client);

impl Peer {
    pub(crate) async fn connect(config: &Config) -> Self {
        let url = format!("redis://127.0.0.1:{}", config.port().unwrap());
        let client = Builder::from_config(FredConfig::from_url(&url).unwrap())
            .build()
            .unwrap();
        within(client.init()).await.unwrap();
        Self(client)
    }

    pub(crate) async fn command(&self, words: &[&str]) -> Value {
        let command = CustomCommand::new(words[0], ClusterHash::FirstKey, false);
        let rest: Vec<String> = words[1..].iter().map(|&word| word.to_owned()).collect();
        self.0.custom(command, rest).await.unwrap()
    }

    async fn number(&self, words: &[&str]) -> u64 {
        self.command(words).await.as_u64().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn persistent_redis_restarts_before_the_handling() {
    let mut redis = PersistentRedis::start().await;
    let config = redis.config().visibility_timeout(VISIBILITY);
    let client = connect(&config).await;
    for n in 0..100 {
        client.tell("shop", Order { n }).await.unwrap();
    }
    redis.restart().await;
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    eventually("all are handled", async || log.count() == 100).await;
    let key = || client.ask("shop", Order { n: 1 }).idempotency_key("k");
    let sum = key().await.unwrap();
    // The results are there, too.
    server.stop().await;
    redis.restart().await;
    let server = Server::start(&config, &log).await;
    assert_eq!(key().await, Ok(sum));
    assert_eq!(log.count(), 101);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn persistent_redis_restarts_during_the_handling() {
    let mut redis = PersistentRedis::start().await;
    let config = redis.config().visibility_timeout(VISIBILITY);
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let ask = tokio::spawn(client.ask("shop", Wait { n: 1 }));
    eventually("it is handled", async || server.watch.entered() == 1).await;
    let tells = (0..500).map(|n| client.tell("shop", Order { n }));
    let tells = tokio::spawn(futures_util::future::join_all(tells));
    sleep(Duration::from_millis(5)).await;
    redis.restart().await;
    server.watch.admit(100);
    // The answer may have been published before its client was connected again; its result is
    // there.
    drop(ask);
    for told in tells.await.unwrap() {
        told.unwrap();
    }
    eventually("all are handled", async || log.count() >= 501).await;
    sleep(3 * VISIBILITY).await;
    let mut handled = log.entries();
    handled.sort();
    let mut expected: Vec<_> = (0..500).map(|n| n.to_string()).collect();
    expected.push("waits 1".to_owned());
    expected.sort();
    assert_eq!(handled, expected);
    let peer = Peer::connect(&config).await;
    assert_eq!(peer.number(&["XLEN", STREAM]).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_without_its_data_is_used_again() {
    let bus = Bus::redis().await;
    let config = config(&bus);
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    assert_eq!(client.ask("shop", Order { n: 1 }).await, Ok(1));
    let peer = Peer::connect(&config).await;
    // All keys but the lease, which the proxy renews.
    peer.command(&["DEL", STREAM]).await;
    assert_eq!(client.ask("shop", Order { n: 2 }).await, Ok(3));
    assert_eq!(log.entries(), ["1", "2"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_repeats_until_redis_is_there_again() {
    let mut bus = Bus::redis().await;
    let client = connect(&bus.config).await;
    client.tell("shop", Order { n: 1 }).await.unwrap();
    drop(bus.redis.take()); // kills it
    let told = tokio::spawn(client.tell("shop", Order { n: 2 }));
    let late = client.tell("shop", Order { n: 3 });
    let late = late.timeout(Duration::from_millis(300)).await.unwrap_err();
    let is_truth = matches!(
        late,
        AskError::Unavailable { .. } | AskError::Disconnected { .. } | AskError::Timeout { .. }
    );
    assert!(is_truth, "{late:?}");
    let mut redis = None;
    eventually("it starts", async || {
        redis = start_redis(&bus.config).await.ok();
        redis.is_some()
    })
    .await;
    bus.redis = redis;
    within(told).await.unwrap().unwrap();
    let log = Log::default();
    let server = Server::start(&bus.config, &log).await;
    eventually("it is handled", async || log.entries() == ["2"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_memory_loses_nothing() {
    let bus = Bus::redis().await;
    let config = config(&bus);
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let peer = Peer::connect(&config).await;
    let waits = client.ask("shop", Wait { n: 1 }).idempotency_key("k");
    let waits = tokio::spawn(waits);
    eventually("it is handled", async || server.watch.entered() == 1).await;
    peer.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let told = client.tell("shop", Order { n: 2 });
    let told = told.timeout(Duration::from_millis(200)).await.unwrap_err();
    match told {
        AskError::Unavailable { reason } => assert!(reason.starts_with("OOM"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // It ends although its result cannot be stored, and is not handled again.
    server.watch.admit(1);
    assert_eq!(waits.await.unwrap(), Ok(1));
    sleep(2 * VISIBILITY).await;
    assert_eq!(log.entries(), ["waits 1"]);
    assert_eq!(peer.number(&["XLEN", STREAM]).await, 0);
    peer.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(client.ask("shop", Order { n: 3 }).await, Ok(3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_in_the_stream_becomes_dead_letters() {
    let bus = Bus::redis().await;
    let config = config(&bus);
    let peer = Peer::connect(&config).await;
    peer.command(&["XADD", STREAM, "*", "f", "rubbish", "k", "key"])
        .await;
    peer.command(&["XADD", STREAM, "*", "other", "fields"])
        .await;
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    assert_eq!(client.ask("shop", Order { n: 1 }).await, Ok(1));
    let dead = server.proxy.dead_letters();
    eventually("both are dead", async || {
        dead.list().await.unwrap().len() == 2
    })
    .await;
    let letters = dead.list().await.unwrap();
    let rubbish = letters.iter().find(|letter| letter.key == "key").unwrap();
    assert_eq!(&rubbish.contents[..], b"rubbish");
    assert_eq!((&*rubbish.urn, rubbish.deliveries), ("", 1));
    assert_eq!(peer.number(&["XLEN", STREAM]).await, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_without_the_permission_serves_the_rest() {
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    let acl = "ACL SETUSER plain on >pw +@all ~* &* -xgroup -xreadgroup -xclaim";
    let words: Vec<_> = acl.split_whitespace().collect();
    peer.command(&words).await;
    let url = format!("redis://plain:pw@127.0.0.1:{}", bus.config.port().unwrap());
    let log = Log::default();
    let server = Server::start(&Config::new(&url).unwrap(), &log).await;
    let worker = conclib_tests::actors::Worker::default();
    server.system.spawn(worker).await.unwrap();
    let client = connect(&bus.config).await;
    client.tell("shop", Order { n: 1 }).await.unwrap();
    client.tell("worker", Record { n: 1 }).await.unwrap();
    assert_eq!(client.ask("worker", Double { n: 4 }).await, Ok(8));
    assert_eq!(log.count(), 0);
    // Durable messages are handled as soon as it has the permission.
    peer.command(&["ACL", "SETUSER", "plain", "+@all"]).await;
    eventually("it is handled", async || log.count() == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handled_messages_leave_only_results_that_expire() {
    let bus = Bus::redis().await;
    let config = config(&bus).result_ttl(Duration::from_secs(60));
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    for n in 0..50 {
        client
            .ask("shop", Order { n })
            .idempotency_key(format!("{n}"))
            .await
            .unwrap();
    }
    let peer = Peer::connect(&config).await;
    assert_eq!(peer.number(&["XLEN", STREAM]).await, 0);
    assert_eq!(peer.number(&["XLEN", DEAD]).await, 0);
    let record = "conclib:{n:main}:done:4:shop5:Order7";
    let left: i64 = peer.0.pttl(record).await.unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_entries_are_moved_together() {
    const ENTRIES: u64 = 20_000;
    let bus = Bus::redis().await;
    let peer = Peer::connect(&bus.config).await;
    let log = Log::default();
    let server = Server::start(&bus.config, &log).await;
    let client = connect(&bus.config).await;
    let script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'f', 'no frame') end";
    let count = ENTRIES.to_string();
    peer.command(&["EVAL", script, "1", STREAM, &count]).await;
    let begun = std::time::Instant::now();
    // An order behind them.
    assert!(client.ask("shop", Order { n: 1 }).await.is_ok());
    println!("{ENTRIES} unreadable entries took {:?}", begun.elapsed());
    eventually("all are dead letters", async || {
        peer.number(&["XLEN", DEAD]).await == ENTRIES
    })
    .await;
    assert_eq!(log.count(), 1);
    server.stop().await;
}

/// A replica may take over between the two: a claim without an entry is removed, and an entry without
/// a claim would stay for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_deleted_before_they_are_acknowledged() {
    let bus = Bus::redis().await;
    let config = config(&bus);
    let peer = Peer::connect(&config).await;
    let server = Server::start(&config, &Log::default()).await;
    peer.command(&["CONFIG", "SET", "slowlog-max-len", "10000"])
        .await;
    peer.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"])
        .await;
    let client = connect(&config).await;
    client.ask("shop", Order { n: 1 }).await.unwrap();
    eventually("the entry is removed", async || {
        let pending = peer.command(&["XPENDING", STREAM, "conclib"]).await;
        let pending = pending.into_array().remove(0).as_u64();
        pending == Some(0) && peer.number(&["XLEN", STREAM]).await == 0
    })
    .await;
    // The newest command comes first.
    let log = peer.command(&["SLOWLOG", "GET", "10000"]).await;
    let commands: Vec<_> = log
        .into_array()
        .into_iter()
        .filter_map(|entry| {
            entry
                .into_array()
                .get(3)?
                .clone()
                .into_array()
                .first()?
                .as_string()
        })
        .collect();
    let last = |name| commands.iter().position(|command| command == name);
    assert!(
        last("XACK").unwrap() < last("XDEL").unwrap(),
        "{commands:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn persistent_redis_restarts_amid_delays_and_retry_pauses() {
    let mut redis = PersistentRedis::start().await;
    let pause = Duration::from_secs(2);
    let config = redis.config().visibility_timeout(VISIBILITY);
    let config = config.retry_backoff(Backoff::starting_at(pause));
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    client.tell("shop", Poison).await.unwrap();
    for n in 0..100 {
        let told = client.tell("shop", Order { n }).after(pause);
        told.await.unwrap();
    }
    eventually("it has failed once", async || log.entries() == ["poison"]).await;
    redis.restart().await;
    eventually("all are handled", async || log.count() >= 102).await;
    let mut handled = log.entries();
    handled.retain(|entry| entry != "poison");
    handled.sort_by_key(|entry| entry.parse::<u32>().unwrap());
    assert_eq!(handled, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    let peer = Peer::connect(&config).await;
    assert_eq!(peer.number(&["ZCARD", "conclib:{n:main}:delayed"]).await, 0);
    server.stop().await;
}
