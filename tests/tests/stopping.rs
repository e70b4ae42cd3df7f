//! How actors begin and end: spawn, stop, kill, and the end of the runtime.

use std::future::pending;
use std::sync::{Arc, Mutex};

use conclib::SpawnError;
use conclib::prelude::*;
use conclib_tests::{Gate, Log, LogsDrop, PanicsOnDrop, TestResult, gate, poll_once, within};
use tokio::runtime::{Builder, Runtime};

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Ping;

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
struct Note(String);

fn note(text: &str) -> Note {
    Note(text.to_owned())
}

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Pass(Gate);

/// Stops or kills the actor from within.
#[derive(ActorMessage)]
#[message(local)]
enum End {
    Stop,
    Kill,
}

#[derive(Actor)]
#[actor(urn = "worker")]
struct Worker {
    log: Log,
    start: Option<Gate>,
    stop: Option<Gate>,
}

impl Worker {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            start: None,
            stop: None,
        }
    }
}

#[handlers]
impl Worker {
    async fn on_start(&mut self) {
        if let Some(gate) = self.start.take() {
            gate.pass().await;
        }
        self.log.add("started");
    }

    async fn on_stop(&mut self, ctx: &mut Context<Self>, reason: &StopReason) {
        assert!(ctx.is_stopping());
        self.log.add(format!("on_stop: {reason}"));
        if let Some(gate) = self.stop.take() {
            gate.pass().await;
            self.log.add("on_stop ended");
        }
    }

    fn on_failure(&mut self) {
        self.log.add("on_failure");
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.log.add(text);
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) -> u32 {
        let _held = LogsDrop(self.log.clone(), "handler dropped");
        gate.pass().await;
        2
    }

    #[handler]
    fn end(&mut self, message: End, ctx: &mut Context<Self>) {
        match message {
            End::Stop => ctx.stop(),
            End::Kill => ctx.actor_ref().kill(),
        }
    }
}

#[tokio::test]
async fn a_stop_handles_what_is_queued_and_then_runs_on_stop() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(Worker::new(&log)).await?;
    worker.tell(note("1")).await?;
    worker.tell(End::Stop).await?; // like `worker.stop()`, when its turn comes
    worker.tell(note("2")).await?;
    worker.stop();
    worker.kill(); // before it has had a turn
    assert!(matches!(
        within(worker.wait_stopped()).await,
        StopReason::Killed
    ));
    assert_eq!(log.entries(), ["started"]);

    let log = Log::default();
    let worker = system.spawn(Worker::new(&log)).await?;
    for text in ["1", "2"] {
        worker.tell(note(text)).await?;
    }
    worker.tell(End::Stop).await?;
    worker.tell(note("3")).await?;
    assert!(!worker.is_stopped());
    let reason = within(worker.wait_stopped()).await;
    assert!(matches!(reason, StopReason::Requested) && !reason.is_failure());
    assert_eq!(
        log.entries(),
        ["started", "1", "2", "3", "on_stop: stop was requested"]
    );
    Ok(())
}

#[tokio::test]
async fn messages_wait_for_on_start_and_so_does_a_stop() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (gate, mut keeper) = gate();
    let worker = Worker {
        start: Some(gate),
        ..Worker::new(&log)
    };
    let spawn = tokio::spawn(system.spawn(worker));
    keeper.reached().await;
    let worker: ActorRef<Worker> = system.actor("worker")?;
    worker.tell(note("early")).await?;
    worker.stop();
    assert!(worker.tell(note("late")).await.is_err());
    keeper.open();
    assert_eq!(within(spawn).await??, worker);
    within(worker.wait_stopped()).await;
    assert_eq!(
        log.entries(),
        ["started", "early", "on_stop: stop was requested"]
    );
    Ok(())
}

#[tokio::test]
async fn a_kill_drops_the_running_handler_and_refuses_the_rest() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(Worker::new(&log)).mailbox(1).await?;
    let (gate, mut keeper) = gate();
    let mut in_hand = worker.ask(Pass(gate));
    assert!(poll_once(&mut in_hand).await.is_pending());
    keeper.reached().await;
    let mut queued = worker.ask(Ping);
    assert!(poll_once(&mut queued).await.is_pending());
    let mut waiting = worker.tell(note("waiting"));
    assert!(poll_once(&mut waiting).await.is_pending());

    worker.kill();
    assert!(matches!(
        within(worker.wait_stopped()).await,
        StopReason::Killed
    ));
    assert_eq!(in_hand.await, Err(AskError::ActorStopped));
    assert_eq!(queued.await, Err(AskError::ActorStopped));
    assert_eq!(waiting.await.unwrap_err().message.0, "waiting");
    assert_eq!(log.entries(), ["started", "handler dropped"]);
    system.spawn(Worker::new(&log)).await?; // its URN is free
    Ok(())
}

#[tokio::test]
async fn a_kill_comes_between_two_messages_of_handlers_that_never_wait() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(Worker::new(&log)).await?;
    worker.tell(note("1")).await?;
    worker.tell(End::Kill).await?;
    for _ in 0..10 {
        worker.tell(note("after the kill")).await?;
    }
    assert!(matches!(
        within(worker.wait_stopped()).await,
        StopReason::Killed
    ));
    assert_eq!(log.entries(), ["started", "1"]);
    Ok(())
}

