//! Runtimes that end before their actors do, runtimes without timers, and runtimes within a handler.

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Backoff, GroupMember, Phase, SpawnError, Strategy, Supervisor};
use conclib_tests::messages::{Pass, Ping, note};
use conclib_tests::scripted::{ScriptedActor, fail, lives, run_async};
use conclib_tests::{
    Gate, Log, LogsDrop, PanicsOnDrop, TestResult, gate, poll_once, within, yield_until,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

/// The actor on the runtime that stays.
#[derive(Actor)]
struct Next;

#[handlers]
impl Next {
    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

/// Waits at a gate in `on_start`.
#[derive(Actor)]
struct Starts(Option<Gate>);

#[handlers]
impl Starts {
    async fn on_start(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.pass().await;
        }
    }
}

/// Logs the drop of its state, and if it counts as stopped then.
#[derive(Actor)]
#[actor(urn = "watched")]
struct Watched {
    log: Log,
    own: Arc<Mutex<Option<ActorRef<Self>>>>,
    _held: PanicsOnDrop,
}

#[handlers]
impl Watched {
    fn on_stop(&mut self) {
        self.log.add("on_stop");
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        let _held = LogsDrop(self.log.clone(), "handler dropped");
        gate.pass().await;
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let own = self.own.lock().ok().and_then(|mut own| own.take());
        let stopped = own.is_some_and(|own| own.is_stopped());
        self.log.add(format!("state dropped, stopped: {stopped}"));
    }
}

/// Drops a runtime with a busy actor, waiting asks, and a spawn in progress.
fn drop_runtime(runtime: Runtime, drop: impl FnOnce(Runtime)) -> TestResult {
    let observer = Builder::new_current_thread().enable_all().build()?;
    let system = ActorSystem::new();
    let log = Log::default();
    let own = Arc::new(Mutex::new(None));
    let state = Watched {
        log: log.clone(),
        own: own.clone(),
        _held: PanicsOnDrop,
    };
    let (gate, mut keeper) = gate();
    let (watched, in_hand, queued) = runtime.block_on(async {
        let watched = within(system.spawn(state))
            .await
            .map_err(|_| "not spawned")?;
        let mut in_hand = watched.ask(Pass(gate));
        assert!(poll_once(&mut in_hand).await.is_pending());
        keeper.reached().await;
        let mut queued = watched.ask(Ping);
        assert!(poll_once(&mut queued).await.is_pending());
        Ok::<_, &str>((watched, in_hand, queued))
    })?;
    *own.lock().map_err(|_| "poisoned")? = Some(watched.clone());
    drop(runtime);

    observer.block_on(async {
        assert!(matches!(
            within(watched.wait_stopped()).await,
            StopReason::Killed
        ));
        assert_eq!(
            log.entries(),
            ["handler dropped", "state dropped, stopped: false"]
        );
        assert_eq!(within(in_hand).await, Err(AskError::ActorStopped));
        assert_eq!(within(queued).await, Err(AskError::ActorStopped));
        assert_eq!(watched.ask(Ping).await, Err(AskError::ActorStopped));
        assert!(system.is_empty());
        let next = within(system.spawn(Next).urn("watched")).await?; // its URN is free
        assert_eq!(next.ask(Ping).await?, 1);
        assert!(within(system.shutdown()).await.is_clean());
        Ok(())
    })
}

#[test]
fn end_of_a_runtime_ends_its_actors() -> TestResult {
    drop_runtime(Builder::new_current_thread().enable_all().build()?, drop)?;
    drop_runtime(
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?,
        drop,
    )
}

#[test]
fn end_of_a_runtime_in_the_background_ends_its_actors() -> TestResult {
    drop_runtime(
        Builder::new_current_thread().enable_all().build()?,
        Runtime::shutdown_background,
    )?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    drop_runtime(runtime, Runtime::shutdown_background)
}

#[test]
fn spawn_on_an_ending_runtime_is_an_error() -> TestResult {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let system = ActorSystem::new();
    // The spawn waits for the factory.
    let mut spawn = system.supervise(|| async { Next });
    runtime.block_on(async { assert!(poll_once(&mut spawn).await.is_pending()) });
    drop(runtime);
    let observer = Builder::new_current_thread().enable_all().build()?;
    let spawned = observer.block_on(within(spawn));
    assert!(
        matches!(spawned, Err(SpawnError::Killed { .. })),
        "{spawned:?}"
    );
    assert!(system.is_empty());
    Ok(())
}

#[test]
fn actor_without_on_start_starts_at_once_and_ends_with_its_runtime() -> TestResult {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let system = ActorSystem::new();
    let mut spawn = system.spawn(Next);
    let spawned = runtime.block_on(poll_once(&mut spawn));
    assert!(matches!(&spawned, Poll::Ready(Ok(_))), "{spawned:?}");
    assert_eq!(system.snapshot().actors[0].phase, Phase::Running);
    drop(runtime);
    assert!(system.is_empty());
    Ok(())
}

/// A waker that logs the number of actors of a system.
struct Counts(ActorSystem, Log);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.1.add(format!("woken, {} left", self.0.len()));
    }
}

