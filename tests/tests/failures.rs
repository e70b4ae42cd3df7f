//! Failing actors: panics and errors in handlers, hooks and drops, and their reports.

use std::future::Future;
use std::time::Duration;

use conclib::prelude::*;
use conclib::{Handlers, Limit, SpawnError, Wanted};
use conclib_tests::messages::{Pass, Ping};
use conclib_tests::{Gate, Log, LogsDrop, PanicsOnDrop, TestResult, gate, poll_once, within};

/// Waits at the gate, then fails.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Fail(Gate, How);

#[derive(Clone, Copy)]
enum How {
    Panic,
    PanicWithAValue,
    Err,
}

#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Keep;

/// A message whose drop panics.
#[derive(ActorMessage)]
#[message(local, response = u32)]
struct Bomb(PanicsOnDrop);

#[derive(Actor)]
#[actor(urn = "frail")]
struct Frail {
    log: Log,
    kept: Vec<Reply<u32>>,
    _state: LogsDrop,
}

impl Frail {
    fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            kept: Vec::new(),
            _state: LogsDrop(log.clone(), "state dropped"),
        }
    }
}

#[handlers]
impl Frail {
    fn on_stop(&mut self) {
        self.log.add("on_stop");
    }

    fn on_failure(&mut self, failure: &Failure) {
        self.log.add(format!("on_failure: {failure}"));
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    async fn pass(&mut self, Pass(gate): Pass) {
        gate.pass().await;
    }

    #[handler]
    async fn fail(&mut self, Fail(gate, how): Fail) -> Result<u32, Failure> {
        gate.pass().await;
        match how {
            How::Panic => panic!("on purpose"),
            How::PanicWithAValue => std::panic::panic_any(7),
            How::Err => Err(std::io::Error::other("as asked"))?,
        }
        Ok(0)
    }

    #[handler]
    fn keep(&mut self, _: Keep, reply: Reply<u32>) {
        self.kept.push(reply);
    }

    #[handler]
    fn bomb(&mut self, _bomb: Bomb) -> u32 {
        self.log.add("bomb in hand");
        2
    }
}

/// Fails a [`Frail`] while messages wait; returns the failure.
async fn fail(how: How) -> Result<(Failure, Log), Box<dyn std::error::Error>> {
    let system = ActorSystem::new();
    let log = Log::default();
    let neighbour = system
        .spawn(Frail::new(&Log::default()))
        .urn("neighbour")
        .await?;
    let frail = system.spawn(Frail::new(&log)).await?;

    let kept = tokio::spawn(frail.ask(Keep));
    let (hold, mut keeper) = gate();
    frail.tell(Pass(hold)).await?;
    keeper.reached().await;
    // These are one batch: the first is being handled when it fails, the others wait behind it.
    let (at, mut failing) = gate();
    let mut in_hand = frail.ask(Fail(at, how));
    let mut behind = frail.ask(Ping);
    assert!(poll_once(&mut in_hand).await.is_pending());
    assert!(poll_once(&mut behind).await.is_pending());
    keeper.open();
    failing.reached().await;
    // This one waits in the mailbox.
    let mut queued = frail.ask(Ping);
    assert!(poll_once(&mut queued).await.is_pending());
    failing.open();

    assert!(matches!(
        within(in_hand).await,
        Err(AskError::Failed { .. })
    ));
    let StopReason::Failed(failure) = within(frail.wait_stopped()).await else {
        return Err("it has not failed".into());
    };
    assert_eq!(behind.await, Err(AskError::ActorStopped));
    assert_eq!(queued.await, Err(AskError::ActorStopped));
    assert_eq!(kept.await?, Err(AskError::NoReply));

    // The URN is free, and other actors live.
    let next = system.spawn(Frail::new(&Log::default())).await?;
    assert_eq!(next.ask(Ping).await, Ok(1));
    assert_eq!(neighbour.ask(Ping).await, Ok(1));
    Ok((failure, log))
}

#[tokio::test]
async fn panic_ends_the_actor_and_fails_only_the_current_message() -> TestResult {
    let (failure, log) = fail(How::Panic).await?;
    assert!(failure.is_panic());
    assert_eq!(
        log.entries(),
        ["on_failure: panicked: on purpose", "state dropped"]
    );
    Ok(())
}

#[tokio::test]
async fn panic_may_carry_any_value() -> TestResult {
    let (failure, _) = fail(How::PanicWithAValue).await?;
    assert!(failure.is_panic());
    Ok(())
}

#[tokio::test]
async fn error_fails_the_actor_like_a_panic() -> TestResult {
    let (failure, log) = fail(How::Err).await?;
    assert!(failure.downcast_ref::<std::io::Error>().is_some());
    assert_eq!(log.entries(), ["on_failure: as asked", "state dropped"]);
    Ok(())
}

#[tokio::test]
async fn current_message_that_panics_on_drop_fails_the_actor() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let frail = system.spawn(Frail::new(&log)).await?;
    assert!(matches!(
        within(frail.ask(Bomb(PanicsOnDrop))).await,
        Err(AskError::Failed { .. })
    ));
    assert!(frail.wait_stopped().await.is_failure());
    assert_eq!(log.entries()[0], "bomb in hand");
    Ok(())
}