#[tokio::test]
async fn a_kill_ends_on_start_and_on_stop() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (start, mut keeper) = gate();
    let spawn = tokio::spawn(system.spawn(Worker {
        start: Some(start),
        ..Worker::new(&log)
    }));
    keeper.reached().await;
    system.actor::<Worker>("worker")?.kill();
    let killed = within(spawn).await?;
    assert!(
        matches!(killed, Err(SpawnError::Killed { .. })),
        "{killed:?}"
    );
    assert!(system.is_empty() && log.count() == 0);

    let (stop, mut keeper) = gate();
    let worker = system
        .spawn(Worker {
            stop: Some(stop),
            ..Worker::new(&log)
        })
        .await?;
    worker.stop();
    keeper.reached().await;
    worker.kill();
    assert!(matches!(
        within(worker.wait_stopped()).await,
        StopReason::Killed
    ));
    assert_eq!(log.entries(), ["started", "on_stop: stop was requested"]);
    Ok(())
}

#[derive(Actor)]
struct Holder {
    _held: PanicsOnDrop,
}

#[handlers]
impl Holder {
    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) -> u32 {
        let _held = PanicsOnDrop;
        gate.pass().await;
        pending().await
    }
}

#[tokio::test]
async fn a_kill_survives_what_panics_when_it_is_dropped() -> TestResult {
    let system = ActorSystem::new();
    let holder = system
        .spawn(Holder {
            _held: PanicsOnDrop,
        })
        .await?;
    let (gate, mut keeper) = gate();
    let asked = tokio::spawn(holder.ask(Pass(gate)));
    keeper.reached().await;
    holder.kill();
    assert!(matches!(
        within(holder.wait_stopped()).await,
        StopReason::Killed
    ));
    assert!(within(asked).await?.is_err());
    assert!(system.is_empty());
    Ok(())
}

// ---- spawning

#[tokio::test]
async fn a_urn_is_given_generated_taken_or_wrong() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(Worker::new(&log)).await?;
    assert_eq!(*worker.urn(), "worker");
    let taken = system.spawn(Worker::new(&log)).await;
    assert!(matches!(taken, Err(SpawnError::UrnTaken { urn }) if urn == "worker"));
    let wrong = system.spawn(Worker::new(&log)).urn("two words").await;
    assert!(matches!(wrong, Err(SpawnError::InvalidUrn(_))), "{wrong:?}");
    let other = system
        .spawn(Worker::new(&log))
        .urn(format!("worker/{}", 2))
        .await?;
    assert_eq!(other.urn().as_str(), "worker/2");

    let generated = system
        .spawn(Holder {
            _held: PanicsOnDrop,
        })
        .await?;
    assert!(generated.urn().as_str().starts_with("urn:uuid:"));
    assert_eq!(system.len(), 3);
    worker.stop();
    worker.wait_stopped().await;
    assert_eq!(*system.spawn(Worker::new(&log)).await?.urn(), "worker");
    Ok(())
}

#[tokio::test]
async fn a_spawn_takes_its_urn_at_the_first_poll_and_goes_on_when_it_is_dropped() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    drop(system.spawn(Worker::new(&log)));
    assert!(system.is_empty());

    let (gate, mut keeper) = gate();
    let mut spawn = system.spawn(Worker {
        start: Some(gate),
        ..Worker::new(&log)
    });
    assert!(poll_once(&mut spawn).await.is_pending());
    let taken = system.spawn(Worker::new(&log)).await;
    assert!(
        matches!(taken, Err(SpawnError::UrnTaken { .. })),
        "{taken:?}"
    );
    keeper.reached().await;
    drop(spawn);
    keeper.open();
    assert_eq!(within(system.ask("worker", Ping)).await, Ok(1));
    assert_eq!(log.entries(), ["started"]);
    Ok(())
}

// ---- the end of the runtime

/// Says when its state is dropped, and whether it counts as stopped then.
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
    async fn pass(&mut self, Pass(gate): Pass) -> u32 {
        let _held = LogsDrop(self.log.clone(), "handler dropped");
        gate.pass().await;
        2
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

/// Drops a runtime on which an actor is busy, others ask it, and one has just been spawned.
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
        let worker = within(system.spawn(Worker::new(&log)).urn("watched")).await?;
        assert_eq!(worker.ask(Ping).await?, 1);
        assert!(within(system.shutdown()).await.is_clean());
        Ok(())
    })
}

#[test]
fn the_end_of_a_runtime_ends_its_actors() -> TestResult {
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
fn the_end_of_a_runtime_in_the_background_ends_its_actors() -> TestResult {
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
fn a_spawn_on_a_runtime_that_ends_is_an_error() -> TestResult {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let system = ActorSystem::new();
    let log = Log::default();
    let mut spawn = system.spawn(Worker::new(&log));
    runtime.block_on(async { assert!(poll_once(&mut spawn).await.is_pending()) });
    drop(runtime);
    let observer = Builder::new_current_thread().enable_all().build()?;
    let spawned = observer.block_on(within(spawn));
    assert!(
        matches!(spawned, Err(SpawnError::Killed { .. })),
        "{spawned:?}"
    );
    assert!(system.is_empty() && log.count() == 0);
    Ok(())
}
