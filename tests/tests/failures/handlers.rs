//! Panics and errors in handlers.

use conclib::prelude::*;
use conclib_tests::messages::{Pass, Ping};
use conclib_tests::{Log, PanicsOnDrop, TestResult, gate, poll_once, within};

use super::{Bomb, Fail, Frail, How, Keep};

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
    let StopReason::Failed(failure) = within(frail.stopped()).await else {
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
    assert!(frail.stopped().await.is_failure());
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
    within(frail.stopped()).await;
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
