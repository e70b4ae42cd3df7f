//! Requests that are kept for later, or moved into a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use conclib::prelude::*;
use conclib_tests::{Log, TestResult, gate, poll_once, within};
use tokio::sync::oneshot;

use super::{Begin, End, Node, answer, ask, cycle, depth, node, run};

#[tokio::test]
async fn kept_request_holds_up_no_actor() -> TestResult {
    let system = ActorSystem::new();
    let (a, b) = (node(&system, "a").await?, node(&system, "b").await?);
    let (gate, mut keeper) = gate();
    let back = a.clone();
    let asked = ask(b.clone(), async move {
        gate.pass().await;
        ask(back, answer()).await
    });
    within(a.ask(Begin(Box::pin(asked)))).await?;
    keeper.reached().await;
    keeper.open();
    assert_eq!(within(ask(b, answer())).await, Ok(1), "it was answered");
    assert_eq!(within(a.ask(End)).await?, Ok(1));
    Ok(())
}

#[tokio::test]
async fn resumed_request_is_a_wait_again() -> TestResult {
    let system = ActorSystem::new();
    let (a, b) = (node(&system, "a").await?, node(&system, "b").await?);
    let (gate, mut keeper) = gate();
    let back = a.clone();
    let asked = ask(b, async move {
        gate.pass().await;
        ask(back, answer()).await
    });
    within(a.ask(Begin(Box::pin(asked)))).await?;
    keeper.reached().await;
    let mut end = a.ask(End);
    assert!(poll_once(&mut end).await.is_pending());
    let end = tokio::spawn(end);
    within(async {
        // Until its second handler runs and waits.
        let runs = |actor: &conclib::snapshot::ActorSnapshot| {
            actor
                .running
                .as_ref()
                .is_some_and(|running| running.name == "end")
        };
        while !system.snapshot().actors.iter().any(runs) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    keeper.open();
    assert_eq!(within(end).await??, cycle(&["b", "a", "b"]));
    Ok(())
}

#[tokio::test]
async fn request_moved_into_a_task_holds_up_no_actor() -> TestResult {
    let system = ActorSystem::new();
    let (a, b) = (node(&system, "a").await?, node(&system, "b").await?);
    let (gate_a, mut keeper_a) = gate();
    let (gate_b, mut keeper_b) = gate();
    let (moved, is_moved) = oneshot::channel();
    let back = a.clone();
    let asks = tokio::spawn(ask(a, async move {
        let mut asked = b.ask(run(async move {
            gate_b.pass().await;
            ask(back, answer()).await
        }));
        assert!(poll_once(&mut asked).await.is_pending());
        tokio::spawn(async move {
            assert!(poll_once(&mut asked).await.is_pending());
            let _ = moved.send(asked);
        });
        gate_a.pass().await;
        Ok(3)
    }));
    keeper_a.reached().await;
    keeper_b.reached().await;
    let asked = within(is_moved).await?;
    keeper_b.open();
    depth(&system, "a", 1).await;
    keeper_a.open();
    assert_eq!(within(asks).await?, Ok(3));
    assert_eq!(within(asked).await?, Ok(1));
    Ok(())
}

/// Fails once, and asks another actor before its second incarnation.
#[tokio::test(start_paused = true)]
async fn request_for_a_restarting_actor_is_still_a_wait() -> TestResult {
    let system = ActorSystem::new();
    let a = node(&system, "a").await?;
    let (log, lives) = (Log::default(), Arc::new(AtomicU32::new(0)));
    let (asks, written) = (a.clone(), log.clone());
    let phoenix = system.supervise(move || {
        let (asks, written) = (asks.clone(), written.clone());
        let life = lives.fetch_add(1, Ordering::SeqCst);
        async move {
            if life > 0 {
                written.add(format!("{:?}", ask(asks, answer()).await));
            }
            Node::default()
        }
    });
    let phoenix = within(phoenix.urn("phoenix")).await?;
    let (gate, mut keeper) = gate();
    let fails = phoenix.ask(run(async move {
        gate.pass().await;
        panic!("on purpose")
    }));
    let fails = tokio::spawn(fails);
    keeper.reached().await;
    let waits = tokio::spawn(ask(a, ask(phoenix, answer())));
    depth(&system, "phoenix", 1).await;
    keeper.open();
    assert!(matches!(within(fails).await?, Err(AskError::Failed { .. })));
    assert_eq!(within(waits).await?, Ok(1), "by the next life");
    let expected = cycle(&["phoenix", "a", "phoenix"]);
    assert_eq!(log.entries(), [format!("{expected:?}")]);
    Ok(())
}
