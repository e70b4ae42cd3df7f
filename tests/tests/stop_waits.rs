//! Waits for ends within handlers and hooks: actors that would wait for themselves continue, and
//! each actor ends in good order. Time is paused.

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Backoff, Children, GroupMember, SpawnError, Strategy, Supervisor};
use conclib_tests::messages::note;
use conclib_tests::scripted::{Run, ScriptedActor, fail, run_async};
use conclib_tests::{Log, SECOND, TestResult, gate, poll_once, settle, within};
use tokio::sync::Barrier;
use tokio::time::{Instant, timeout};

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
            let reason = other.wait_stopped().await;
            log.add(format!("waited for {}: {reason}", other.urn()));
            Ok(())
        })
    })
}

fn stop_and_wait(for_whom: &ActorRef<ScriptedActor>, log: &Log) -> Run {
    wait(for_whom, log, true)
}

#[tokio::test(start_paused = true)]
async fn handler_that_awaits_its_own_actors_stop_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = probe(&system, "a", &log).await?;
    let asked = a.ask(stop_and_wait(&a, &log));
    assert_eq!(within(asked).await, Ok(()));
    let reason = within(a.wait_stopped()).await;
    assert!(matches!(reason, StopReason::Requested), "{reason}");
    assert_eq!(
        log.entries(),
        [
            "a starts",
            "waited for a: stop was requested",
            "a stops: stop was requested"
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn bounded_wait_for_an_impossible_end_times_out() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    // Its own end, and that of an actor that waits for it.
    let held = tokio::spawn(b.ask(wait(&a, &log, false)));
    settle().await;
    for other in [&a, &b] {
        let (began, other, written) = (Instant::now(), other.clone(), log.clone());
        let bounded = run_async(move |_| {
            Box::pin(async move {
                let waited = timeout(SECOND, other.wait_stopped()).await;
                written.add(format!("in time: {}", waited.is_ok()));
                Ok(())
            })
        });
        assert_eq!(within(a.ask(bounded)).await, Ok(()));
        assert_eq!(began.elapsed(), SECOND);
    }
    assert_eq!(within(a.ask(note("goes on"))).await, Ok(()));
    a.stop();
    assert_eq!(within(held).await?, Ok(()));
    assert_eq!(
        log.entries()[2..],
        [
            "in time: false",
            "in time: false",
            "a goes on",
            "a stops: stop was requested",
            "waited for a: stop was requested",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_actors_that_stop_and_await_each_other_both_end() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    let began = Instant::now();
    let both = async {
        tokio::join!(
            a.ask(stop_and_wait(&b, &log)),
            b.ask(stop_and_wait(&a, &log))
        )
    };
    assert_eq!(within(both).await, (Ok(()), Ok(())));
    for actor in [&a, &b] {
        let reason = within(actor.wait_stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(log.count(), 6, "{log:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_from_outside_ends_mutual_waits() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    let mut waits = [a.ask(wait(&b, &log, false)), b.ask(wait(&a, &log, false))];
    for ask in &mut waits {
        assert!(poll_once(ask).await.is_pending());
    }
    settle().await;
    let [mut first, second] = waits;
    assert!(poll_once(&mut first).await.is_pending(), "not asked for");
    a.stop();
    assert_eq!(within(second).await, Ok(()));
    assert!(poll_once(&mut first).await.is_pending(), "`b` goes on");
    b.stop();
    assert_eq!(within(first).await, Ok(()));
    within(async { (a.wait_stopped().await, b.wait_stopped().await) }).await;
    assert_eq!(
        log.entries()[2..],
        [
            "waited for a: stop was requested",
            "b stops: stop was requested",
            "waited for b: stop was requested",
            "a stops: stop was requested",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_that_stops_and_awaits_its_parent_continues() -> TestResult {
    for bound in [None, Some(SECOND)] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let top = probe(&system, "top", &log).await?;
        let a = child(&system, &top, ScriptedActor::new("a", &log), "a").await?;
        let (parent, written) = (top.clone(), log.clone());
        let began = Instant::now();
        let stopping = run_async(move |_| {
            Box::pin(async move {
                parent.tell(note("still handled")).await?;
                parent.stop();
                let wait = parent.wait_stopped();
                let waited = match bound {
                    None => wait.await.to_string(),
                    Some(bound) => format!("{:?}", timeout(bound, wait).await),
                };
                written.add(format!("waited: {waited}"));
                Ok(())
            })
        });
        let asked = a.ask(stopping);
        assert_eq!(within(asked).await, Ok(()));
        let reason = within(top.wait_stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
        let reason = within(a.wait_stopped()).await;
        assert!(matches!(reason, StopReason::ParentStopped), "{reason}");
        let waited = match bound {
            None => "waited: stop was requested",
            Some(_) => "waited: Ok(Requested)",
        };
        assert_eq!(
            log.entries()[2..],
            [
                "top still handled",
                waited,
                "a stops: its parent stopped",
                "top stops: stop was requested",
            ]
        );
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_that_awaits_its_parent_in_on_stop_continues() -> TestResult {
    for bound in [None, Some(SECOND)] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let top = probe(&system, "top", &log).await?;
        let (parent, written) = (top.clone(), log.clone());
        let last = ScriptedActor::new("a", &log).stopping(move |_| {
            Box::pin(async move {
                let wait = parent.wait_stopped();
                let waited = match bound {
                    None => Ok(wait.await),
                    Some(bound) => timeout(bound, wait).await,
                };
                written.add(format!(
                    "waited: {waited:?}, ended: {}",
                    parent.is_stopped()
                ));
                Ok(())
            })
        });
        let a = child(&system, &top, last, "a").await?;
        top.stop();
        within(top.wait_stopped()).await;
        let reason = within(a.wait_stopped()).await;
        assert!(matches!(reason, StopReason::ParentStopped), "{reason}");
        assert_eq!(
            log.entries()[2..],
            [
                "a stops: its parent stopped",
                "waited: Ok(Requested), ended: false",
                "top stops: stop was requested",
            ]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn descendant_that_awaits_the_top_of_its_tree_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = probe(&system, "top", &log).await?;
    let middle = child(&system, &top, ScriptedActor::new("middle", &log), "middle").await?;
    let leaf = child(&system, &middle, ScriptedActor::new("leaf", &log), "leaf").await?;
    let asked = leaf.ask(stop_and_wait(&top, &log));
    assert_eq!(within(asked).await, Ok(()));
    within(top.wait_stopped()).await;
    assert_eq!(
        log.entries()[3..],
        [
            "waited for top: stop was requested",
            "leaf stops: its parent stopped",
            "middle stops: its parent stopped",
            "top stops: stop was requested",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn child_that_awaits_its_failing_parent_continues() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let lives = move || ready(ScriptedActor::new("top", &written));
    let top = system.supervise(lives).urn("top").backoff(Backoff::none());
    let top = within(top).await?;
    let a = child(&system, &top, ScriptedActor::new("a", &log), "a").await?;
    let waits = tokio::spawn(a.ask(wait(&top, &log, false)));
    settle().await;
    assert!(within(top.ask(fail())).await.is_err());
    assert_eq!(within(waits).await?, Ok(()));
    within(top.ask(note("lives"))).await?;
    assert_eq!(
        log.entries()[2..],
        [
            "waited for top: it failed: panicked: on purpose",
            "a stops: its parent stopped",
            "top fails: panicked: on purpose",
            "top starts",
            "top lives",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_awaited_in_a_last_hook_continues() -> TestResult {
    for fails in [false, true] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let other = probe(&system, "other", &log).await?;
        let (waited_for, written) = (other.clone(), log.clone());
        let last = async move {
            waited_for.stop();
            let reason = waited_for.wait_stopped().await;
            written.add(format!("other has ended: {reason}"));
            Ok(())
        };
        let state = ScriptedActor::new("a", &log);
        let state = if fails {
            state.failing(|_| Box::pin(last))
        } else {
            state.stopping(|_| Box::pin(last))
        };
        let a = system.spawn(state).urn("a").await?;
        let waits = tokio::spawn(other.ask(wait(&a, &log, false)));
        settle().await;
        let says = if fails {
            assert!(within(a.ask(fail())).await.is_err());
            "it failed: panicked: on purpose"
        } else {
            a.stop();
            "stop was requested"
        };
        assert_eq!(within(waits).await?, Ok(()));
        within(a.wait_stopped()).await;
        assert_eq!(
            log.entries()[3..],
            [
                format!("waited for a: {says}").as_str(),
                "other stops: stop was requested",
                "other has ended: stop was requested",
            ]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn starting_child_that_awaits_its_spawner_continues_on_stop() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let top = probe(&system, "top", &log).await?;
    let (parent, written) = (top.clone(), log.clone());
    let starts = ScriptedActor::new("a", &log).starting(move |_| {
        Box::pin(async move {
            let reason = parent.wait_stopped().await;
            written.add(format!("waited: {reason}"));
            Ok(())
        })
    });
    let spawning = run_async(move |ctx| {
        let spawn = ctx.spawn(starts).urn("a");
        Box::pin(async {
            spawn.await?;
            Ok(())
        })
    });
    let mut spawning = top.ask(spawning);
    assert!(poll_once(&mut spawning).await.is_pending());
    settle().await;
    assert!(poll_once(&mut spawning).await.is_pending());
    top.stop();
    assert_eq!(within(spawning).await, Ok(()));
    within(top.wait_stopped()).await;
    assert_eq!(
        log.entries()[2..],
        [
            "waited: stop was requested",
            "a stops: its parent stopped",
            "top stops: stop was requested",
        ]
    );
    Ok(())
}

/// Shuts the system down within a handler, and logs if the report is clean.
fn shut_down(log: &Log) -> Run {
    let log = log.clone();
    run_async(move |ctx| {
        let system = ctx.system();
        Box::pin(async move {
            let report = system.ok_or(Failure::msg("no system"))?.shutdown().await;
            log.add(format!("clean: {}", report.is_clean()));
            Ok(())
        })
    })
}

#[tokio::test(start_paused = true)]
async fn ask_of_the_actor_that_shuts_down_is_a_cycle() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = probe(&system, "a", &log).await?;
    let b = probe(&system, "b", &log).await?;
    let (asked, written) = (a.clone(), log.clone());
    let order = shut_down(&log);
    let asking = run_async(move |_| {
        Box::pin(async move {
            let heard = asked.ask(order).await;
            written.add(format!("{heard:?}").split(' ').next().unwrap_or_default());
            Ok(())
        })
    });
    let began = Instant::now();
    assert_eq!(within(b.ask(asking)).await, Ok(()));
    within(a.wait_stopped()).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(
        log.entries()[2..],
        [
            "Err(AskCycle",
            "b stops: its system was shut down",
            "clean: true",
            "a stops: its system was shut down",
        ]
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_for_the_actor_that_shuts_down_continues() -> TestResult {
    for waits_first in [true, false] {
        let (system, log) = (ActorSystem::new(), Log::default());
        let a = probe(&system, "a", &log).await?;
        let b = probe(&system, "b", &log).await?;
        let began = Instant::now();
        let (hold, mut keeper) = gate();
        let (end, written) = (a.clone(), log.clone());
        let waiting = run_async(move |_| {
            Box::pin(async move {
                hold.pass().await;
                let reason = end.wait_stopped().await;
                written.add(format!("waited: {reason}"));
                Ok(())
            })
        });
        let waits = tokio::spawn(b.ask(waiting));
        keeper.reached().await;
        if waits_first {
            keeper.open();
            settle().await;
            a.tell(shut_down(&log)).await?;
        } else {
            a.tell(shut_down(&log)).await?;
            settle().await;
            keeper.open();
        }
        assert_eq!(within(waits).await?, Ok(()));
        within(a.wait_stopped()).await;
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        assert_eq!(
            log.entries()[2..],
            [
                "waited: its system was shut down",
                "b stops: its system was shut down",
                "clean: true",
                "a stops: its system was shut down",
            ]
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_that_holds_up_no_actor_lasts_until_the_end() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (a, b) = (
        probe(&system, "a", &log).await?,
        probe(&system, "b", &log).await?,
    );
    let (hold, mut keeper) = gate();
    let busy = b.ask(run_async(move |_| {
        Box::pin(async move {
            hold.pass().await;
            Ok(())
        })
    }));
    let busy = tokio::spawn(busy);
    keeper.reached().await;
    let mut waits = a.ask(stop_and_wait(&b, &log));
    assert!(poll_once(&mut waits).await.is_pending());
    settle().await;
    assert!(poll_once(&mut waits).await.is_pending(), "it runs still");
    keeper.open();
    assert_eq!(within(busy).await?, Ok(()));
    assert_eq!(within(waits).await, Ok(()));
    assert!(b.is_stopped());
    a.tell(run_async(|_| Box::pin(pending()))).await?;
    a.kill();
    Ok(())
}

/// Asks its supervisor, and awaits its end, in `on_start`.
#[derive(Actor)]
struct Member(ActorSystem, Log);

#[handlers]
impl Member {
    async fn on_start(&mut self) -> Result<(), Failure> {
        let group = self.0.actor::<Supervisor>("group")?;
        let heard = group.ask(Children).await;
        let cycle = matches!(heard, Err(AskError::AskCycle { .. }));
        self.1.add(format!("hears of a circle: {cycle}"));
        let reason = group.wait_stopped().await;
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
    let member = GroupMember::new(move || ready(Member(inner.clone(), written.clone())));
    let group = Supervisor::new(Strategy::OneForOne).member(member);
    let mut spawn = system.spawn(group).urn("group");
    assert!(poll_once(&mut spawn).await.is_pending());
    settle().await;
    assert_eq!(log.entries(), ["hears of a circle: true"]);
    let group = system.actor::<Supervisor>("group")?;
    group.stop();
    within(group.wait_stopped()).await;
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
                    next.wait_stopped().await;
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
        let reason = within(actor.wait_stopped()).await;
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
