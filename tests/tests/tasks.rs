//! Streams, futures and closures whose results arrive as messages.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use conclib::SpawnError;
use conclib::actor::Task;
use conclib::prelude::*;
use conclib::supervision::Backoff;
use conclib_tests::messages::{Note, Pass, note};
use conclib_tests::scripted::{ScriptedActor, fail, run};
use conclib_tests::{Log, LogsDrop, SECOND, TestResult, gate, settle, until, within};
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;
use tokio::time::sleep;

/// A supervised actor with room for two messages.
async fn probe() -> Result<(ActorSystem, ActorRef<ScriptedActor>, Log), SpawnError> {
    let (system, log) = (ActorSystem::new(), Log::default());
    let written = log.clone();
    let spawn = system.supervise(move || ready(ScriptedActor::new("a", &written)));
    let probe = within(spawn.mailbox(2).backoff(Backoff::none())).await?;
    Ok((system, probe, log))
}

/// Starts a task of the actor, and returns its handle.
async fn begin(
    probe: &ActorRef<ScriptedActor>,
    step: impl FnOnce(&mut Context<ScriptedActor>) -> Task + Send + 'static,
) -> Result<Task, Box<dyn std::error::Error>> {
    let (send, task) = oneshot::channel();
    let beginning = run(move |ctx| {
        let _ = send.send(step(ctx));
    });
    within(probe.ask(beginning)).await?;
    Ok(task.await?)
}

#[tokio::test(start_paused = true)]
async fn actor_continues_while_a_future_runs() -> TestResult {
    let (_system, a, log) = probe().await?;
    let task = begin(&a, |ctx| {
        ctx.pipe(async {
            sleep(SECOND).await;
            note("result")
        })
    })
    .await?;
    within(a.ask(note("meanwhile"))).await?;
    sleep(SECOND / 2).await;
    assert!(!task.is_finished());
    sleep(SECOND).await;
    assert!(task.is_finished());
    assert_eq!(log.entries(), ["a starts", "a meanwhile", "a result"]);
    Ok(())
}

#[tokio::test]
async fn closure_may_block_its_thread() -> TestResult {
    let (_system, a, log) = probe().await?;
    let (release, released) = mpsc::channel();
    begin(&a, move |ctx| {
        ctx.pipe(ctx.spawn_blocking(move |_| {
            let text: &str = released.recv().unwrap_or("no sender");
            note(text)
        }))
    })
    .await?;
    within(a.ask(note("meanwhile"))).await?;
    release.send("result")?;
    until(|| log.count() == 3).await;
    assert_eq!(log.entries(), ["a starts", "a meanwhile", "a result"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stream_waits_while_the_mailbox_is_full() -> TestResult {
    let (system, a, log) = probe().await?;
    let (hold, mut keeper) = gate();
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let numbers = stream::iter(0..100).map(move |n| {
        counter.fetch_add(1, Ordering::Relaxed);
        note(n.to_string())
    });
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    a.tell(run(|ctx| drop(ctx.attach(numbers)))).await?;
    keeper.open();
    // A slow actor with a fast stream.
    let (hold, mut keeper) = gate();
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    sleep(SECOND).await;
    let load = system.snapshot().actors[0].clone();
    assert_eq!(
        (load.queued, load.capacity, load.waiting_senders),
        (2, 2, 1)
    );
    assert_eq!(
        made.load(Ordering::Relaxed),
        3,
        "two in the mailbox, one in the line"
    );
    keeper.open();
    settle().await;
    let entries = log.entries();
    let numbers: Vec<String> = (0..100).map(|n| format!("a {n}")).collect();
    assert_eq!(entries[1..], numbers);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn task_may_be_aborted() -> TestResult {
    let (_system, a, log) = probe().await?;
    let ticks = stream::unfold(0, async |n| {
        sleep(SECOND).await;
        Some((note(n.to_string()), n + 1))
    });
    let task = begin(&a, |ctx| ctx.attach(ticks)).await?;
    sleep(5 * SECOND / 2).await;
    task.abort();
    sleep(10 * SECOND).await;
    assert!(task.is_finished());
    assert_eq!(log.entries(), ["a starts", "a 0", "a 1"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tasks_end_before_their_actor() -> TestResult {
    let stop: fn(&ActorRef<ScriptedActor>) = ActorRef::stop;
    for end in [stop, ActorRef::kill] {
        let (_system, a, log) = probe().await?;
        let held = LogsDrop(log.clone(), "task dropped");
        begin(&a, move |ctx| {
            ctx.pipe(async move {
                pending::<()>().await;
                drop(held);
                note("never")
            })
        })
        .await?;
        settle().await;
        end(&a);
        within(a.stopped()).await;
        assert!(log.entries().iter().any(|entry| entry == "task dropped"));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tasks_end_with_the_incarnation() -> TestResult {
    let (_system, a, log) = probe().await?;
    let held = LogsDrop(log.clone(), "task dropped");
    begin(&a, move |ctx| {
        ctx.pipe(async move {
            sleep(SECOND).await;
            drop(held);
            note("of the old life")
        })
    })
    .await?;
    settle().await;
    within(a.ask(fail())).await.unwrap_err();
    sleep(2 * SECOND).await;
    let fails = "a fails: panicked: on purpose";
    // Before the last hook.
    assert_eq!(
        log.entries(),
        ["a starts", "task dropped", fails, "a starts"]
    );
    Ok(())
}

#[tokio::test]
async fn panic_of_a_task_fails_the_actor() -> TestResult {
    let stream =
        |ctx: &mut Context<ScriptedActor>| ctx.attach(stream::once(async { panic!("oh") as Note }));
    let future = |ctx: &mut Context<ScriptedActor>| ctx.pipe(async { panic!("oh") as Note });
    let closure =
        |ctx: &mut Context<ScriptedActor>| ctx.pipe(ctx.spawn_blocking(|_| panic!("oh") as Note));
    let tasks: [fn(&mut Context<ScriptedActor>) -> Task; 3] = [stream, future, closure];
    for task in tasks {
        let (_system, a, log) = probe().await?;
        begin(&a, task).await?;
        until(|| log.count() == 3).await;
        let fails = "a fails: panicked: oh";
        assert_eq!(log.entries(), ["a starts", fails, "a starts"]);
        within(a.ask(note("lives"))).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn task_keeps_no_actor_alive() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(
        system
            .spawn(ScriptedActor::new("a", &log))
            .while_referenced(),
    )
    .await?;
    begin(&a, |ctx| {
        let ticks = stream::unfold((), async |()| {
            sleep(SECOND).await;
            Some((note("tick"), ()))
        });
        ctx.attach(ticks)
    })
    .await?;
    sleep(3 * SECOND / 2).await;
    drop(a);
    settle().await;
    assert!(system.is_empty());
    let stops = "a stops: its last reference was dropped";
    assert_eq!(log.entries(), ["a starts", "a tick", stops]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn queued_stream_messages_are_handled_before_the_stop() -> TestResult {
    let (_system, a, log) = probe().await?;
    let (hold, mut keeper) = gate();
    begin(&a, |ctx| {
        ctx.attach(stream::iter(["1", "2", "3", "4"]).map(note))
    })
    .await?;
    a.tell(Pass(hold)).await?;
    keeper.reached().await;
    a.stop();
    keeper.open();
    within(a.stopped()).await;
    let entries = log.entries();
    let got = &entries[1..entries.len() - 1];
    let all = ["a 1", "a 2", "a 3", "a 4"];
    assert_eq!(
        got,
        &all[..got.len()],
        "in order, as far as they had got in"
    );
    Ok(())
}
