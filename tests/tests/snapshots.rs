//! Snapshots of a running system.

use std::future::{pending, ready};
use std::time::Duration;

use conclib::prelude::*;
use conclib::snapshot::{ActorSnapshot, Phase, Snapshot};
use conclib::supervision::{Backoff, Restart};
use conclib_tests::messages::{Double, Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, run, run_async};
use conclib_tests::{Log, TestResult, gate, poll_once, settle, until, within};

/// The snapshot of an actor.
fn look(system: &ActorSystem, urn: &str) -> Result<ActorSnapshot, String> {
    let snapshot = system.snapshot();
    let actor = snapshot.actor(urn).cloned();
    actor.ok_or_else(|| format!("no `{urn}` in {snapshot}"))
}

#[tokio::test(start_paused = true)]
async fn idle_actor_shows_its_counts() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let spawn = system.supervise(move || ready(ScriptedActor::new("a", &log)));
    let a = within(spawn.urn("a").mailbox(7).backoff(Backoff::none())).await?;
    for text in ["1", "2", "3"] {
        within(a.ask(note(text))).await?;
    }
    within(a.ask(fail())).await.unwrap_err();
    within(a.ask(note("4"))).await?;
    settle().await;
    let a = look(&system, "a")?;
    assert_eq!(a.actor_type, std::any::type_name::<ScriptedActor>());
    assert_eq!((a.handled, a.failures, a.restarts), (4, 1, 1));
    assert_eq!((a.queued, a.capacity, a.waiting_senders), (0, 7, 0));
    assert_eq!(a.phase, Phase::Running);
    assert!(a.oldest.is_none() && a.running.is_none() && a.parent.is_none());
    Ok(())
}

#[tokio::test]
async fn busy_actor_shows_its_handler_and_waiting_messages() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(
        system
            .spawn(ScriptedActor::new("a", &log))
            .urn("a")
            .mailbox(2),
    )
    .await?;
    let (hold, mut keeper) = gate();
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    a.tell(note("1")).await?;
    a.tell(note("2")).await?;
    let mut waits = a.tell(note("3"));
    assert!(poll_once(&mut waits).await.is_pending());
    let seen = look(&system, "a")?;
    assert_eq!(
        (seen.queued, seen.capacity, seen.waiting_senders),
        (2, 2, 1)
    );
    assert_eq!(
        seen.running.as_ref().map(|running| &*running.name),
        Some("pass")
    );
    // Both ages grow.
    let ages = |seen: &ActorSnapshot| {
        let elapsed = seen.running.as_ref().map(|running| running.elapsed);
        elapsed.zip(seen.oldest)
    };
    let (elapsed, oldest) = ages(&seen).ok_or("no ages")?;
    let older = |seen| ages(&seen).is_some_and(|(now, then)| now > elapsed && then > oldest);
    until(|| look(&system, "a").is_ok_and(older)).await;
    assert_eq!(system.snapshot().queued(), 2);
    keeper.open();
    within(waits).await?;
    within(a.ask(note("4"))).await?;
    assert_eq!(look(&system, "a")?.handled, 5);
    Ok(())
}

