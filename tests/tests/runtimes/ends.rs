//! Runtimes that end before their actors.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use conclib::SpawnError;
use conclib::prelude::*;
use conclib::snapshot::Phase;
use conclib_tests::messages::{Pass, Ping};
use conclib_tests::{Gate, Log, LogsDrop, PanicsOnDrop, TestResult, gate, poll_once, within};
use tokio::runtime::{Builder, Runtime};

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
            within(watched.stopped()).await,
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
