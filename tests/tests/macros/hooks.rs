//! Hooks.

use super::*;

type Log = Arc<Mutex<Vec<String>>>;

fn write(log: &Log, entry: impl Into<String>) {
    log.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(entry.into());
}

fn entries(log: &Log) -> Vec<String> {
    log.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone()
}

#[derive(ActorMessage, Serialize, Deserialize)]
struct Break;

#[derive(Actor)]
struct AsyncHooks(Log);

#[handlers]
impl AsyncHooks {
    async fn on_start(&mut self, ctx: &mut Context<Self>) -> Result<(), Failure> {
        ctx.actor_ref()
            .tell(Note("from on_start".to_owned()))
            .await?;
        write(&self.0, "start");
        Ok(())
    }

    async fn on_stop(&mut self, _ctx: &mut Context<Self>, reason: &StopReason) {
        tokio::task::yield_now().await;
        write(&self.0, format!("stop: {reason}"));
    }

    async fn on_failure(&mut self, ctx: &mut Context<Self>, failure: &Failure) {
        tokio::task::yield_now().await;
        write(&self.0, format!("{} failed: {failure}", ctx.urn()));
    }

    #[handler]
    fn note(&mut self, Note(text): Note) {
        write(&self.0, text);
    }

    #[handler]
    fn break_it(&mut self, _: Break) -> Result<(), Failure> {
        Err(Failure::msg("broken"))
    }
}

#[derive(Actor)]
struct SyncHooks(Log);

#[handlers]
impl SyncHooks {
    fn on_start(&self) {
        write(&self.0, "start");
    }

    fn on_stop(&mut self, reason: &StopReason) {
        write(&self.0, format!("stop: {reason}"));
    }

    fn on_failure(&mut self) {
        write(&self.0, "failed");
    }

    #[handler]
    fn break_it(&mut self, _: Break) {
        panic!("on purpose");
    }
}

#[derive(Actor)]
struct NoStart;

#[handlers]
impl NoStart {
    fn on_start(&mut self) -> Result<(), Failure> {
        Err(std::io::Error::other("no disk"))?;
        Ok(())
    }
}

#[tokio::test]
async fn hooks_run_at_their_turns() -> TestResult {
    let system = ActorSystem::new();

    let log = Log::default();
    let actor = system.spawn(AsyncHooks(log.clone())).urn("a").await?;
    actor.stop();
    actor.stopped().await;
    assert_eq!(
        entries(&log),
        ["start", "from on_start", "stop: stop was requested"]
    );

    let log = Log::default();
    let actor = system.spawn(AsyncHooks(log.clone())).urn("b").await?;
    assert!(matches!(
        actor.ask(Break).await,
        Err(AskError::Failed { .. })
    ));
    actor.stopped().await;
    assert_eq!(
        entries(&log),
        ["start", "from on_start", "b failed: broken"]
    );

    let log = Log::default();
    let actor = system.spawn(SyncHooks(log.clone())).await?;
    actor.stop();
    actor.stopped().await;
    assert_eq!(entries(&log), ["start", "stop: stop was requested"]);

    let log = Log::default();
    let actor = system.spawn(SyncHooks(log.clone())).await?;
    assert!(matches!(
        actor.ask(Break).await,
        Err(AskError::Failed { .. })
    ));
    actor.stopped().await;
    assert_eq!(entries(&log), ["start", "failed"]);
    Ok(())
}

#[tokio::test]
async fn failing_on_start_fails_the_spawn() {
    let system = ActorSystem::new();
    let error = system.spawn(NoStart).await.map(drop).unwrap_err();
    assert!(matches!(error, SpawnError::StartFailed { .. }), "{error:?}");
}
