//! Closures that block, the flag that tells them to end, and their values.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use conclib::actor::CancelFlag;
use conclib::pool::Pool;
use conclib::prelude::*;
use conclib_tests::messages::{Ping, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run, run_async};
use conclib_tests::{Log, LogsDrop, MS, TEST_TIMEOUT, TestResult, eventually, until, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Blocks until it is cancelled, and says when it begins and how it ends.
#[derive(ActorMessage, Serialize, Deserialize, Clone, Copy)]
#[message(response = bool)]
struct Spin;

/// Like [`Spin`], but gives the closure up by itself.
#[derive(ActorMessage)]
#[message(local)]
struct SpinBriefly;

#[derive(Actor)]
#[actor(urn = "spinner")]
struct Spinner {
    events: UnboundedSender<&'static str>,
}

#[handlers]
impl Spinner {
    #[handler]
    async fn spin(&mut self, _: Spin, ctx: &mut Context<Self>) -> bool {
        let events = self.events.clone();
        ctx.spawn_blocking(move |cancel| spin(&events, &cancel))
            .await
    }

    #[handler]
    async fn spin_briefly(&mut self, _: SpinBriefly, ctx: &mut Context<Self>) {
        let events = self.events.clone();
        tokio::select! {
            _ = ctx.spawn_blocking(move |cancel| spin(&events, &cancel)) => {}
            () = std::future::ready(()) => {}
        }
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

/// Blocks the thread until the flag is set; false if it never is.
fn spin(events: &UnboundedSender<&'static str>, cancel: &CancelFlag) -> bool {
    let _ = events.send("begins");
    let end = Instant::now() + TEST_TIMEOUT;
    while !cancel.is_cancelled() {
        if Instant::now() > end {
            let _ = events.send("was forgotten");
            return false;
        }
        thread::sleep(MS);
    }
    let _ = events.send("is cancelled");
    true
}

type Events = UnboundedReceiver<&'static str>;

async fn spinner() -> Result<(ActorSystem, ActorRef<Spinner>, Events), conclib::SpawnError> {
    let system = ActorSystem::new();
    let (events, seen) = unbounded_channel();
    let spinner = system.spawn(Spinner { events }).await?;
    Ok((system, spinner, seen))
}

#[tokio::test]
async fn value_comes_to_the_handler_while_other_actors_continue() -> TestResult {
    let (system, spinner, mut seen) = spinner().await?;
    let other = system.spawn(ScriptedActor::new("other", &Log::default()));
    let other = other.await?;
    let asked = tokio::spawn(spinner.ask(Spin).timeout(TEST_TIMEOUT).into_future());
    assert_eq!(within(seen.recv()).await, Some("begins"));
    // The runtime's only thread is free, and the mailbox of the actor waits.
    within(other.ask(note("meanwhile"))).await?;
    let mut ping = tokio::spawn(spinner.ask(Ping).into_future());
    assert!(tokio::time::timeout(20 * MS, &mut ping).await.is_err());
    asked.abort();
    assert_eq!(within(ping).await??, 1);

    let doubled = run_async(|ctx| {
        let value = ctx.spawn_blocking(|cancel| (21 * 2, cancel.is_cancelled()));
        Box::pin(async move {
            assert_eq!(value.await, (42, false));
            Ok(())
        })
    });
    within(other.ask(doubled)).await?;
    Ok(())
}

#[tokio::test]
async fn pool_of_four_runs_four_closures_at_a_time() -> TestResult {
    #[derive(Actor, Clone)]
    struct Worker {
        begins: UnboundedSender<&'static str>,
        /// A closure returns with one of these.
        permits: Arc<Mutex<mpsc::Receiver<()>>>,
    }

    #[handlers]
    impl Worker {
        #[handler]
        async fn ping(&mut self, _: Ping, ctx: &mut Context<Self>) -> u32 {
            let Self { begins, permits } = self.clone();
            let returns = move |_| {
                let _ = begins.send("begins");
                u32::from(permits.lock().unwrap().recv().is_ok())
            };
            ctx.spawn_blocking(returns).await
        }
    }

    let system = ActorSystem::new();
    let (permit, permits) = mpsc::channel();
    let (begins, mut begun) = unbounded_channel();
    let permits = Arc::new(Mutex::new(permits));
    let worker = Worker { begins, permits };
    let pool = Pool::new(4, move || std::future::ready(worker.clone()));
    let pool = system.spawn(pool).await?;
    let asked: Vec<_> = (0..8)
        .map(|_| tokio::spawn(pool.ask(Ping).into_future()))
        .collect();
    for _ in 0..4 {
        assert_eq!(within(begun.recv()).await, Some("begins"));
    }
    // The others are with the workers, and wait: a fifth closure would have taken one of them.
    eventually("four messages wait", async || {
        let actors = system.snapshot().actors;
        actors.iter().map(|actor| actor.queued).sum::<usize>() == 4
    })
    .await;
    assert!(begun.try_recv().is_err());
    for _ in 0..8 {
        permit.send(())?;
    }
    for asked in asked {
        assert_eq!(within(asked).await??, 1);
    }
    Ok(())
}

#[tokio::test]
async fn asker_that_goes_cancels_the_closure() -> TestResult {
    let (_system, spinner, mut seen) = spinner().await?;
    // Its future is dropped.
    let asked = tokio::spawn(spinner.ask(Spin).into_future());
    assert_eq!(within(seen.recv()).await, Some("begins"));
    asked.abort();
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    // Its deadline passes.
    // The value may come just in time.
    let _late = within(spinner.ask(Spin).timeout(30 * MS)).await;
    assert_eq!(within(seen.recv()).await, Some("begins"));
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    // The actor continues.
    assert_eq!(within(spinner.ask(Ping)).await?, 1);
    Ok(())
}

#[tokio::test]
async fn asker_in_another_process_cancels_the_closure() -> TestResult {
    let config = Config::memory();
    let (system, _spinner, mut seen) = spinner().await?;
    start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;
    let asked = tokio::spawn(
        client
            .ask("spinner", Spin)
            .timeout(TEST_TIMEOUT)
            .into_future(),
    );
    assert_eq!(within(seen.recv()).await, Some("begins"));
    asked.abort();
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    let _late = within(client.ask("spinner", Spin).timeout(100 * MS)).await;
    assert_eq!(within(seen.recv()).await, Some("begins"));
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    Ok(())
}

#[tokio::test]
async fn dropped_future_and_killed_actor_cancel_the_closure() -> TestResult {
    let (_system, spinner, mut seen) = spinner().await?;
    // `select!` drops the future, perhaps before the closure begins.
    within(spinner.ask(SpinBriefly)).await?;
    spinner.tell(Spin).await?;
    let mut begun = 0;
    loop {
        match within(seen.recv()).await {
            Some("begins") => begun += 1,
            Some("is cancelled") => begun -= 1,
            other => return Err(format!("{other:?}").into()),
        }
        if begun == 1 {
            spinner.kill(); // at the latest this ends the closure of the tell
        }
        if begun == 0 && spinner.is_stopped() {
            break;
        }
    }
    Ok(())
}

#[tokio::test]
async fn end_of_the_incarnation_cancels_closures_that_left_their_handler() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (events, mut seen) = unbounded_channel();
    let a = within(system.supervise(lives("a", &log))).await?;
    let begin = run(move |ctx| {
        let work = ctx.spawn_blocking(move |cancel| spin(&events, &cancel));
        tokio::spawn(work);
    });
    within(a.ask(begin)).await?;
    assert_eq!(within(seen.recv()).await, Some("begins"));
    within(a.ask(fail())).await.unwrap_err();
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    Ok(())
}

#[tokio::test]
async fn aborted_task_cancels_its_closure() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let (events, mut seen) = unbounded_channel();
    let (tasks, mut task) = unbounded_channel();
    let a = within(system.spawn(ScriptedActor::new("a", &log))).await?;
    let begin = run(move |ctx| {
        let work = ctx.spawn_blocking(move |cancel| {
            spin(&events, &cancel);
            note("never handled")
        });
        let _ = tasks.send(ctx.pipe(work));
    });
    within(a.ask(begin)).await?;
    assert_eq!(within(seen.recv()).await, Some("begins"));
    let task = within(task.recv()).await.ok_or("no task")?;
    task.abort();
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    within(a.ask(note("last"))).await?;
    assert_eq!(log.entries(), ["a starts", "a last"]);
    Ok(())
}

#[tokio::test]
async fn reply_that_was_sent_cancels_nothing() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(system.spawn(ScriptedActor::new("a", &log))).await?;
    let (go, may_go) = std::sync::mpsc::channel();
    let begin = run(move |ctx| {
        ctx.pipe(ctx.spawn_blocking(move |cancel| {
            let asker_is_served = may_go.recv_timeout(TEST_TIMEOUT);
            assert_eq!(asker_is_served, Ok(()));
            note(if cancel.is_cancelled() {
                "cancelled"
            } else {
                "wanted"
            })
        }));
    });
    // With a deadline, which passes after the reply, and then without.
    within(a.ask(begin).timeout(50 * MS)).await?;
    tokio::time::sleep(100 * MS).await;
    go.send(())?;
    until(|| log.count() == 2).await;
    assert_eq!(log.entries(), ["a starts", "a wanted"]);
    Ok(())
}

