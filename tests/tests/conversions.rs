//! Conversions of errors by `?`.

use conclib::prelude::*;
use conclib_tests::messages::note;
use conclib_tests::scripted::ScriptedActor;
use conclib_tests::{Log, TestResult, within};

#[tokio::test]
async fn errors_convert_with_question_mark() -> TestResult {
    async fn as_ask_error(target: &ActorRef<ScriptedActor>) -> Result<(), AskError> {
        target.tell(note("told")).await?;
        target.try_tell(note("tried"))?;
        target.ask(note("asked")).await?;
        Ok(())
    }
    async fn as_failure(system: &ActorSystem) -> Result<(), Failure> {
        let target = system.actor::<ScriptedActor>("target")?;
        target.tell(note("told")).await?;
        target.ask(note("asked")).await?;
        system
            .spawn(ScriptedActor::new("b", &Log::default()))
            .await?;
        Ok(())
    }
    async fn over_the_bus(client: &ProxyClient) -> Result<(), AskError> {
        client.tell("target", note("told")).await?;
        client.ask("target", note("asked")).await?;
        Ok(())
    }

    let (system, log) = (ActorSystem::new(), Log::default());
    let target = system.spawn(ScriptedActor::new("a", &log)).urn("target");
    let target = within(target).await?;
    let config = Config::memory();
    start_proxy(&system, &config).await?;
    let client = ProxyClient::connect(&config).await?;
    within(as_ask_error(&target)).await?;
    within(over_the_bus(&client)).await?;
    within(as_failure(&system))
        .await
        .map_err(|failure| failure.to_string())?;
    target.stop();
    within(target.stopped()).await;
    assert_eq!(
        within(as_ask_error(&target)).await,
        Err(AskError::ActorStopped)
    );
    assert!(within(as_failure(&system)).await.is_err());
    Ok(())
}
