//! Hanging members, and ends during a start or a restart.

use std::future::{pending, ready};
use std::time::Duration;

use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib::supervision::Backoff;
use conclib::supervisor::{ChildSpec, Strategy, Supervisor};
use conclib_tests::messages::{Pass, note};
use conclib_tests::scripted::{NewActor, ScriptedActor, fail, run_async};
use conclib_tests::{Gate, Log, TestResult, gate, poll_once, settle, within};
use tokio::time::Instant;

use super::{B_FAILS, C_AGAIN, Member, News, SECOND, member, spawn, started, three};

#[tokio::test(start_paused = true)]
async fn hanging_member_loses_its_handler_after_five_seconds() -> TestResult {
    let (system, group, mut news) = started(Strategy::OneForAll).await?;
    let began = Instant::now();
    let setting_up = run_async(|ctx| {
        ctx.after(SECOND, note("a timer of the old life"));
        Box::pin(pending())
    });
    let mut in_hand = system.ask("a", setting_up);
    assert!(poll_once(&mut in_hand).await.is_pending());
    system.tell("a", note("waits")).await?;
    system.tell("b", fail()).await?;
    tokio::time::sleep(4 * SECOND).await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN]);
    // The supervisor answers meanwhile.
    let phases = within(group.children()).await?;
    let phases: Vec<_> = phases.iter().map(|member| member.phase).collect();
    assert_eq!(
        phases,
        [Phase::Running, Phase::Restarting, Phase::Restarting]
    );
    assert!(within(in_hand).await.is_err());
    assert_eq!(began.elapsed(), 5 * SECOND);
    tokio::time::sleep(5 * SECOND).await;
    let mut seen = news.get();
    seen.sort();
    assert_eq!(seen, ["a starts", "a waits", "b starts", "c starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn member_that_hangs_in_its_last_hook_is_cut_off() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let hangs = ChildSpec::new(move || {
        ready(ScriptedActor::new("c", &written).stopping(|_| Box::pin(pending())))
    });
    let group = Supervisor::new(Strategy::OneForAll)
        .backoff(Backoff::none())
        .member(member("b", &log))
        .member(hangs.urn("c"));
    spawn(&system, group).await?;
    let mut news = News(log, 2);
    system.tell("b", fail()).await?;
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN, "b starts", "c starts"]);
    Ok(())
}

/// A factory that waits at one gate per state; without a gate left, it is ready at once.
fn slow(
    name: &'static str,
    log: &Log,
    gates: Vec<Option<Gate>>,
) -> Member<impl FnMut() -> NewActor + Send + use<>> {
    let log = log.clone();
    let mut gates = gates.into_iter();
    let factory = move || -> NewActor {
        let (probe, gate) = (ScriptedActor::new(name, &log), gates.next().flatten());
        Box::pin(async {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            probe
        })
    };
    ChildSpec::new(factory).urn(name)
}

#[tokio::test(start_paused = true)]
async fn member_that_hangs_in_its_start_does_not_block_the_group() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (hold, mut keeper) = gate();
    let group = Supervisor::new(Strategy::OneForAll)
        .backoff(Backoff::none())
        .member(member("b", &log))
        .member(slow("c", &log, vec![None, Some(hold)]));
    spawn(&system, group).await?;
    let mut news = News(log, 2);
    system.tell("b", fail()).await?;
    keeper.reached().await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN, "b starts"]);
    system.tell("b", fail()).await?;
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(news.get(), [B_FAILS, "b starts", "c starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn starting_group_may_be_stopped() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (hold, mut keeper) = gate();
    let group = Supervisor::new(Strategy::OneForAll)
        .member(member("a", &log))
        .member(slow("b", &log, vec![Some(hold)]))
        .member(member("c", &log));
    let mut spawn = system.spawn(group).urn("group");
    assert!(poll_once(&mut spawn).await.is_pending());
    keeper.reached().await;
    let group = system.actor::<Supervisor>("group")?;
    group.stop();
    let reason = tokio::time::timeout(SECOND, group.stopped()).await;
    assert!(matches!(reason, Ok(StopReason::Requested)), "{reason:?}");
    assert_eq!(log.entries(), ["a starts", "a stops: its parent stopped"]);
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn group_may_be_stopped_or_killed_during_a_restart() -> TestResult {
    for kill in [false, true] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let group = three(Strategy::OneForAll, &log).backoff(Backoff::from_secs(10));
        let group = spawn(&system, group).await?;
        let (a, b) = (
            system.actor::<ScriptedActor>("a")?,
            system.actor::<ScriptedActor>("b")?,
        );
        system.tell("b", fail()).await?;
        settle().await;
        let began = Instant::now();
        if kill {
            group.kill();
        } else {
            group.stop();
        }
        within(group.stopped()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        for member in [a, b] {
            let reason = member.stopped().await;
            assert_eq!(matches!(reason, StopReason::Killed), kill, "{reason}");
            assert_eq!(
                matches!(reason, StopReason::ParentStopped),
                !kill,
                "{reason}"
            );
        }
        assert!(system.is_empty());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn member_stopped_during_a_group_restart_handles_queued_messages() -> TestResult {
    let (system, group, mut news) = started(Strategy::OneForAll).await?;
    let c = system.actor::<ScriptedActor>("c")?;
    let (hold, mut keeper) = gate();
    c.tell(Pass(hold)).await?;
    keeper.reached().await;
    c.tell(note("queued")).await?;
    system.tell("b", fail()).await?;
    settle().await; // c is to end its incarnation after its current message
    group.stop();
    settle().await; // now it is to stop
    keeper.open();
    let reason = within(c.stopped()).await;
    assert!(matches!(reason, StopReason::ParentStopped), "{reason}");
    within(group.stopped()).await;
    let c = ["c queued", "c stops: its parent stopped"];
    assert_eq!(
        news.get(),
        [&[B_FAILS], &c[..], &["a stops: its parent stopped"]].concat()
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn member_stopped_in_its_restart_hook_does_not_start_again() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (hold, mut keeper) = gate();
    let (mut hold, written) = (Some(hold), log.clone());
    let slow_end = ChildSpec::new(move || {
        let (probe, hold) = (ScriptedActor::new("c", &written), hold.take());
        ready(probe.stopping(move |_| {
            Box::pin(async {
                if let Some(hold) = hold {
                    hold.pass().await;
                }
                Ok(())
            })
        }))
    });
    let group = Supervisor::new(Strategy::OneForAll)
        .backoff(Backoff::none())
        .member(member("b", &log))
        .member(slow_end.urn("c"));
    spawn(&system, group).await?;
    let mut news = News(log, 2);
    let c = system.actor::<ScriptedActor>("c")?;
    system.tell("b", fail()).await?;
    keeper.reached().await;
    c.stop();
    keeper.open();
    let reason = within(c.stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    settle().await;
    assert_eq!(news.get(), [B_FAILS, C_AGAIN, "b starts"]);
    Ok(())
}
