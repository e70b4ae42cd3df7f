//! Supervised actors: policy, budget, backoff, failed starts.

use std::future::ready;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::supervision::{Backoff, Restart};
use conclib_tests::messages::{Beat, Fail, Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, MS, PanicsOnDrop, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::time::Instant;

/// A supervised actor that restarts at once, and its log.
async fn probe(
    restart: Restart,
) -> Result<(ActorSystem, ActorRef<ScriptedActor>, Log), SpawnError> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let spawn = system.supervise(lives("a", &log)).restart(restart);
    let probe = within(spawn.urn("a").backoff(Backoff::none())).await?;
    Ok((system, probe, log))
}

fn restarts(system: &ActorSystem) -> Option<u32> {
    Some(system.snapshot().actor("a")?.restarts)
}

// ---- a restart

#[tokio::test(start_paused = true)]
async fn restart_keeps_urn_references_and_waiting_messages() -> TestResult {
    let (system, a, log) = probe(Restart::OnFailure).await?;
    let (hold, mut keeper) = gate();
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    a.tell(note("1")).await?;
    let mut failing = a.ask(fail());
    assert!(poll_once(&mut failing).await.is_pending());
    a.tell(note("2")).await?;
    let mut asked = a.ask(note("3"));
    assert!(poll_once(&mut asked).await.is_pending());
    keeper.open();

    assert!(matches!(
        within(failing).await,
        Err(AskError::Failed { .. })
    ));
    assert_eq!(within(asked).await, Ok(()));
    let failed = "a fails: panicked: on purpose";
    assert_eq!(
        log.entries(),
        ["a starts", "a 1", failed, "a starts", "a 2", "a 3"]
    );
    assert_eq!(system.actor::<ScriptedActor>("a")?, a);
    assert_eq!(restarts(&system), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn error_is_a_failure_like_a_panic() -> TestResult {
    let (system, a, _log) = probe(Restart::OnFailure).await?;
    let failing = run_async(|_| Box::pin(async { Err(Failure::msg("no")) }));
    assert!(matches!(
        within(a.ask(failing)).await,
        Err(AskError::Failed { .. })
    ));
    assert_eq!(within(a.ask(note("x"))).await, Ok(()));
    assert_eq!(restarts(&system), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn panics_in_hooks_and_drops_do_not_prevent_a_restart() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    // The closure of a hook that does not run holds the bomb until the state is dropped.
    let factory = move || {
        let (probe, bomb) = (ScriptedActor::new("a", &written), PanicsOnDrop);
        let holds = |bomb: PanicsOnDrop| ready(Err(Failure::msg(format!("{bomb:?}"))));
        ready(if written.count() == 0 {
            let probe = probe.failing(|_| panic!("on_failure"));
            probe.stopping(move |_| Box::pin(holds(bomb)))
        } else {
            let probe = probe.stopping(|_| panic!("on_stop"));
            probe.failing(move |_| Box::pin(holds(bomb)))
        })
    };
    let spawn = system.supervise(factory).restart(Restart::Always);
    let a = within(spawn.urn("a").backoff(Backoff::none())).await?;
    assert!(matches!(
        within(a.ask(fail())).await,
        Err(AskError::Failed { .. })
    ));
    within(a.ask(run(|ctx| ctx.stop()))).await?;
    within(a.ask(note("lives"))).await?;
    assert_eq!(restarts(&system), Some(2));
    assert_eq!(log.entries().last().map(String::as_str), Some("a lives"));
    Ok(())
}

#[derive(Actor)]
#[periodic(tick = Beat, every = "10s", first = "after")]
struct Heart(Log, Instant);

#[handlers]
impl Heart {
    #[handler]
    fn beat(&mut self, _: Beat) {
        self.0.add(self.1.elapsed().as_secs().to_string());
    }

    #[handler]
    fn fail(&mut self, _: Fail) -> Result<(), Failure> {
        Err(Failure::msg("on purpose"))
    }
}

#[tokio::test(start_paused = true)]
async fn tickers_start_afresh() -> TestResult {
    let (system, log, began) = (ActorSystem::new(), Log::default(), Instant::now());
    let written = log.clone();
    let spawn = system.supervise(move || ready(Heart(written.clone(), began)));
    let heart = within(spawn.backoff(Backoff::none())).await?;
    tokio::time::sleep(12 * SECOND).await;
    heart.tell(Fail).await?;
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(log.entries(), ["10", "22"]);
    Ok(())
}

// ---- policies

#[tokio::test(start_paused = true)]
async fn policy_never_does_not_restart() -> TestResult {
    let (system, a, _log) = probe(Restart::Never).await?;
    assert!(matches!(
        within(a.ask(fail())).await,
        Err(AskError::Failed { .. })
    ));
    let reason = within(a.stopped()).await;
    assert!(matches!(reason, StopReason::Failed(_)), "{reason}");
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn policy_on_failure_does_not_restart_after_a_stop() -> TestResult {
    let (_system, a, log) = probe(Restart::OnFailure).await?;
    within(a.ask(run(|ctx| ctx.stop()))).await?;
    let reason = within(a.stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    assert_eq!(log.entries(), ["a starts", "a stops: stop was requested"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn policy_always_restarts_after_a_stop_and_keeps_messages() -> TestResult {
    let (_system, a, log) = probe(Restart::Always).await?;
    let mut stopping = a.ask(run(|ctx| {
        ctx.stop();
        assert!(!ctx.is_stopping());
    }));
    assert!(poll_once(&mut stopping).await.is_pending());
    a.tell(note("1")).await?;
    within(stopping).await?;
    within(a.ask(note("2"))).await?;
    let stops = "a stops: stop was requested";
    assert_eq!(log.entries(), ["a starts", stops, "a starts", "a 1", "a 2"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_from_outside_is_final_under_every_policy() -> TestResult {
    for policy in [Restart::Always, Restart::OnFailure, Restart::Never] {
        let (_system, a, log) = probe(policy).await?;
        a.tell(note("1")).await?;
        a.stop();
        let reason = within(a.stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
        let stops = "a stops: stop was requested";
        assert_eq!(log.entries(), ["a starts", "a 1", stops]);

        let (_system, a, _log) = probe(policy).await?;
        a.kill();
        let reason = within(a.stopped()).await;
        assert!(matches!(reason, StopReason::Killed), "{reason}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_stopped_twice_handles_queued_messages() -> TestResult {
    let (_system, a, log) = probe(Restart::Always).await?;
    let (hold, mut keeper) = gate();
    a.tell(run_async(move |ctx| {
        ctx.stop();
        Box::pin(async {
            hold.pass().await;
            Ok(())
        })
    }))
    .await?;
    keeper.reached().await;
    a.tell(note("queued")).await?;
    a.stop();
    keeper.open();
    let reason = within(a.stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    let stops = "a stops: stop was requested";
    assert_eq!(log.entries(), ["a starts", "a queued", stops]);
    Ok(())
}

// ---- budget and backoff

#[tokio::test(start_paused = true)]
async fn fourth_failure_within_five_seconds_is_the_last() -> TestResult {
    let (system, a, _log) = probe(Restart::OnFailure).await?;
    for _ in 0..3 {
        assert!(matches!(
            within(a.ask(fail())).await,
            Err(AskError::Failed { .. })
        ));
        within(a.ask(note("lives"))).await?;
    }
    let mut last = a.ask(fail());
    assert!(poll_once(&mut last).await.is_pending());
    let mut behind = a.ask(note("too late"));
    assert!(poll_once(&mut behind).await.is_pending());
    assert!(matches!(within(last).await, Err(AskError::Failed { .. })));
    assert_eq!(within(behind).await, Err(AskError::ActorStopped));
    let reason = within(a.stopped()).await;
    let StopReason::Exhausted(failure) = reason else {
        return Err(format!("{reason}").into());
    };
    assert_eq!(failure.to_string(), "panicked: on purpose");
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn old_failures_do_not_count() -> TestResult {
    let (system, a, _log) = probe(Restart::OnFailure).await?;
    for _ in 0..12 {
        assert!(matches!(
            within(a.ask(fail())).await,
            Err(AskError::Failed { .. })
        ));
        tokio::time::sleep(5 * SECOND / 3 + MS).await;
    }
    assert_eq!(restarts(&system), Some(12));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn waits_grow_and_are_shortened_by_half_at_most() -> TestResult {
    let (system, log, began) = (ActorSystem::new(), Log::default(), Instant::now());
    let written = log.clone();
    let factory = move || {
        written.add(began.elapsed().as_millis().to_string());
        let mortal = ScriptedActor::new("a", &Log::default());
        ready(mortal.starting(|_| Box::pin(ready(Err(Failure::msg("again"))))))
    };
    let spawn = system.supervise(factory).budget(4, 100 * SECOND);
    let spawn = spawn.backoff(Backoff::from_secs(1).up_to(3 * SECOND));
    let error = within(spawn).await.unwrap_err();
    assert!(matches!(error, SpawnError::StartFailed { .. }), "{error}");
    let at: Vec<u64> = log.entries().iter().flat_map(|at| at.parse()).collect();
    let waits: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let most = [1000, 2000, 3000, 3000];
    assert_eq!(waits.len(), most.len());
    for (wait, most) in waits.iter().zip(most) {
        assert!((most / 2..=most + 1).contains(wait), "{waits:?}");
    }
    Ok(())
}

// ---- failed starts

/// The ways in which a start fails.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    OnStart,
    OnStartPanics,
    FactoryErr,
    FactoryPanics,
    /// A panic before there is a future.
    ClosurePanics,
}

use Trouble::{ClosurePanics, FactoryErr, FactoryPanics, OnStart, OnStartPanics};

/// Spawns an actor whose first starts fail in these ways.
async fn start(
    system: &ActorSystem,
    trouble: Trouble,
    failures: u32,
) -> Result<ActorRef<ScriptedActor>, SpawnError> {
    let mut lives = 0;
    let factory = move || {
        lives += 1;
        let fails = lives <= failures;
        assert!(!(fails && matches!(trouble, ClosurePanics)), "the closure");
        async move {
            match trouble {
                FactoryErr if fails => return Err(Failure::msg("no connection")),
                FactoryPanics if fails => panic!("no connection"),
                _ => {}
            }
            let probe = ScriptedActor::new("a", &Log::default());
            Ok(probe.starting(move |_| {
                Box::pin(async move {
                    match trouble {
                        OnStart if fails => Err(Failure::msg("no start")),
                        OnStartPanics if fails => panic!("no start"),
                        _ => Ok(()),
                    }
                })
            }))
        }
    };
    within(system.supervise(factory).urn("a")).await
}

#[tokio::test(start_paused = true)]
async fn every_failed_start_counts_against_the_budget() -> TestResult {
    let troubles = [
        OnStart,
        OnStartPanics,
        FactoryErr,
        FactoryPanics,
        ClosurePanics,
    ];
    for trouble in troubles {
        let system = ActorSystem::new();
        let a = start(&system, trouble, 3).await;
        let a = a.map_err(|error| format!("{trouble:?}: {error}"))?;
        within(a.ask(note("lives"))).await?;
        assert_eq!(restarts(&system), Some(3), "{trouble:?}");

        let system = ActorSystem::new();
        let error = start(&system, trouble, 4).await.unwrap_err();
        assert!(
            matches!(error, SpawnError::StartFailed { .. }),
            "{trouble:?}: {error}"
        );
        assert!(system.is_empty());
        within(
            system
                .spawn(ScriptedActor::new("next", &Log::default()))
                .urn("a"),
        )
        .await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_the_start_that_succeeds() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let mut lives = 0;
    let factory = move || {
        lives += 1;
        let fails = lives < 3;
        ready(ScriptedActor::new("a", &written).starting(move |_| {
            Box::pin(ready(if fails {
                Err(Failure::msg("no"))
            } else {
                Ok(())
            }))
        }))
    };
    let mut spawn = system.supervise(factory).urn("a");
    assert!(poll_once(&mut spawn).await.is_pending());
    system.tell("a", note("early")).await?;
    within(spawn).await?;
    settle().await;
    assert_eq!(
        log.entries(),
        ["a starts", "a starts", "a starts", "a early"]
    );
    Ok(())
}
