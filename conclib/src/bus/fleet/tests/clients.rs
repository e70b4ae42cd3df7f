//! Clients of a fleet over the bus in memory, in paused time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;

use super::*;
use crate::bus::transport::{Acquired, LeaseClaim, ServerTransport};

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
#[message(response = String)]
pub(super) struct GetNode;

#[derive(ActorMessage, serde::Serialize, serde::Deserialize)]
#[message(response = u64)]
struct Append(u64);

#[derive(Actor)]
struct Clerk {
    node: String,
    /// The time that a request takes.
    pace: Duration,
    log: Arc<parking_lot::Mutex<Vec<u64>>>,
}

#[handlers]
impl Clerk {
    #[handler]
    async fn node(&mut self, _: GetNode) -> String {
        sleep(self.pace).await;
        self.node.clone()
    }

    #[handler]
    async fn append(&mut self, Append(number): Append) -> u64 {
        sleep(self.pace).await;
        self.log.lock().push(number);
        number
    }
}

fn clerk(node: &str) -> Clerk {
    Clerk {
        node: node.to_owned(),
        pace: Duration::ZERO,
        log: Arc::default(),
    }
}

/// A member with a shared actor `clerk`.
pub(super) async fn sharing(config: &Config, node: &str, pace: Duration) -> ActorSystem {
    let system = ActorSystem::new();
    let clerk = Clerk {
        pace,
        ..clerk(node)
    };
    system.spawn(clerk).urn("clerk").shared().await.unwrap();
    start_proxy(&system, &config.clone().instance(node))
        .await
        .unwrap();
    system
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_shared_name_are_spread_over_its_members() {
    let config = Config::memory().fleet();
    let mut systems = Vec::new();
    for node in ["a", "b", "c"] {
        systems.push(sharing(&config, node, 2 * MS).await);
    }
    let client = ProxyClient::connect(&config).await.unwrap();
    let start = Instant::now();
    let callers = (0..48).map(|_| async {
        let mut nodes = Vec::new();
        for _ in 0..50 {
            nodes.push(client.ask("clerk", GetNode).await.unwrap());
        }
        nodes
    });
    let mut shares = HashMap::new();
    for node in join_all(callers).await.into_iter().flatten() {
        *shares.entry(node).or_insert(0) += 1;
    }
    let even = 48 * 50 / 3;
    assert_eq!(shares.len(), 3);
    for share in shares.values() {
        assert!(
            (even * 8 / 10..=even * 12 / 10).contains(share),
            "{shares:?}"
        );
    }
    // One member alone would take 4.8 s.
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn asks_find_the_member_that_has_a_name() {
    let config = Config::memory().fleet();
    let (first, second) = (ActorSystem::new(), ActorSystem::new());
    first.spawn(clerk("a")).urn("of-a").await.unwrap();
    start_proxy(&first, &config.clone().instance("a"))
        .await
        .unwrap();
    let client = ProxyClient::connect(&config).await.unwrap();
    let ask = |urn: &'static str| {
        let client = client.clone();
        async move { client.ask(urn, GetNode).await }
    };
    assert_eq!(ask("of-a").await, Ok("a".to_owned()));
    let missing = AskError::ActorNotFound { urn: urn("of-b") };
    assert_eq!(ask("of-b").await, Err(missing.clone()));

    second.spawn(clerk("b")).urn("of-b").await.unwrap();
    second.spawn(clerk("b")).urn("of-a").await.unwrap();
    let generated = second.spawn(clerk("b")).await.unwrap();
    start_proxy(&second, &config.clone().instance("b"))
        .await
        .unwrap();
    assert_eq!(ask("of-b").await, Ok("b".to_owned()));
    assert_eq!(ask("of-a").await, Ok("a".to_owned()));
    // Both are reached by their node.
    let direct = client.node("b").ask("of-a", GetNode).await;
    assert_eq!(direct, Ok("b".to_owned()));
    let by_urn = client.ask(generated.urn(), GetNode).await;
    assert_eq!(by_urn, Ok("b".to_owned()));
    let start = Instant::now();
    let missing = AskError::ActorNotFound { urn: urn("of-c") };
    assert_eq!(ask("of-c").await, Err(missing));
    assert!(start.elapsed() < 300 * MS, "{:?}", start.elapsed());
    let durable = client.ask("of-a", GetNode).durable().await;
    assert!(matches!(durable, Err(AskError::BadRequest { .. })));
    assert_eq!(client.responder().await, Ok(()));
    assert_eq!(client.in_flight(), 0);

    // A name that moves is followed.
    assert!(first.shutdown().await.is_clean());
    assert_eq!(ask("of-a").await, Ok("b".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn fleet_without_a_member_has_no_responder() {
    let config = Config::memory().fleet();
    let client = ProxyClient::connect(&config).await.unwrap();
    assert_eq!(
        client.ask("clerk", GetNode).await,
        Err(AskError::NoResponder)
    );
    assert_eq!(client.responder().await, Err(AskError::NoResponder));
    let system = sharing(&config, "a", Duration::ZERO).await;
    assert_eq!(client.ask("clerk", GetNode).await, Ok("a".to_owned()));
    drop(system);
}

#[tokio::test(start_paused = true)]
async fn rolling_restart_shows_no_error_to_callers_of_shared_names() {
    let config = Config::memory().fleet();
    let mut systems = Vec::new();
    for number in 0..5 {
        systems.push(sharing(&config, &format!("m{number}"), MS).await);
    }
    let client = ProxyClient::connect(&config).await.unwrap();
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let callers = (0..64).map(|_| async {
        while !is_over.load(SeqCst) {
            let answer = client.ask("clerk", GetNode).await;
            assert!(answer.is_ok(), "{answer:?}");
            asked.fetch_add(1, SeqCst);
        }
    });
    let restarts = async {
        for (number, system) in systems.iter_mut().enumerate() {
            assert!(system.shutdown().await.is_clean());
            sleep(200 * MS).await;
            *system = sharing(&config, &format!("m{number}"), MS).await;
            sleep(200 * MS).await;
        }
        is_over.store(true, SeqCst);
    };
    tokio::join!(join_all(callers), restarts);
    assert!(asked.load(SeqCst) > 1_000, "{asked:?}");
}

/// A member that takes no request, as if it had been killed.
pub(super) async fn killed(config: &Config, shared: &[&str]) -> Arc<dyn ServerTransport> {
    let config = config.clone().instance("killed").as_member();
    let server = open_server(&config, &Arc::default()).await.unwrap();
    let claim = LeaseClaim {
        versions: (1, 1),
        max_frame: 1 << 20,
        length: 6 * SECOND,
        serves: true,
        instance: String::new(),
        age: None,
        before: None,
    };
    let acquired = server.acquire(&claim).await.unwrap();
    assert!(matches!(acquired, Acquired::Granted(_)));
    let profile = MemberProfile {
        shared: shared.iter().map(|name| urn(name)).collect(),
        ..profile("killed")
    };
    server.fleet().join(&profile).await.unwrap();
    server
}

#[tokio::test(start_paused = true)]
async fn requests_that_a_killed_member_has_not_taken_go_to_another() {
    let config = Config::memory().fleet();
    let _dead = killed(&config, &["clerk"]).await;
    let _system = sharing(&config, "a", Duration::ZERO).await;
    let client = ProxyClient::connect(&config).await.unwrap();
    let start = Instant::now();
    let asks = (0..100).map(|_| client.ask("clerk", GetNode));
    for answer in join_all(asks).await {
        assert_eq!(answer, Ok("a".to_owned()));
    }
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    // From now on it is avoided.
    let start = Instant::now();
    for _ in 0..100 {
        assert!(client.ask("clerk", GetNode).await.is_ok());
    }
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn requests_for_a_name_that_moves_keep_their_order() {
    let config = Config::memory().fleet();
    let log = Arc::<parking_lot::Mutex<Vec<u64>>>::default();
    let ledger = |node: &str| Clerk {
        pace: MS,
        log: log.clone(),
        ..clerk(node)
    };
    let mut systems = HashMap::new();
    for node in ["a", "b"] {
        let system = ActorSystem::new();
        system.spawn(ledger(node)).urn("ledger").await.unwrap();
        start_proxy(&system, &config.clone().instance(node))
            .await
            .unwrap();
        systems.insert(node, system);
    }
    let client = ProxyClient::connect(&config).await.unwrap();
    let asks = async {
        let mut answers = Vec::new();
        for number in 0..200 {
            let ask = client.ask("ledger", Append(number)).timeout(30 * SECOND);
            answers.push(tokio::spawn(std::future::IntoFuture::into_future(ask)));
            sleep(2 * MS).await;
        }
        join_all(answers).await
    };
    let moves = async {
        for node in ["a", "b", "a"] {
            sleep(100 * MS).await;
            let system = systems.remove(node).unwrap();
            assert!(system.shutdown().await.is_clean());
            let again = ActorSystem::new();
            again.spawn(ledger(node)).urn("ledger").await.unwrap();
            let config = config.clone().instance(node);
            start_proxy(&again, &config).await.unwrap();
            systems.insert(node, again);
        }
    };
    let (answers, ()) = tokio::join!(asks, moves);
    for (number, answer) in (0..).zip(answers) {
        assert_eq!(answer.unwrap(), Ok(number));
    }
    assert!(log.lock().iter().copied().eq(0..200), "{:?}", log.lock());
}
