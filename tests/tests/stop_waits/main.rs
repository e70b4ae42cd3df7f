//! Waits for ends within handlers and hooks: actors that would wait for themselves continue, and
//! each actor ends in good order. Time is paused.

mod families;
mod own_end;
mod shutdowns;
mod supervisors;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib_tests::scripted::{Run, ScriptedActor, run_async};
use conclib_tests::{Log, within};

async fn probe(
    system: &ActorSystem,
    name: &'static str,
    log: &Log,
) -> Result<ActorRef<ScriptedActor>, SpawnError> {
    system.spawn(ScriptedActor::new(name, log)).urn(name).await
}

/// Spawns a child of another actor.
async fn child(
    system: &ActorSystem,
    parent: &ActorRef<ScriptedActor>,
    child: ScriptedActor,
    name: &'static str,
) -> Result<ActorRef<ScriptedActor>, Box<dyn std::error::Error>> {
    let spawning = run_async(move |ctx| {
        let spawn = ctx.spawn(child).urn(name);
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(parent.ask(spawning)).await?;
    Ok(system.actor(name)?)
}

/// Waits for another actor's end, after a stop or without, and logs the result.
fn wait(for_whom: &ActorRef<ScriptedActor>, log: &Log, stop: bool) -> Run {
    let (other, log) = (for_whom.clone(), log.clone());
    run_async(move |_| {
        Box::pin(async move {
            if stop {
                other.stop();
            }
            let reason = other.stopped().await;
            log.add(format!("waited for {}: {reason}", other.urn()));
            Ok(())
        })
    })
}

fn stop_and_wait(for_whom: &ActorRef<ScriptedActor>, log: &Log) -> Run {
    wait(for_whom, log, true)
}