/// Ends an actor while messages that panic on drop wait for it, both in the
/// current batch and in the mailbox.
async fn end_with_bombs(end: impl FnOnce(&ActorRef<Frail>)) -> TestResult {
    let system = ActorSystem::new();
    let frail = system.spawn(Frail::new(&Log::default())).await?;
    let (hold, mut keeper) = gate();
    frail.tell(Pass(hold)).await?;
    keeper.reached().await;
    let (at, mut failing) = gate();
    let mut in_hand = frail.ask(Fail(at, How::Panic));
    assert!(poll_once(&mut in_hand).await.is_pending());
    let mut others = Vec::new();
    for _ in 0..3 {
        frail.tell(Bomb(PanicsOnDrop)).await?;
        let mut behind = frail.ask(Ping);
        assert!(poll_once(&mut behind).await.is_pending());
        others.push(behind);
    }
    keeper.open();
    failing.reached().await;
    for _ in 0..3 {
        frail.tell(Bomb(PanicsOnDrop)).await?;
        let mut queued = frail.ask(Ping);
        assert!(poll_once(&mut queued).await.is_pending());
        others.push(queued);
    }
    end(&frail);
    failing.open();
    assert!(within(in_hand).await.is_err());
    within(frail.wait_stopped()).await;
    for other in others {
        assert_eq!(within(other).await, Err(AskError::ActorStopped));
    }
    let next = system.spawn(Frail::new(&Log::default())).await?;
    assert_eq!(next.ask(Ping).await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn messages_that_panic_on_drop_do_no_harm_after_a_panic() -> TestResult {
    end_with_bombs(|_| {}).await
}

#[tokio::test]
async fn messages_that_panic_on_drop_do_no_harm_after_a_kill() -> TestResult {
    end_with_bombs(ActorRef::kill).await
}

// ---- hooks and states that panic

#[derive(Actor)]
#[actor(urn = "hooked")]
struct Hooked {
    log: Log,
    panics_in: &'static str,
    _state: Option<PanicsOnDrop>,
}

impl Hooked {
    fn new(log: &Log, panics_in: &'static str) -> Self {
        let state = (panics_in == "drop").then(|| PanicsOnDrop);
        Self {
            log: log.clone(),
            panics_in,
            _state: state,
        }
    }

    fn at(&self, hook: &'static str) {
        self.log.add(hook);
        assert!(hook != self.panics_in, "in {hook}");
    }
}

#[handlers]
impl Hooked {
    async fn on_start(&mut self) -> Result<(), Failure> {
        self.at("on_start");
        tokio::task::yield_now().await;
        if self.panics_in == "returns" {
            return Err(Failure::msg("no disk"));
        }
        Ok(())
    }

    async fn on_stop(&mut self) {
        tokio::task::yield_now().await;
        self.at("on_stop");
    }

    fn on_failure(&mut self) {
        self.at("on_failure");
    }

    #[handler]
    fn ping(&mut self, _: Ping) -> u32 {
        1
    }

    #[handler]
    fn fail(&mut self, _: Fail) -> Result<u32, Failure> {
        Err(Failure::msg("as asked"))
    }
}

#[tokio::test]
async fn hooks_and_drops_that_panic_still_free_the_urn() -> TestResult {
    let system = ActorSystem::new();
    for panics_in in ["on_stop", "drop"] {
        let log = Log::default();
        let hooked = system.spawn(Hooked::new(&log, panics_in)).await?;
        hooked.stop();
        let reason = within(hooked.wait_stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
        assert_eq!(log.entries(), ["on_start", "on_stop"]);
    }
    for panics_in in ["on_failure", "drop"] {
        let log = Log::default();
        let hooked = system.spawn(Hooked::new(&log, panics_in)).await?;
        let failed = hooked.ask(Fail(gate().0, How::Err)).await;
        assert!(matches!(failed, Err(AskError::Failed { .. })));
        let StopReason::Failed(failure) = within(hooked.wait_stopped()).await else {
            return Err("it has not failed".into());
        };
        assert_eq!(failure.to_string(), "as asked");
        assert_eq!(log.entries(), ["on_start", "on_failure"]);
    }
    assert!(system.is_empty());
    Ok(())
}

#[tokio::test]
async fn failed_start_refuses_waiting_messages() {
    for (panics_in, problem) in [
        ("returns", "no disk"),
        ("on_start", "panicked: in on_start"),
    ] {
        let system = ActorSystem::new();
        let log = Log::default();
        let mut spawn = system.spawn(Hooked::new(&log, panics_in));
        assert!(poll_once(&mut spawn).await.is_pending());
        let waiting = system.ask("hooked", Ping);
        let (started, waited) = tokio::join!(spawn, waiting);
        let Err(SpawnError::StartFailed { urn, failure }) = started else {
            panic!("{started:?}");
        };
        assert_eq!(
            (urn.as_str(), failure.to_string().as_str()),
            ("hooked", problem)
        );
        assert_eq!(waited, Err(AskError::ActorStopped));
        assert_eq!(log.entries(), ["on_start"]);
        assert!(system.is_empty());
    }
}

#[derive(Actor)]
#[actor(urn = "slow")]
struct SlowToDrop;

#[handlers]
impl SlowToDrop {
    fn on_start(&mut self) -> Result<(), Failure> {
        Err(Failure::msg("as always"))
    }
}

impl Drop for SlowToDrop {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urn_is_free_after_a_failed_spawn() {
    let system = ActorSystem::new();
    for _ in 0..3 {
        let failed = within(system.spawn(SlowToDrop)).await;
        assert!(
            matches!(failed, Err(SpawnError::StartFailed { .. })),
            "{failed:?}"
        );
        assert!(system.is_empty());
    }
}

/// Written by hand: its `on_start` panics before it returns a future.
struct Eager;

impl Actor for Eager {}

impl Handlers for Eager {
    type Inbox = ();

    async fn dispatch(&mut self, _: &mut Option<()>, _: &mut Context<Self>) -> Result<(), Failure> {
        Ok(())
    }

    fn frame(_: Box<RequestEnvelope>) {}

    fn unframe(_: &mut Option<()>) -> Option<Box<RequestEnvelope>> {
        None
    }

    fn decode(_: Box<RequestEnvelope>) -> Option<()> {
        None
    }

    fn limit((): &()) -> Option<Limit<'_>> {
        None
    }

    fn recipient(_: &mut Wanted<'_>) {}

    fn on_start(
        &mut self,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        assert!(ctx.is_stopping(), "eagerly");
        std::future::ready(Ok(()))
    }
}

#[tokio::test]
async fn hook_may_panic_before_it_returns_its_future() {
    let failed = within(ActorSystem::new().spawn(Eager)).await;
    let Err(SpawnError::StartFailed { failure, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(failure.to_string(), "panicked: eagerly");
}
