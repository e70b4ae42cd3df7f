//! `TestSystem`: failing actors fail the test.

use std::sync::Arc;
use std::time::Duration;

use conclib::prelude::*;
use conclib::test::TestSystem;
use conclib_tests::{TestResult, within};
use tokio::time::Instant;

use crate::{panic_of, panic_of_future, text};

#[derive(ActorMessage, Serialize, Deserialize)]
struct Explode;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Refuse;

#[derive(ActorMessage, Serialize, Deserialize)]
struct Hang;

/// Spawns a child that fails.
#[derive(ActorMessage, Serialize, Deserialize)]
struct Bear;

#[derive(Actor, Default)]
struct Frail {
    panics_in: &'static str,
}

impl Frail {
    fn panicking_in(hook: &'static str) -> Self {
        Self { panics_in: hook }
    }

    fn at(&self, hook: &str) {
        assert!(self.panics_in != hook, "in {hook}");
    }
}

#[handlers]
impl Frail {
    fn on_start(&mut self) -> Result<(), Failure> {
        self.at("on_start");
        if self.panics_in == "returns" {
            return Err(Failure::msg("no disk"));
        }
        Ok(())
    }

    fn on_stop(&mut self) {
        self.at("on_stop");
    }

    fn on_failure(&mut self) {
        self.at("on_failure");
    }

    #[handler]
    fn explode(&mut self, _: Explode) {
        panic!("on purpose");
    }

    #[handler]
    fn refuse(&mut self, _: Refuse) -> Result<(), Failure> {
        Err(Failure::msg("no more"))
    }

    #[handler]
    async fn hang(&mut self, _: Hang) {
        std::future::pending::<()>().await;
    }

    #[handler]
    async fn bear(&mut self, _: Bear, ctx: &mut Context<Self>) -> Result<(), Failure> {
        let system = ctx.system().ok_or_else(|| Failure::msg("no system"))?;
        let child = system.spawn(Self::default()).urn("child").await?;
        child.tell(Explode).await?;
        Ok(())
    }
}

#[tokio::test]
async fn system_without_failures_ends_quietly() -> TestResult {
    let system = TestSystem::new();
    system.spawn(Frail::default()).await?;
    drop(system);

    let system = TestSystem::new();
    let frail = system.spawn(Frail::default()).await?;
    system.finish().await;
    assert!(frail.is_stopped());
    Ok(())
}

#[tokio::test]
async fn every_failure_is_in_the_list() -> TestResult {
    let system = TestSystem::new();
    let one = system.spawn(Frail::default()).urn("one").await?;
    let two = system
        .spawn(Frail::panicking_in("on_failure"))
        .urn("two")
        .await?;
    let three = system
        .spawn(Frail::panicking_in("on_stop"))
        .urn("three")
        .await?;
    let four = system
        .spawn(Frail::panicking_in("on_start"))
        .urn("four")
        .await;
    let five = system
        .spawn(Frail::panicking_in("returns"))
        .urn("five")
        .await;
    assert!(four.is_err() && five.is_err());
    assert!(matches!(
        one.ask(Explode).await,
        Err(AskError::Failed { .. })
    ));
    assert!(matches!(
        two.ask(Refuse).await,
        Err(AskError::Failed { .. })
    ));
    within(two.stopped()).await;
    three.stop();
    within(three.stopped()).await;
    let list = "actors failed:
  `four`: panicked: in on_start
  `five`: no disk
  `one`: panicked: on purpose
  `two`: no more
  `two`: panicked: in on_failure
  `three`: panicked: in on_stop
";
    assert_eq!(panic_of(|| drop(system)), list);
    Ok(())
}

#[tokio::test]
async fn failures_during_the_shutdown_are_in_the_list() -> TestResult {
    let system = TestSystem::new();
    system
        .spawn(Frail::panicking_in("on_stop"))
        .urn("late")
        .await?;
    let queued = system.spawn(Frail::default()).urn("queued").await?;
    queued.tell(Explode).await?;
    let problems = panic_of_future(within(system.finish())).await;
    let list = "actors failed:
  `queued`: panicked: on purpose
  `late`: panicked: in on_stop
";
    assert_eq!(problems, list);
    Ok(())
}

#[tokio::test]
async fn failures_of_children_are_in_the_list() -> TestResult {
    let system = TestSystem::new();
    let mother = system.spawn(Frail::default()).await?;
    mother.ask(Bear).await?;
    system.expect_failure("child");
    system.finish().await;
    Ok(())
}

#[tokio::test]
async fn expected_failure_does_not_fail_the_test() -> TestResult {
    let system = TestSystem::new();
    for urn in ["user/1", "user/2", "log"] {
        let frail = system.spawn(Frail::default()).urn(urn).await?;
        assert!(matches!(
            frail.ask(Refuse).await,
            Err(AskError::Failed { .. })
        ));
    }
    system.expect_failure("user/*");
    assert_eq!(
        panic_of(|| drop(system)),
        "actors failed:\n  `log`: no more\n"
    );
    Ok(())
}

#[tokio::test]
async fn missing_expected_failure_fails_the_test() -> TestResult {
    let system = TestSystem::new();
    system.expect_failure("user/*");
    system.expect_failure("log");
    let frail = system.spawn(Frail::default()).urn("log").await?;
    frail.tell(Explode).await?;
    let problems = panic_of_future(system.finish()).await;
    assert_eq!(problems, "no actor failed, but was to:\n  `user/*`\n");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn actor_that_does_not_stop_fails_the_test() -> TestResult {
    let system = TestSystem::new();
    let frail = system.spawn(Frail::default()).urn("slow").await?;
    frail.tell(Hang).await?;
    let start = Instant::now();
    let problems = panic_of_future(system.finish()).await;
    assert_eq!(
        problems,
        "actors did not stop in time and were killed:\n  `slow`\n"
    );
    assert!(start.elapsed() < Duration::from_secs(12));
    Ok(())
}

#[tokio::test]
async fn panicking_test_keeps_its_own_message() {
    let test = tokio::spawn(async {
        let system = TestSystem::new();
        let frail = system.spawn(Frail::default()).await.unwrap();
        assert_eq!(frail.ask(Explode).await, Ok(()), "the test's own text");
        drop(system); // not reached
    });
    let panic = test.await.unwrap_err().into_panic();
    assert!(text(&*panic).contains("the test's own text"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_waits_for_failures_on_other_threads() -> TestResult {
    for _ in 0..20 {
        let system = TestSystem::new();
        let frails = Arc::new(tokio::sync::Barrier::new(8));
        let asks: Vec<_> = (0..8)
            .map(|_| {
                let spawn = system.spawn(Frail::default());
                let barrier = frails.clone();
                tokio::spawn(async move {
                    let frail = spawn.await.unwrap();
                    barrier.wait().await;
                    assert!(matches!(
                        frail.ask(Refuse).await,
                        Err(AskError::Failed { .. })
                    ));
                })
            })
            .collect();
        for ask in asks {
            within(ask).await?;
        }
        let problems = panic_of_future(within(system.finish())).await;
        assert_eq!(problems.matches("no more").count(), 8, "{problems}");
    }
    Ok(())
}