#[tokio::test]
async fn value_of_a_closure_that_ignores_the_flag_is_dropped() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(system.spawn(ScriptedActor::new("a", &log))).await?;
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let (begun, mut begins) = unbounded_channel();
    let value = LogsDrop(log.clone(), "value dropped");
    let waiting = run_async(move |ctx| {
        let work = ctx.spawn_blocking(move |_| {
            let _ = begun.send(());
            let _ = may_go.recv_timeout(TEST_TIMEOUT);
            value
        });
        Box::pin(async move {
            drop(work.await);
            Ok(())
        })
    });
    a.tell(waiting).await?;
    within(begins.recv()).await;
    a.kill();
    within(a.stopped()).await;
    assert_eq!(
        log.entries(),
        ["a starts"],
        "no handler waits for the closure"
    );
    go.send(())?;
    until(|| log.count() == 2).await;
    assert_eq!(log.entries(), ["a starts", "value dropped"]);
    Ok(())
}

#[tokio::test]
async fn panic_of_a_closure_fails_the_actor() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(system.spawn(ScriptedActor::new("a", &log))).await?;
    let panics = run_async(|ctx| {
        let work = ctx.spawn_blocking(|_| panic!("oh"));
        Box::pin(async move {
            let () = work.await;
            Ok(())
        })
    });
    let asked = within(a.ask(panics)).await;
    let Err(AskError::Failed { cause: Some(cause) }) = asked else {
        return Err(format!("{asked:?}").into());
    };
    assert_eq!(cause.text(), "panicked: oh");
    assert!(within(a.stopped()).await.is_failure());
    Ok(())
}

/// The flag for a handler that itself blocks: it sees a kill before the handler returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_that_blocks_sees_its_flag() -> TestResult {
    let (system, log) = (ActorSystem::new(), Log::default());
    let a = within(system.spawn(ScriptedActor::new("a", &log))).await?;
    let (events, mut seen) = unbounded_channel();
    a.tell(run(move |ctx| assert!(spin(&events, &ctx.cancel_flag()))))
        .await?;
    assert_eq!(within(seen.recv()).await, Some("begins"));
    a.kill();
    assert_eq!(within(seen.recv()).await, Some("is cancelled"));
    within(a.stopped()).await;
    Ok(())
}

#[test]
fn runtime_that_ends_cancels_its_closures() -> TestResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let mut seen = runtime.block_on(async {
        let (system, spinner, mut seen) = spinner().await?;
        spinner.tell(Spin).await?;
        assert_eq!(within(seen.recv()).await, Some("begins"));
        std::mem::forget(system);
        Ok::<_, Box<dyn std::error::Error>>(seen)
    })?;
    drop(runtime); // waits for the closure
    assert_eq!(seen.try_recv(), Ok("is cancelled"));
    Ok(())
}
