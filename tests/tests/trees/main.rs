//! Parents and children: order of ends, failures, shutdowns.

mod failures;
mod shutdowns;
mod stops;

use conclib::prelude::*;
use conclib_tests::scripted::{ScriptedActor, run_async};
use conclib_tests::{Log, within};

/// Spawns children of another actor, in order.
async fn children(
    parent: &ActorRef<ScriptedActor>,
    names: &[&'static str],
    log: &Log,
) -> Result<(), AskError> {
    for name in names.iter().copied() {
        let child = ScriptedActor::new(name, log);
        let spawning = run_async(move |ctx| {
            let spawn = ctx.spawn(child).urn(name);
            Box::pin(async {
                spawn.await?;
                Ok(())
            })
        });
        within(parent.ask(spawning)).await?;
    }
    Ok(())
}

/// A tree: `top`, its children `a` and `b`, and `b`'s children `x` and `y`.
async fn tree() -> Result<(ActorSystem, ActorRef<ScriptedActor>, Log), Box<dyn std::error::Error>> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let silent = Log::default();
    let top = within(system.spawn(ScriptedActor::new("top", &log)).urn("top")).await?;
    children(&top, &["a", "b"], &log).await?;
    children(&system.actor("b")?, &["x", "y"], &silent).await?;
    Ok((system, top, log))
}

/// The entries of stops, in order.
fn stops(log: &Log) -> Vec<String> {
    let entries = log.entries().into_iter();
    entries.filter(|entry| entry.contains(" stops: ")).collect()
}
