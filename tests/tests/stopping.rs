//! Begin and end of actors: spawn, stop, kill.

use std::future::pending;

use conclib::SpawnError;
use conclib::prelude::*;
use conclib_tests::messages::{Note, Pass, Ping, note};
use conclib_tests::{Gate, Log, LogsDrop, PanicsOnDrop, TestResult, gate, poll_once, within};

/// Stops or kills the actor from within.
#[derive(ActorMessage)]
#[message(local)]
enum End {
    Stop,
    Kill,
}

#[derive(Actor)]
#[actor(urn = "worker")]
struct HookedWorker {
    log: Log,
    start: Option<Gate>,
    stop: Option<Gate>,
}

impl HookedWorker {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            start: None,
            stop: None,
        }
    }
}

#[handlers]
impl HookedWorker {
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
    async fn pass(&mut self, Pass(gate): Pass) {
        let _held = LogsDrop(self.log.clone(), "handler dropped");
        gate.pass().await;
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
async fn stop_handles_queued_messages_then_runs_on_stop() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(HookedWorker::new(&log)).await?;
    worker.tell(note("1")).await?;
    worker.tell(End::Stop).await?; // as `worker.stop()`, when it is handled
    worker.tell(note("2")).await?;
    worker.stop();
    worker.kill(); // before it has had a turn
    assert!(matches!(within(worker.stopped()).await, StopReason::Killed));
    assert_eq!(log.entries(), ["started"]);

    let log = Log::default();
    let worker = system.spawn(HookedWorker::new(&log)).await?;
    for text in ["1", "2"] {
        worker.tell(note(text)).await?;
    }
    worker.tell(End::Stop).await?;
    worker.tell(note("3")).await?;
    assert!(!worker.is_stopped());
    let reason = within(worker.stopped()).await;
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
    let worker = HookedWorker {
        start: Some(gate),
        ..HookedWorker::new(&log)
    };
    let spawn = tokio::spawn(system.spawn(worker));
    keeper.reached().await;
    let worker: ActorRef<HookedWorker> = system.actor("worker")?;
    worker.tell(note("early")).await?;
    worker.stop();
    assert!(worker.tell(note("late")).await.is_err());
    keeper.open();
    assert_eq!(within(spawn).await??, worker);
    within(worker.stopped()).await;
    assert_eq!(
        log.entries(),
        ["started", "early", "on_stop: stop was requested"]
    );
    Ok(())
}

#[tokio::test]
async fn kill_drops_the_running_handler_and_refuses_the_rest() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(HookedWorker::new(&log)).mailbox(1).await?;
    let (gate, mut keeper) = gate();
    let mut in_hand = worker.ask(Pass(gate));
    assert!(poll_once(&mut in_hand).await.is_pending());
    keeper.reached().await;
    let mut queued = worker.ask(Ping);
    assert!(poll_once(&mut queued).await.is_pending());
    let mut waiting = worker.tell(note("waiting"));
    assert!(poll_once(&mut waiting).await.is_pending());

    worker.kill();
    assert!(matches!(within(worker.stopped()).await, StopReason::Killed));
    assert_eq!(in_hand.await, Err(AskError::ActorStopped));
    assert_eq!(queued.await, Err(AskError::ActorStopped));
    assert_eq!(waiting.await.unwrap_err().into_message().0, "waiting");
    assert_eq!(log.entries(), ["started", "handler dropped"]);
    system.spawn(HookedWorker::new(&log)).await?; // its URN is free
    Ok(())
}

#[tokio::test]
async fn kill_takes_effect_between_messages() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(HookedWorker::new(&log)).await?;
    worker.tell(note("1")).await?;
    worker.tell(End::Kill).await?;
    for _ in 0..10 {
        worker.tell(note("after the kill")).await?;
    }
    assert!(matches!(within(worker.stopped()).await, StopReason::Killed));
    assert_eq!(log.entries(), ["started", "1"]);
    Ok(())
}

#[tokio::test]
async fn kill_ends_on_start_and_on_stop() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (start, mut keeper) = gate();
    let spawn = tokio::spawn(system.spawn(HookedWorker {
        start: Some(start),
        ..HookedWorker::new(&log)
    }));
    keeper.reached().await;
    system.actor::<HookedWorker>("worker")?.kill();
    let killed = within(spawn).await?;
    assert!(
        matches!(killed, Err(SpawnError::Killed { .. })),
        "{killed:?}"
    );
    assert!(system.is_empty() && log.count() == 0);

    let (stop, mut keeper) = gate();
    let worker = system
        .spawn(HookedWorker {
            stop: Some(stop),
            ..HookedWorker::new(&log)
        })
        .await?;
    worker.stop();
    keeper.reached().await;
    worker.kill();
    assert!(matches!(within(worker.stopped()).await, StopReason::Killed));
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
    async fn pass(&mut self, Pass(gate): Pass) {
        let _held = PanicsOnDrop;
        gate.pass().await;
        pending::<()>().await;
    }
}

#[tokio::test]
async fn kill_survives_values_that_panic_on_drop() -> TestResult {
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
    assert!(matches!(within(holder.stopped()).await, StopReason::Killed));
    assert!(within(asked).await?.is_err());
    assert!(system.is_empty());
    Ok(())
}

// ---- spawning

#[tokio::test]
async fn urn_is_given_generated_taken_or_invalid() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let worker = system.spawn(HookedWorker::new(&log)).await?;
    assert_eq!(*worker.urn(), "worker");
    let taken = system.spawn(HookedWorker::new(&log)).await;
    assert!(matches!(taken, Err(SpawnError::UrnTaken { urn, .. }) if urn == "worker"));
    let wrong = system.spawn(HookedWorker::new(&log)).urn("two words").await;
    assert!(matches!(wrong, Err(SpawnError::InvalidUrn(_))), "{wrong:?}");
    let other = system
        .spawn(HookedWorker::new(&log))
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
    worker.stopped().await;
    assert_eq!(
        *system.spawn(HookedWorker::new(&log)).await?.urn(),
        "worker"
    );
    Ok(())
}

#[tokio::test]
async fn spawn_takes_its_urn_at_the_first_poll() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    drop(system.spawn(HookedWorker::new(&log)));
    assert!(system.is_empty());

    let (gate, mut keeper) = gate();
    let mut spawn = system.spawn(HookedWorker {
        start: Some(gate),
        ..HookedWorker::new(&log)
    });
    assert!(poll_once(&mut spawn).await.is_pending());
    let taken = system.spawn(HookedWorker::new(&log)).await;
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
