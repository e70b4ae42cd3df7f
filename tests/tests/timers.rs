//! Timers: messages that an actor schedules.

use std::time::Duration;

use conclib::SpawnError;
use conclib::actor::Timer;
use conclib::prelude::*;
use conclib::schedule::{First, Missed, Schedule};
use conclib::supervision::Backoff;
use conclib_tests::messages::{Beat, Note, Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, MS, SECOND, TestResult, gate, settle, within};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

async fn probe() -> Result<(ActorSystem, ActorRef<ScriptedActor>, Log), SpawnError> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let spawn = system.supervise(lives("a", &log)).urn("a");
    let probe = within(spawn.backoff(Backoff::none())).await?;
    Ok((system, probe, log))
}

/// Schedules a note, and returns the timer.
async fn order(
    probe: &ActorRef<ScriptedActor>,
    time: Duration,
    text: &'static str,
) -> Result<Timer, Box<dyn std::error::Error>> {
    let (send, timer) = oneshot::channel();
    let ordering = run(move |ctx| {
        let _ = send.send(ctx.after(time, note(text)));
    });
    within(probe.ask(ordering)).await?;
    Ok(timer.await?)
}

async fn cancel(
    probe: &ActorRef<ScriptedActor>,
    timer: Timer,
) -> Result<bool, Box<dyn std::error::Error>> {
    let (send, cancelled) = oneshot::channel();
    let cancelling = run(move |ctx| {
        let _ = send.send(ctx.cancel(timer));
    });
    within(probe.ask(cancelling)).await?;
    Ok(cancelled.await?)
}