#[tokio::test]
async fn time_of_a_handler_does_not_count_for_the_next() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(system.spawn(ScriptedActor::new("a", &log)).urn("a")).await?;
    let ((first, mut one), (second, mut two)) = (gate(), gate());
    a.tell(Pass(first)).await?;
    one.reached().await;
    a.tell(Pass(second)).await?;
    let elapsed = || {
        let running = look(&system, "a").ok().and_then(|seen| seen.running);
        running.map(|running| running.elapsed).unwrap_or_default()
    };
    until(|| elapsed() > Duration::from_millis(100)).await;
    let passed = std::time::Instant::now();
    one.open();
    two.reached().await;
    let (seen, most) = (elapsed(), passed.elapsed());
    // The clock of snapshots has steps of a few milliseconds.
    assert!(
        seen <= most + Duration::from_millis(20),
        "{seen:?}, at most {most:?}"
    );
    two.open();
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn every_phase_is_seen() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let ((hold, mut starting), (last, mut stopping)) = (gate(), gate());
    let mut first = Some((hold, last));
    let spawn = system.supervise(move || {
        let probe = ScriptedActor::new("a", &log);
        ready(match first.take() {
            None => probe.stopping(|_| Box::pin(pending())),
            Some((hold, last)) => probe
                .starting(|_| {
                    Box::pin(async {
                        hold.pass().await;
                        Ok(())
                    })
                })
                .failing(|_| {
                    Box::pin(async {
                        last.pass().await;
                        Ok(())
                    })
                }),
        })
    });
    let spawn = spawn.restart(Restart::Always);
    let mut spawn = spawn.backoff(Backoff::from_secs(1)).urn("a");
    let phase = || look(&system, "a").map(|seen| seen.phase);
    assert!(poll_once(&mut spawn).await.is_pending());
    starting.reached().await;
    assert_eq!(phase()?, Phase::Starting);
    starting.open();
    let a = within(spawn).await?;
    assert_eq!(phase()?, Phase::Running);
    a.tell(fail()).await?;
    stopping.reached().await;
    assert_eq!(phase()?, Phase::Stopping);
    stopping.open();
    settle().await;
    assert_eq!(phase()?, Phase::Restarting);
    within(a.ask(note("lives"))).await?;
    assert_eq!(phase()?, Phase::Running);
    a.stop();
    settle().await;
    assert_eq!(phase()?, Phase::Stopping);
    a.kill();
    within(a.stopped()).await;
    assert!(phase().is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn parents_are_named_and_actors_come_in_the_order_of_their_spawning() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let silent = log.clone();
    let top = within(system.spawn(ScriptedActor::new("top", &log)).urn("top")).await?;
    within(system.spawn(ScriptedActor::new("other", &log)).urn("other")).await?;
    let spawning = run_async(move |ctx| {
        let spawn = ctx.spawn(ScriptedActor::new("child", &silent)).urn("child");
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    within(top.ask(spawning)).await?;
    let snapshot = system.snapshot();
    let urns: Vec<&str> = snapshot
        .actors
        .iter()
        .map(|seen| seen.urn.as_str())
        .collect();
    assert_eq!(urns, ["top", "other", "child"]);
    let parents = snapshot.actors.iter().map(|seen| seen.parent.as_ref());
    let parents: Vec<_> = parents.map(|urn| urn.map(conclib::Urn::as_str)).collect();
    assert_eq!(parents, [None, None, Some("top")]);
    Ok(())
}

/// Handles raw messages, and waits in the handler.
#[derive(Actor)]
struct Raw;

#[handlers]
impl Raw {
    #[handler]
    async fn anything(&mut self, _envelope: RequestEnvelope) {
        pending::<()>().await;
    }
}

#[tokio::test]
async fn raw_handler_has_a_name() -> TestResult {
    let config = Config::memory();
    let system = ActorSystem::new();
    start_proxy(&system, &config).await?;
    within(system.spawn(Raw).urn("raw")).await?;
    let client = ProxyClient::connect(&config).await?;
    let asking = tokio::spawn(client.ask("raw", Double { n: 1 }).into_future());
    until(|| look(&system, "raw").is_ok_and(|seen| seen.running.is_some())).await;
    let running = look(&system, "raw")?.running.map(|running| running.name);
    assert_eq!(running.as_deref(), Some("anything"));
    asking.abort();
    let shutdown = system.shutdown().timeout(Duration::ZERO);
    assert_eq!(within(shutdown).await.killed, ["raw"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn snapshot_is_a_table_and_json() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(system.spawn(ScriptedActor::new("a", &log)).urn("a")).await?;
    within(
        system
            .spawn(ScriptedActor::new("b", &log))
            .urn("a-long-name"),
    )
    .await?;
    let (hold, mut keeper) = gate();
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    a.tell(run(|_| {})).await?;

    let table = system.snapshot().to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("URN          phase"), "{table}");
    assert!(lines[0].ends_with("handler"), "{table}");
    assert!(lines[1].starts_with("a            running"), "{table}");
    assert!(
        lines[1].contains(" 1/64 ") && lines[1].contains("pass for "),
        "{table}"
    );
    assert!(lines[2].starts_with("a-long-name  running"), "{table}");

    let snapshot = system.snapshot();
    let json: serde_json::Value = serde_json::to_value(&snapshot)?;
    assert_eq!(Snapshot::deserialize(&json)?, snapshot);
    let a = &json["actors"][0];
    assert_eq!(a["urn"], "a");
    assert_eq!(a["phase"], "running");
    assert_eq!(a["running"]["name"], "pass");
    assert_eq!((&a["queued"], &a["capacity"]), (&1.into(), &64.into()));
    assert!(a["oldest"]["secs"].is_u64() && a["parent"].is_null(), "{a}");
    Ok(())
}