#[test]
fn spawn_reports_the_end_of_its_runtime_once_the_urn_is_free() -> TestResult {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (system, log) = (ActorSystem::new(), Log::default());
    let (hold, mut keeper) = gate();
    let state = Starts(Some(hold));
    let mut spawn = system.spawn(state);
    let waker = Waker::from(Arc::new(Counts(system.clone(), log.clone())));
    runtime.block_on(async {
        let spawn = Pin::new(&mut spawn);
        assert!(
            spawn
                .poll(&mut std::task::Context::from_waker(&waker))
                .is_pending()
        );
        keeper.reached().await;
    });
    drop(runtime);
    assert_eq!(log.entries(), ["woken, 0 left"]);
    Ok(())
}

// ---- runtimes without timers

/// Runs a test on a runtime without timers.
fn without_timers<T>(test: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let runtime = Builder::new_current_thread().build()?;
    Ok(runtime.block_on(test))
}

#[test]
fn actors_live_without_timers() -> TestResult {
    without_timers(async {
        let (system, log) = (ActorSystem::new(), Log::default());
        let plain = system
            .spawn(ScriptedActor::new("plain", &log))
            .urn("plain")
            .await?;
        plain.tell(note("1")).await?;
        plain.ask(note("2")).await?;
        system.ask("plain", note("3")).await?;
        plain.stop();
        assert!(matches!(plain.wait_stopped().await, StopReason::Requested));

        let again = system
            .supervise(lives("again", &log))
            .backoff(Backoff::none());
        let again = again.await?;
        again.ask(fail()).await.unwrap_err();
        again.ask(note("lives")).await?;

        let member = |name| GroupMember::new(lives(name, &log)).urn(name);
        let group = Supervisor::new(Strategy::RestForOne).backoff(Backoff::none());
        let group = group.member(member("a")).member(member("b"));
        system.spawn(group).urn("group").await?;
        system.ask("a", fail()).await.unwrap_err();
        system.ask("a", note("lives")).await?;
        let restarts = |urn: &str| {
            let snapshot = system.snapshot();
            snapshot.actor(urn).map(|actor| actor.restarts)
        };
        yield_until(|| restarts("b") == Some(1)).await;

        assert!(system.shutdown().await.is_clean());
        assert!(system.is_empty());
        Ok(())
    })?
}

#[test]
fn shutdown_keeps_its_bound_without_timers() -> TestResult {
    without_timers(async {
        let (system, log) = (ActorSystem::new(), Log::default());
        let hangs = system
            .spawn(ScriptedActor::new("hangs", &log))
            .urn("hangs")
            .await?;
        hangs.tell(run_async(|_| Box::pin(pending()))).await?;
        let shutdown = system.shutdown().timeout(Duration::from_millis(20));
        let report = shutdown.await;
        assert_eq!(report.killed, ["hangs"]);
        assert!(hangs.is_stopped());
        Ok(())
    })?
}

#[test]
fn restart_with_a_backoff_without_timers_is_a_failure() -> TestResult {
    without_timers(async {
        let system = ActorSystem::new();
        let actor = system.supervise(|| ready(ScriptedActor::new("a", &Log::default())));
        let actor = actor.await?;
        actor.ask(fail()).await.unwrap_err();
        let StopReason::Failed(failure) = actor.wait_stopped().await else {
            return Err("it has not failed".into());
        };
        assert!(
            failure.to_string().contains("timers are disabled"),
            "{failure}"
        );
        Ok(())
    })?
}

