//! Workers that resize their own pool.

use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::{Log, TestResult, gate, within};

use super::{answer, ask_pool, pool};

/// Resizes its own pool in `on_start`.
#[derive(Actor)]
struct Grower {
    system: ActorSystem,
    log: Log,
}

#[handlers]
impl Grower {
    async fn on_start(&mut self) {
        if let Ok(pool) = self.system.actor::<Pool<Self>>("pool") {
            let resized = pool.resize(5).await;
            self.log.add(format!("{resized:?}"));
        }
    }
}

#[tokio::test]
async fn starting_worker_that_resizes_its_pool_gets_a_cycle_error() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (inner, written) = (system.clone(), log.clone());
    let pool = Pool::new(1, move || {
        let (system, log) = (inner.clone(), written.clone());
        async move { Grower { system, log } }
    });
    within(system.spawn(pool).urn("pool")).await?;
    assert!(log.entries()[0].contains("AskCycle"), "{log:?}");
    Ok(())
}

#[tokio::test]
async fn worker_resizes_its_pool_while_that_waits_for_room() -> TestResult {
    let system = ActorSystem::new();
    let pool = system.spawn(pool(1)).urn("pool").await?;
    let (gate, mut keeper) = gate();
    let resizes = pool.clone();
    let worker = tokio::spawn(ask_pool(pool.clone(), async move {
        gate.pass().await;
        resizes.resize(2).await.map(|()| 2)
    }));
    keeper.reached().await;
    // One message waits for the worker, and the pool waits with another.
    let others: Vec<_> = (0..2)
        .map(|_| tokio::spawn(ask_pool(pool.clone(), answer())))
        .collect();
    within(async {
        while !(system.snapshot().actors.iter()).any(|actor| actor.waiting_senders == 1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    keeper.open();
    assert_eq!(within(worker).await?, Ok(2));
    for other in others {
        assert_eq!(within(other).await?, Ok(1));
    }
    Ok(())
}
