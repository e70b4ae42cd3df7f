//! Members that await their supervisor, and rings of stops.

use std::future::ready;
use std::sync::Arc;

use conclib::prelude::*;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::scripted::{ScriptedActor, run_async};
use conclib_tests::{Log, TestResult, poll_once, settle, within};
use tokio::sync::Barrier;

use super::child;

/// Asks its supervisor, and awaits its end, in `on_start`.
#[derive(Actor)]
struct Member(ActorSystem, Log);

#[handlers]
impl Member {
    async fn on_start(&mut self) -> Result<(), Failure> {
        let group = self.0.actor::<Supervisor>("group")?;
        let result = group.children().await;
        let cycle = matches!(result, Err(AskError::AskCycle { .. }));
        self.1.add(format!("gets a cycle error: {cycle}"));
        let reason = group.stopped().await;
        self.1.add(format!("waited: {reason}"));
        Ok(())
    }

    fn on_stop(&mut self, reason: &StopReason) {
        self.1.add(format!("stops: {reason}"));
    }
}

#[tokio::test(start_paused = true)]
async fn starting_member_that_awaits_its_supervisor_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (inner, written) = (system.clone(), log.clone());
    let member = ChildSpec::new(move || ready(Member(inner.clone(), written.clone())));
    let group = Supervisor::new(Strategy::OneForOne).member(member);
    let mut spawn = system.spawn(group).urn("group");
    assert!(poll_once(&mut spawn).await.is_pending());
    settle().await;
    assert_eq!(log.entries(), ["gets a cycle error: true"]);
    let group = system.actor::<Supervisor>("group")?;
    group.stop();
    within(group.stopped()).await;
    assert_eq!(
        log.entries()[1..],
        ["waited: stop was requested", "stops: its parent stopped"]
    );
    Ok(())
}

/// Each actor of a ring stops the next and awaits its end, all at the same moment.
async fn stop_in_ring(actors: &[ActorRef<ScriptedActor>]) -> TestResult {
    let start = Arc::new(Barrier::new(actors.len()));
    let asked: Vec<_> = (0..actors.len())
        .map(|place| {
            let (start, next) = (start.clone(), actors[(place + 1) % actors.len()].clone());
            let order = run_async(move |_| {
                Box::pin(async move {
                    start.wait().await;
                    next.stop();
                    next.stopped().await;
                    Ok(())
                })
            });
            tokio::spawn(actors[place].ask(order))
        })
        .collect();
    for asked in asked {
        within(asked).await??;
    }
    for actor in actors {
        let reason = within(actor.stopped()).await;
        assert!(!reason.is_failure(), "{reason}");
        assert!(!matches!(reason, StopReason::Killed), "{reason}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ring_of_actors_that_stop_each_other_runs_all_hooks() -> TestResult {
    const ROUNDS: usize = 300;
    let (system, log) = (ActorSystem::new(), Log::default());
    for size in 1..5 {
        for _ in 0..ROUNDS {
            let mut actors = Vec::new();
            for _ in 0..size {
                actors.push(system.spawn(ScriptedActor::new("peer", &log)).await?);
            }
            stop_in_ring(&actors).await?;

            // Each the parent of the next.
            let names = ["top", "1", "2", "3"];
            let mut family = vec![
                system
                    .spawn(ScriptedActor::new("top", &log))
                    .urn("top")
                    .await?,
            ];
            for name in &names[1..size] {
                let parent = &family[family.len() - 1];
                family.push(child(&system, parent, ScriptedActor::new(name, &log), name).await?);
            }
            stop_in_ring(&family).await?;
        }
    }
    assert!(system.is_empty());
    let stops = log.entries();
    let stops = stops.iter().filter(|entry| entry.contains(" stops: "));
    assert_eq!(stops.count(), 2 * ROUNDS * (1 + 2 + 3 + 4));
    Ok(())
}
