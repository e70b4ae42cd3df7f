//! Panics in hooks and drops.

use std::future::Future;
use std::time::Duration;

use conclib::SpawnError;
use conclib::actor::{Handlers, RecipientQuery};
use conclib::prelude::*;
use conclib::reply::Limit;
use conclib_tests::messages::Ping;
use conclib_tests::{Log, PanicsOnDrop, TestResult, gate, poll_once, within};

use super::{Fail, How};

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
        let reason = within(hooked.stopped()).await;
        assert!(matches!(reason, StopReason::Requested), "{reason}");
        assert_eq!(log.entries(), ["on_start", "on_stop"]);
    }
    for panics_in in ["on_failure", "drop"] {
        let log = Log::default();
        let hooked = system.spawn(Hooked::new(&log, panics_in)).await?;
        let failed = hooked.ask(Fail(gate().0, How::Err)).await;
        assert!(matches!(failed, Err(AskError::Failed { .. })));
        let StopReason::Failed(failure) = within(hooked.stopped()).await else {
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
        let Err(SpawnError::StartFailed { urn, failure, .. }) = started else {
            panic!("{started:?}");
        };
        assert_eq!(
            (urn.as_str(), failure.to_string().as_str()),
            ("hooked", problem)
        );
        let says = AskError::ActorFailed { urn };
        assert_eq!(waited, Err(says));
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

    fn recipient(_: &mut RecipientQuery<'_>) {}

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
