//! Watches: the news of an end, once to each watcher.

use std::future::ready;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, TestResult, gate, settle, until, within};

/// A watcher, a watched actor, and the log of the watcher.
async fn pair() -> Result<
    (
        ActorSystem,
        ActorRef<ScriptedActor>,
        ActorRef<ScriptedActor>,
        Log,
    ),
    SpawnError,
> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let watcher = within(system.spawn(ScriptedActor::new("w", &log)).urn("w")).await?;
    let silent = Log::default();
    let spawn = system.supervise(lives("a", &silent)).urn("a");
    let other = within(spawn.backoff(Backoff::none())).await?;
    Ok((system, watcher, other, log))
}

async fn watch(
    watcher: &ActorRef<ScriptedActor>,
    other: &ActorRef<ScriptedActor>,
) -> Result<(), AskError> {
    let other = other.clone();
    within(watcher.ask(run(move |ctx| ctx.watch(&other)))).await
}

async fn unwatch(
    watcher: &ActorRef<ScriptedActor>,
    other: &ActorRef<ScriptedActor>,
) -> Result<(), AskError> {
    let other = other.clone();
    within(watcher.ask(run(move |ctx| ctx.unwatch(&other)))).await
}

#[tokio::test(start_paused = true)]
async fn watcher_is_told_once_with_the_reason() -> TestResult {
    let stop: fn(&ActorRef<ScriptedActor>) = ActorRef::stop;
    for (end, reason) in [
        (stop, "stop was requested"),
        (ActorRef::kill, "it was killed"),
    ] {
        let (_system, w, a, log) = pair().await?;
        watch(&w, &a).await?;
        watch(&w, &a).await?;
        end(&a);
        settle().await;
        assert_eq!(
            log.entries(),
            ["w starts", &format!("w learns of a: {reason}")]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn watch_on_a_stopped_actor_reports_at_once() -> TestResult {
    let (system, w, a, log) = pair().await?;
    a.stop();
    within(a.stopped()).await;
    let spawn = system.spawn(ScriptedActor::new("next", &Log::default()));
    within(spawn.urn("a")).await?; // its successor
    watch(&w, &a).await?;
    settle().await;
    assert_eq!(
        log.entries(),
        ["w starts", "w learns of a: stop was requested"]
    );
    assert_eq!(system.len(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn watch_reports_a_spent_budget_and_no_restarts() -> TestResult {
    let (_system, w, a, log) = pair().await?;
    watch(&w, &a).await?;
    for _ in 0..3 {
        within(a.ask(fail())).await.unwrap_err();
        within(a.ask(note("lives"))).await?;
    }
    assert_eq!(log.entries(), ["w starts"]);
    within(a.ask(fail())).await.unwrap_err();
    settle().await;
    let news = "w learns of a: it failed too often; the last time: panicked: on purpose";
    assert_eq!(log.entries(), ["w starts", news]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn unwatch_ends_the_news() -> TestResult {
    let (_system, w, a, log) = pair().await?;
    watch(&w, &a).await?;
    unwatch(&w, &a).await?;
    unwatch(&w, &a).await?;
    a.stop();
    settle().await;
    assert_eq!(log.entries(), ["w starts"]);
    unwatch(&w, &a).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn watch_may_be_repeated() -> TestResult {
    let (_system, w, a, log) = pair().await?;
    watch(&w, &a).await?;
    unwatch(&w, &a).await?;
    watch(&w, &a).await?;
    a.stop();
    settle().await;
    assert_eq!(log.count(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn watching_oneself_has_no_effect() -> TestResult {
    let (_system, w, _a, log) = pair().await?;
    watch(&w, &w).await?;
    w.stop();
    within(w.stopped()).await;
    assert_eq!(log.entries(), ["w starts", "w stops: stop was requested"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_actors_may_watch_each_other() -> TestResult {
    let (system, w, a, log) = pair().await?;
    watch(&w, &a).await?;
    watch(&a, &w).await?;
    assert!(within(system.shutdown()).await.is_clean());
    assert_eq!(log.entries()[1], "w learns of a: its system was shut down");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn news_takes_no_room_and_follows_earlier_messages() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let w = within(
        system
            .spawn(ScriptedActor::new("w", &log))
            .urn("w")
            .mailbox(1),
    )
    .await?;
    let a = within(
        system
            .spawn(ScriptedActor::new("a", &Log::default()))
            .urn("a"),
    )
    .await?;
    watch(&w, &a).await?;
    let (hold, mut keeper) = gate();
    w.tell(Pass(hold)).await?;
    keeper.reached().await;
    let to = w.clone();
    let telling = run_async(move |ctx| {
        ctx.stop();
        Box::pin(async move {
            to.tell(note("gets a")).await?;
            Ok(())
        })
    });
    within(a.ask(telling)).await?; // the mailbox is full now
    within(a.stopped()).await;
    keeper.open();
    settle().await;
    let news = "w learns of a: stop was requested";
    assert_eq!(log.entries(), ["w starts", "w gets a", news]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn watches_end_with_the_life_of_the_watcher() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let w = system.supervise(move || ready(ScriptedActor::new("w", &written)));
    let w = within(w.backoff(Backoff::none())).await?;
    let a = within(system.spawn(ScriptedActor::new("a", &Log::default()))).await?;
    watch(&w, &a).await?;
    within(w.ask(fail())).await.unwrap_err();
    within(w.ask(note("lives"))).await?;
    a.stop();
    within(a.stopped()).await;
    settle().await;
    assert_eq!(log.entries().last().map(String::as_str), Some("w lives"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_start_is_reported_to_watchers() -> TestResult {
    let (system, w, _a, log) = pair().await?;
    let (hold, keeper) = gate();
    let unlucky = ScriptedActor::new("b", &Log::default()).starting(|_| {
        Box::pin(async {
            hold.pass().await;
            Err(Failure::msg("no luck"))
        })
    });
    let mut spawn = system.spawn(unlucky).urn("b");
    assert!(conclib_tests::poll_once(&mut spawn).await.is_pending());
    watch(&w, &system.actor("b")?).await?;
    keeper.open();
    within(spawn).await.unwrap_err();
    settle().await;
    assert_eq!(
        log.entries(),
        ["w starts", "w learns of b: it failed: no luck"]
    );
    Ok(())
}

/// The number of races between a watch and an end.
const ROUNDS: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_that_races_the_end_reports_exactly_once() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let w = within(system.spawn(ScriptedActor::new("w", &log)).mailbox(100_000)).await?;
    for round in 0..ROUNDS {
        let a = within(system.spawn(ScriptedActor::new("a", &Log::default()))).await?;
        let other = a.clone();
        w.tell(run(move |ctx| ctx.watch(&other))).await?;
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 { a.stop() } else { a.kill() }
    }
    let result = || {
        let entries = log.entries();
        let result = entries.iter().filter(|entry| entry.contains("learns of"));
        result.count()
    };
    // The last actors may still be ending, and `w` may still have some to watch.
    within(until(|| result() == ROUNDS)).await;
    // Further news would be in its mailbox by now.
    within(w.ask(note("all"))).await?;
    assert_eq!(result(), ROUNDS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urn_is_free_when_the_end_is_reported() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    for round in 0..500 {
        let spawn = system.supervise(lives("a", &log)).urn("a");
        let a = within(spawn.backoff(Backoff::none())).await?;
        match round % 3 {
            0 => a.stop(),
            1 => a.kill(),
            _ => a.tell(run(|ctx| ctx.stop())).await?,
        }
        within(a.stopped()).await;
    }
    Ok(())
}