// ---- runtimes within a handler

type Within = Box<dyn FnOnce(&ActorRef<Host>) + Send>;

/// Runs blocking code in its handler.
#[derive(Actor)]
#[actor(mailbox = 1)]
struct Host;

#[derive(ActorMessage)]
#[message(local)]
struct Block(Within);

#[handlers]
impl Host {
    #[handler]
    async fn block(&mut self, Block(code): Block, ctx: &mut Context<Self>) {
        let own = ctx.actor_ref();
        tokio::task::block_in_place(|| code(&own));
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }
}

fn block(code: impl FnOnce(&ActorRef<Host>) + Send + 'static) -> Block {
    Block(Box::new(code))
}

fn private() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Lets the tasks of this runtime run until they wait.
async fn let_others_run() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn is_cycle(heard: &Result<u32, AskError>) -> bool {
    matches!(heard, Err(AskError::AskCycle { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_runtime_is_not_part_of_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |own| {
        let (runtime, own) = (private(), own.clone());
        let asked = runtime.spawn(async move { own.ask(Ping).await });
        runtime.block_on(let_others_run());
        let _ = sender.send((runtime, asked));
    });
    within(host.ask(asks)).await?;
    let (runtime, asked) = within(receiver).await?;
    // It continues when the handler has returned.
    let heard = spawn_blocking(move || runtime.block_on(asked));
    assert_eq!(within(heard).await??, Ok(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_local_set_is_not_part_of_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |own| {
        let (local, own) = (LocalSet::new(), own.clone());
        let heard = local.block_on(&private(), async {
            let mut asked = spawn_local(async move { own.ask(Ping).await });
            let_others_run().await;
            poll_once(&mut asked).await.is_ready()
        });
        let _ = sender.send(heard);
    });
    within(host.ask(asks)).await?;
    assert!(!within(receiver).await?, "it waits");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_runtime_has_no_inherited_deadline() -> TestResult {
    const HOUR: Duration = Duration::from_secs(3600);
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let other = system.spawn(Host).urn("other").await?;
    let (hold, keeper) = gate();
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |_| {
        // Its paused clock moves on when all tasks wait.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let heard = runtime.block_on(async {
            let asked = tokio::spawn(async move { other.ask(Pass(hold)).await });
            tokio::time::sleep(2 * HOUR).await;
            let early = asked.is_finished();
            keeper.open();
            (early, asked.await.expect("no panic"))
        });
        let _ = sender.send(heard);
    });
    within(host.ask(asks).timeout(HOUR)).await?;
    assert_eq!(within(receiver).await?, (false, Ok(())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn task_of_a_nested_runtime_needs_room_like_others() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let tells = block(move |own| {
        let (tells, own) = (own.clone(), own.clone());
        let told = private().block_on(async {
            let in_task = tokio::spawn(async move {
                let filled = tells.try_tell(Ping);
                (filled.is_ok(), tells.try_tell(Ping).map_err(AskError::from))
            });
            (in_task.await.expect("no panic"), own.try_tell(Ping).is_ok())
        });
        let _ = sender.send(told);
    });
    within(host.ask(tells)).await?;
    let ((filled, refused), own) = within(receiver).await?;
    assert!(filled && own, "its own code needs no room");
    assert!(
        matches!(refused, Err(AskError::Overloaded { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn future_that_a_handler_blocks_on_is_part_of_the_handler() -> TestResult {
    let system = ActorSystem::new();
    let host = system.spawn(Host).await?;
    let (sender, receiver) = oneshot::channel();
    let asks = block(move |own| {
        let handle = Handle::current();
        let heard = [
            handle.block_on(async { own.ask(Ping).await }),
            private().block_on(async { own.ask(Ping).await }),
            LocalSet::new().block_on(&private(), async { own.ask(Ping).await }),
            handle.block_on(async {
                let mut several: FuturesUnordered<_> = [own.ask(Ping)].into_iter().collect();
                several.next().await.expect("one")
            }),
        ];
        let _ = sender.send(heard);
    });
    within(host.ask(asks)).await?;
    let heard = within(receiver).await?;
    assert!(heard.iter().all(is_cycle), "{heard:?}");
    assert_eq!(within(host.ask(Ping)).await, Ok(1));
    Ok(())
}
