//! Answers of durable messages, and repetitions by idempotency key.

use std::time::Duration;

use conclib::error::Delivered;
use conclib::{AskError, Config};
use conclib_tests::actors::{Raw, Worker};
use conclib_tests::durable::{Order, Wait, open_shop};
use conclib_tests::messages::{Declined, Double, Record, Recorded, Trace, Withdraw};
use conclib_tests::{Log, eventually};
use futures_util::future::join_all;

use crate::{Server, connect};

pub(crate) async fn told_before_anybody_serves(config: Config) {
    let (client, log) = (connect(&config).await, Log::default());
    client.tell("shop", Order { n: 1 }).await.unwrap();
    // A tell without a durable message is refused.
    let plain = client.tell("worker", Record { n: 2 }).await.unwrap_err();
    assert_eq!(plain, AskError::NoResponder);
    client.tell("shop", Order { n: 3 }).await.unwrap();
    drop(client);
    let server = Server::start(&config, &log).await;
    eventually("they are handled", async || log.count() == 2).await;
    assert_eq!(log.entries(), ["1", "3"]);
    server.stop().await;
}

pub(crate) async fn durable_ask_is_answered(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    for (n, sum) in [(1, 1), (2, 3), (3, 6)] {
        assert_eq!(client.ask("shop", Order { n }).await, Ok(sum));
    }
    assert_eq!(client.in_flight(), 0);
    server.stop().await;
}

pub(crate) async fn plain_messages_can_be_made_durable(config: Config) {
    let client = connect(&config).await;
    client
        .tell("worker", Record { n: 7 })
        .durable()
        .await
        .unwrap();
    let server = Server::start(&config, &Log::default()).await;
    server.system.spawn(Worker::default()).await.unwrap();
    server.system.spawn(Raw).await.unwrap();
    assert_eq!(client.ask("worker", Recorded).durable().await, Ok(vec![7]));
    // A business error is an answer.
    let declined = client
        .ask("worker", Withdraw { cents: 130 })
        .durable()
        .await;
    assert_eq!(declined, Ok(Err(Declined { missing: 30 })));
    let trace = client.ask("raw", Trace).attribute("trace", "abc").durable();
    assert_eq!(trace.await.as_deref(), Ok("trace=abc"));
    server.stop().await;
}

pub(crate) async fn same_key_is_handled_once(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let ask = || {
        client
            .ask("shop", Order { n: 5 })
            .idempotency_key("order-17")
    };
    assert_eq!(ask().await, Ok(5));
    assert_eq!(ask().await, Ok(5));
    let tell = client.tell("shop", Order { n: 5 });
    tell.idempotency_key("order-17").await.unwrap();
    server.stop().await;

    // The next actor system has the result as well.
    let server = Server::start(&config, &log).await;
    let other = connect(&config).await;
    let again = other.ask("shop", Order { n: 5 });
    assert_eq!(again.idempotency_key("order-17").await, Ok(5));
    assert_eq!(ask().await, Ok(5));
    assert_eq!(log.entries(), ["5"]);
    server.stop().await;
}

pub(crate) async fn same_key_at_the_same_time(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let clients = [connect(&config).await, connect(&config).await];
    let asks = (0..20).map(|number| {
        let ask = clients[number % 2].ask("shop", Wait { n: 7 });
        tokio::spawn(ask.idempotency_key("one"))
    });
    let asks: Vec<_> = asks.collect();
    eventually("one is handled", async || server.watch.entered() == 1).await;
    // Repetitions after the end find the result.
    server.watch.admit(1);
    for answer in join_all(asks).await {
        assert_eq!(answer.unwrap(), Ok(7));
    }
    assert_eq!(log.entries(), ["waits 7"]);
    server.stop().await;
}

pub(crate) async fn key_covers_one_message_of_one_actor(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    open_shop(&server.system, "shop2", &log).await;
    server.system.spawn(Worker::default()).await.unwrap();
    let client = connect(&config).await;
    let order = |urn, n| client.ask(urn, Order { n }).idempotency_key("k");
    assert_eq!(order("shop", 1).await, Ok(1));
    assert_eq!(order("shop2", 2).await, Ok(2));
    let double = client.ask("worker", Double { n: 3 });
    assert_eq!(double.idempotency_key("k").await, Ok(6));
    assert_eq!(order("shop", 1).await, Ok(1));
    server.stop().await;
}

/// The error of an asker whose key was used with other contents.
fn used(key: &str) -> AskError {
    let key = key.to_owned();
    AskError::KeyReused { key }
}

