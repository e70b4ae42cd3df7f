//! Processes that hardly work are inspected all the same.

use conclib::inspect::{ActorsQuery, InspectError, Sort, StatusQuery};
use conclib::prelude::*;
use conclib_tests::bus::Bus;
use conclib_tests::messages::{Double, Pass};
use conclib_tests::{SECOND, eventually, gate};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::Inspected;

/// Waits at a gate; its mailbox is small.
#[derive(Actor)]
#[actor(urn = "stuck", mailbox = 8)]
struct Stuck;

#[handlers]
impl Stuck {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        message.n * 2
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }
}

pub(crate) async fn full_mailboxes_and_stuck_actors_are_inspected(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let stuck = inspected.system.spawn(Stuck).await.unwrap();
    let (gate, mut handle) = gate();
    stuck.try_tell(Pass(gate)).unwrap();
    handle.reached().await;
    let client = ProxyClient::connect(&inspected.bus.config).await.unwrap();
    let asks = (0..2_000).map(|n| client.ask("stuck", Double { n }).timeout(3 * SECOND));
    let asks = tokio::spawn(join_all(asks));
    eventually("the mailbox is full", async || {
        inspected.system.snapshot().actor("stuck").unwrap().queued == 8
    })
    .await;
    let begun = Instant::now();
    let query = ActorsQuery::new().sort(Sort::Queued);
    let page = inspected.inspector.ask("main", &query).await.unwrap();
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(page.actors[0].queued, 8);
    assert_eq!(page.actors[0].running.as_ref().unwrap().name, "pass");
    handle.open();
    asks.await.unwrap();
}

pub(crate) async fn node_without_a_process_has_no_responder(bus: Bus) {
    let inspected = Inspected::with(bus, |config| config).await;
    let inspector = &inspected.inspector;
    let absent = inspector.ask("other", &StatusQuery::default()).await;
    assert_eq!(absent, Err(InspectError::NoResponder));
    let unnamed = inspector.ask("no name", &StatusQuery::default()).await;
    assert!(matches!(unnamed, Err(InspectError::Node(_))));
    inspector.shutdown().await;
    let closed = inspector.ask("main", &StatusQuery::default()).await;
    assert!(
        matches!(closed, Err(InspectError::Unavailable { .. })),
        "{closed:?}"
    );
}

/// An inbox that no pop can empty as fast as it is filled delays no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_inbox_is_inspected() {
    let bus = Bus::redis().await;
    let address = bus.address();
    let inspected = Inspected::with(bus, |config| config).await;
    inspected.system.spawn(Stuck).await.unwrap();
    let epoch = inspected.proxy.epoch().unwrap();
    let inbox = format!("conclib:{{n:main}}:inbox:{epoch}");
    // Frames that cannot be read, which take the server time all the same.
    let mut push = vec![&b"RPUSH"[..], inbox.as_bytes()];
    push.resize(20_002, b"no frame");
    for _ in 0..10 {
        conclib_tests::redis::send_command(address, &push)
            .await
            .unwrap();
    }
    let begun = Instant::now();
    let status = inspected
        .inspector
        .ask("main", &StatusQuery::default())
        .await
        .unwrap();
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert!(status.is_serving);
}
