//! Messages and requests that end in rare ways are counted like all others.

use std::time::Duration;

use conclib::error::AskErrorKind;
use conclib::metrics::{Anomaly, StopKind, SystemMetrics};
use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::{eventually, within};
use tokio::time::sleep;

use crate::{Count, MS};

#[tokio::test(start_paused = true)]
async fn request_that_is_dropped_in_a_pause_of_its_repetitions_is_abandoned() {
    let client = ProxyClient::connect(&Config::memory()).await.unwrap();
    let ask = client.ask("counter", Count(1)).retry().into_future();
    let dropped = tokio::time::timeout(Duration::from_secs(1), ask).await;
    assert!(dropped.is_err(), "it is repeated until its deadline");
    let stats = client.stats();
    assert!(stats.retries > 0);
    assert_eq!((stats.abandoned, stats.asks.total()), (1, 0));
}

#[derive(Actor)]
struct Clumsy;

#[handlers]
impl Clumsy {
    #[handler]
    fn count(&mut self, Count(n): Count) -> u32 {
        n
    }

    fn on_stop(&mut self) {
        panic!("at the end");
    }
}

#[tokio::test]
async fn panic_of_a_last_hook_is_counted() {
    let system = ActorSystem::new();
    let clumsy = system.spawn(Clumsy).await.unwrap();
    clumsy.stop();
    clumsy.stopped().await;
    let metrics = system.metrics();
    let clumsy = metrics.of("Clumsy").unwrap();
    assert_eq!((clumsy.failures, clumsy.panics), (1, 1));
    assert_eq!(clumsy.stopped_as(StopKind::Requested), 1);
    assert_eq!(system.failures().len(), 1);
}

#[derive(ActorMessage, Clone)]
#[message(local)]
struct Fill;

#[derive(ActorMessage)]
#[message(local, response = bool)]
struct AskPeer {
    peer: Recipient<Counted>,
}

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Counted;

/// Asks its peer, whose mailbox is full.
#[derive(Actor)]
#[actor(mailbox = 1)]
struct Neighbour;

#[handlers]
impl Neighbour {
    #[handler]
    async fn ask_peer(&mut self, AskPeer { peer }: AskPeer) -> bool {
        sleep(20 * MS).await; // until both are busy
        matches!(peer.ask(Counted).await, Err(AskError::AskCycle { .. }))
    }

    #[handler]
    fn counted(&mut self, _: Counted) -> u32 {
        0
    }

    #[handler]
    fn fill(&mut self, _: Fill) {}
}

/// Two actors ask each other while both mailboxes are full: one of the asks ends as a cycle, and is counted.
#[tokio::test]
async fn cycle_of_an_ask_that_waits_for_room_is_counted() {
    let system = ActorSystem::new();
    let (a, b) = (
        system.spawn(Neighbour).await.unwrap(),
        system.spawn(Neighbour).await.unwrap(),
    );
    let ask = |of: &ActorRef<Neighbour>, peer: &ActorRef<Neighbour>| {
        let peer = peer.recipient();
        tokio::spawn(of.ask(AskPeer { peer }).into_future())
    };
    let asks = [ask(&a, &b), ask(&b, &a)];
    eventually("both are busy", async || {
        let snapshot = system.metrics();
        snapshot.of("Neighbour").unwrap().longest_running.is_some()
            && a.try_tell(Fill).is_err()
            && b.try_tell(Fill).is_err()
    })
    .await;
    let mut cycles = 0;
    for ask in asks {
        cycles += u64::from(within(ask).await.unwrap().unwrap());
    }
    assert!(cycles > 0);
    let metrics = system.metrics();
    let lost = metrics
        .of("Neighbour")
        .unwrap()
        .lost_as(AskErrorKind::AskCycle);
    assert_eq!(lost, cycles);
}

#[derive(ActorMessage)]
#[message(local, response = bool)]
struct AskPool {
    pool: Recipient<Counted>,
}

/// A worker that asks its own pool.
#[derive(Actor)]
struct Looping;

#[handlers]
impl Looping {
    #[handler]
    async fn ask_pool(&mut self, AskPool { pool }: AskPool) -> bool {
        matches!(pool.ask(Counted).await, Err(AskError::AskCycle { .. }))
    }

    #[handler]
    fn counted(&mut self, _: Counted) -> u32 {
        0
    }
}

#[tokio::test]
async fn message_that_a_pool_can_give_to_no_worker_is_lost_and_not_handled() {
    let system = ActorSystem::new();
    let pool = system.spawn(Pool::new(1, async || Looping)).await.unwrap();
    let recipient: Recipient<Counted> = pool.recipient();
    let ask = pool.ask(AskPool { pool: recipient });
    assert!(within(ask.into_future()).await.unwrap());
    let metrics = system.metrics();
    let of_pool = metrics
        .types
        .iter()
        .find(|of_type| of_type.actor_type.contains("Pool<"));
    let of_pool = of_pool.unwrap();
    assert_eq!(
        (of_pool.handled, of_pool.lost_as(AskErrorKind::AskCycle)),
        (1, 1)
    );
    let handlers: Vec<_> = of_pool
        .handlers
        .iter()
        .map(|count| (&*count.handler, count.handled))
        .collect();
    assert_eq!(handlers, [("ask_pool", 1)]);
}

/// A reader of another version meets kinds that it does not know.
#[test]
fn counters_of_another_version_can_be_read() {
    let json = r#"{"types": [{"actor_type": "Worker", "stopped": [{"kind": "beamed_up", "count": 2}],
        "lost": [{"kind": "eaten", "count": 3}, {"kind": "timeout", "count": 1}], "later": 1}]}"#;
    let metrics: SystemMetrics = serde_json::from_str(json).unwrap();
    let worker = metrics.of("Worker").unwrap();
    assert_eq!(worker.stopped_as(StopKind::Other), 2);
    assert_eq!(worker.lost_as(AskErrorKind::Other), 3);
    assert_eq!(worker.lost_as(AskErrorKind::Timeout), 1);
    let anomaly: Anomaly = serde_json::from_str(r#""strange""#).unwrap();
    assert_eq!(anomaly, Anomaly::Other);
}
