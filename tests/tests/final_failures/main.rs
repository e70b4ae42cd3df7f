//! Actors that fail and do not start again: snapshots, lookups, logs, escalation.

mod escalation;
mod essential;
mod logs;
mod lookups;
mod snapshots;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::snapshot::FailedActor;
use conclib::supervision::Backoff;
use conclib_tests::scripted::{ScriptedActor, fail, lives};
use conclib_tests::{Log, within};

/// A supervised actor that has exhausted its budget.
async fn spent(system: &ActorSystem, urn: &str) -> Result<ActorRef<ScriptedActor>, SpawnError> {
    let spawn = system.supervise(lives("it", &Log::default()));
    let actor = within(spawn.urn(urn).backoff(Backoff::none())).await?;
    for _ in 0..4 {
        let _ = within(actor.ask(fail())).await;
    }
    within(actor.stopped()).await;
    Ok(actor)
}

fn failed(system: &ActorSystem) -> Vec<FailedActor> {
    system.snapshot().failed
}

fn urns(system: &ActorSystem) -> Vec<String> {
    let failed = failed(system).into_iter();
    failed.map(|actor| actor.urn.to_string()).collect()
}