#[tokio::test(start_paused = true)]
async fn timers_fire_when_due_and_in_order() -> TestResult {
    let (_system, a, log) = probe().await?;
    for (time, text) in [(3, "3"), (1, "1"), (2, "2"), (1, "1 too"), (0, "now")] {
        order(&a, time * SECOND, text).await?;
    }
    settle().await;
    assert_eq!(log.entries()[1..], ["a now"]);
    sleep(SECOND).await;
    assert_eq!(log.entries()[2..], ["a 1", "a 1 too"]);
    sleep(2 * SECOND).await;
    assert_eq!(log.entries()[4..], ["a 2", "a 3"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn timer_may_be_cancelled_until_it_fires() -> TestResult {
    let (_system, a, log) = probe().await?;
    let one = order(&a, SECOND, "1").await?;
    let two = order(&a, 2 * SECOND, "2").await?;
    assert!(cancel(&a, one).await?);
    assert!(!cancel(&a, one).await?);
    sleep(3 * SECOND).await;
    assert!(!cancel(&a, two).await?);
    assert_eq!(log.entries(), ["a starts", "a 2"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn due_timer_may_be_cancelled_by_the_current_message() -> TestResult {
    let (_system, a, log) = probe().await?;
    let timer = order(&a, SECOND, "late").await?;
    let cancelling = run_async(move |ctx| {
        Box::pin(async move {
            sleep(2 * SECOND).await;
            assert!(ctx.cancel(timer));
            Ok(())
        })
    });
    within(a.ask(cancelling)).await?;
    sleep(SECOND).await;
    assert_eq!(log.entries(), ["a starts"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_the_incarnation_and_ids_are_not_reused() -> TestResult {
    let (_system, a, log) = probe().await?;
    let old = order(&a, SECOND, "old").await?;
    let every = run(|ctx| {
        ctx.every(SECOND, || note("every"));
    });
    within(a.ask(every)).await?;
    settle().await;
    within(a.ask(fail())).await.unwrap_err();
    let new = order(&a, SECOND, "new").await?;
    assert_ne!(old, new);
    assert!(!cancel(&a, old).await?);
    sleep(5 * SECOND).await;
    let fails = "a fails: panicked: on purpose";
    let starts = "a starts";
    assert_eq!(log.entries(), [starts, "a every", fails, starts, "a new"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_drops_timers_and_handles_messages() -> TestResult {
    let (system, a, log) = probe().await?;
    order(&a, SECOND, "timer").await?;
    let setting_up = run(|ctx| {
        let burst = Schedule::every(SECOND / 10).missed(Missed::Burst);
        ctx.every(burst, || -> Note {
            panic!("a closure that is not to be called")
        });
        ctx.stop();
    });
    let (hold, mut keeper) = gate();
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    a.tell(setting_up).await?;
    a.tell(note("message")).await?;
    keeper.open();
    sleep(2 * SECOND).await;
    assert!(system.is_empty());
    let stops = "a stops: stop was requested";
    assert_eq!(log.entries(), ["a starts", "a message", stops]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn regular_message_waits_for_the_slow_handler_before() -> TestResult {
    let (_system, a, log) = probe().await?;
    let began = Instant::now();
    let written = log.clone();
    let setting_up = run(move |ctx| {
        let mut count = 0;
        let schedule = Schedule::every(SECOND).first(First::After);
        ctx.every(schedule, move || {
            count += 1;
            let (count, written) = (count, written.clone());
            run_async(move |_| {
                Box::pin(async move {
                    written.add(format!("{count} at {}", began.elapsed().as_secs_f32()));
                    if count == 2 {
                        sleep(3500 * MS).await;
                    }
                    Ok(())
                })
            })
        });
    });
    within(a.ask(setting_up)).await?;
    sleep(7 * SECOND + 100 * MS).await;
    let seen = ["1 at 1", "2 at 2", "3 at 5.5", "4 at 6", "5 at 7"];
    assert_eq!(log.entries()[1..], seen);
    Ok(())
}

/// Sends a message that sends the next one, `left` times.
fn flood(ctx: &mut Context<ScriptedActor>, left: u32, log: Log) {
    log.add("message");
    if left > 0 {
        let next = run(move |ctx| flood(ctx, left - 1, log));
        let sent = ctx.actor_ref().tell(next);
        assert!(sent.now_or_never().is_some_and(|sent| sent.is_ok()));
    } else {
        ctx.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn flood_of_messages_and_timers_do_not_delay_each_other() -> TestResult {
    let (_system, a, log) = probe().await?;
    let written = log.clone();
    let setting_up = run(move |ctx| {
        let called = written.clone();
        ctx.every(Duration::ZERO, move || {
            let called = called.clone();
            assert!(called.count() < 1000, "messages have no turn");
            run(move |_| called.add("timer"))
        });
        flood(ctx, 10, written);
    });
    a.tell(setting_up).await?;
    within(a.stopped()).await;
    let entries = log.entries();
    let turns = &entries[1..entries.len() - 1];
    assert_eq!(turns.len(), 21, "{turns:?}");
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
    Ok(())
}

#[derive(ActorMessage)]
#[message(local)]
struct Once;

/// Its ticks take longer than their interval.
#[derive(Actor)]
#[periodic(tick = Beat, every = "1s", missed = "burst")]
struct Late(Log, Instant);

#[handlers]
impl Late {
    fn on_start(&mut self, ctx: &mut Context<Self>) {
        ctx.after(5 * SECOND / 2, Once);
    }

    #[handler]
    async fn beat(&mut self, _: Beat) {
        sleep(2 * SECOND).await;
    }

    #[handler]
    fn once(&mut self, _: Once, ctx: &mut Context<Self>) {
        self.0.add(self.1.elapsed().as_secs().to_string());
        ctx.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn ticks_that_are_always_late_do_not_keep_timers_waiting() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let late = within(system.spawn(Late(log.clone(), Instant::now()))).await?;
    let end = tokio::time::timeout(30 * SECOND, late.stopped()).await;
    assert!(end.is_ok(), "the timer's turn never comes");
    assert_eq!(
        log.entries(),
        ["6"],
        "after the ticks of seconds 0, 1 and 2"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn closure_that_panics_fails_the_actor() -> TestResult {
    let (_system, a, log) = probe().await?;
    let setting_up = run(|ctx| {
        ctx.every(SECOND, || -> Note { panic!("the closure") });
    });
    within(a.ask(setting_up)).await?;
    settle().await;
    let fails = "a fails: panicked: the closure";
    assert_eq!(log.entries(), ["a starts", fails, "a starts"]);
    sleep(5 * SECOND).await;
    assert_eq!(log.count(), 3, "it has ended with the life");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn endless_delay_never_fires() -> TestResult {
    let (_system, a, log) = probe().await?;
    order(&a, Duration::MAX, "never").await?;
    order(&a, SECOND, "1").await?;
    sleep(1000 * SECOND).await;
    assert_eq!(log.entries(), ["a starts", "a 1"]);
    Ok(())
}