pub(crate) async fn key_with_other_contents_is_refused(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let order = |n| client.ask("shop", Order { n }).idempotency_key("order-17");
    assert_eq!(order(5).await, Ok(5));
    assert_eq!(order(6).await, Err(used("order-17")));
    assert!(!used("order-17").is_retryable());
    // Attributes make no difference.
    let again = order(5).attribute("trace", "2");
    assert_eq!(again.timeout(Duration::from_secs(20)).await, Ok(5));
    server.stop().await;
    // The next actor system has the result as well.
    let server = Server::start(&config, &log).await;
    assert_eq!(order(6).await, Err(used("order-17")));
    assert_eq!(order(5).await, Ok(5));
    assert_eq!(log.entries(), ["5"]);
    // Each asker has its answer, so that no request is open.
    assert!(server.proxy.dead_letters().list().await.unwrap().is_empty());
    assert_eq!(client.in_flight(), 0);
    server.stop().await;
}

pub(crate) async fn key_with_other_contents_is_refused_while_the_first_is_handled(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let wait = |n| client.ask("shop", Wait { n }).idempotency_key("k");
    let first = tokio::spawn(wait(1));
    eventually("it is handled", async || server.watch.entered() == 1).await;
    let same = tokio::spawn(wait(1));
    assert_eq!(wait(2).await, Err(used("k")));
    server.watch.admit(1);
    assert_eq!(first.await.unwrap(), Ok(1));
    assert_eq!(same.await.unwrap(), Ok(1));
    assert_eq!(log.entries(), ["waits 1"]);
    server.stop().await;
}

pub(crate) async fn tell_with_the_key_of_another_is_a_dead_letter(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let tell = |n| client.tell("shop", Order { n }).idempotency_key("k");
    tell(1).await.unwrap();
    eventually("it is handled", async || log.count() == 1).await;
    tell(2).await.unwrap();
    tell(1).await.unwrap();
    let dead = server.proxy.dead_letters();
    eventually("it is dead", async || dead.list().await.unwrap().len() == 1).await;
    let letter = dead.list().await.unwrap().remove(0);
    assert_eq!((&*letter.key, letter.deliveries), ("k", 1));
    assert_eq!(letter.reason, used("k").to_string());
    assert_eq!(log.entries(), ["1"]);
    server.stop().await;
}

pub(crate) async fn conflict_is_judged_by_the_first_message_of_a_key(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let ask = |n| client.ask("shop", Order { n }).idempotency_key("k");
    assert_eq!(ask(1).await, Ok(1));
    // All of these arrive together, the conflicting one first.
    for _ in 0..20 {
        let (other, same) = tokio::join!(ask(2), ask(1));
        assert_eq!((other, same), (Err(used("k")), Ok(1)));
    }
    assert_eq!(log.entries(), ["1"]);
    server.stop().await;
}

pub(crate) async fn key_has_a_length(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    for key in [String::new(), "k".repeat(129)] {
        let asked = client.ask("shop", Order { n: 1 });
        let asked = asked.idempotency_key(key.clone()).await;
        assert!(
            matches!(asked, Err(AskError::InvalidKey { limit: 128, .. })),
            "{asked:?}"
        );
        let told = client.tell("shop", Order { n: 1 });
        let told = told.idempotency_key(key).await.unwrap_err();
        assert!(matches!(told, AskError::InvalidKey { .. }));
    }
    let longest = client.ask("shop", Order { n: 1 });
    assert_eq!(longest.idempotency_key("k".repeat(128)).await, Ok(1));
    assert_eq!(client.in_flight(), 0);
    server.stop().await;
}

pub(crate) async fn ask_is_repeated_after_its_timeout(config: Config) {
    let log = Log::default();
    let server = Server::start(&config, &log).await;
    let client = connect(&config).await;
    let ask = || client.ask("shop", Wait { n: 4 }).idempotency_key("once");
    let timeout = Duration::from_millis(200);
    let late = ask().timeout(timeout).await;
    let accepted = AskError::Timeout {
        delivered: Delivered::Stored,
    };
    assert_eq!(late, Err(accepted));
    // It joins the one in flight.
    let joins = tokio::spawn(ask());
    eventually("it is handled", async || server.watch.entered() == 1).await;
    server.watch.admit(1);
    assert_eq!(joins.await.unwrap(), Ok(4));
    assert_eq!(ask().await, Ok(4));
    assert_eq!(log.entries(), ["waits 4"]);
    server.stop().await;
}
