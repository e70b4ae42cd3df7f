//! `try_tell`.

use conclib::prelude::*;
use conclib_tests::messages::{Double, Note, note};
use conclib_tests::{Log, TestResult, within};

use super::busy_worker;

#[tokio::test(start_paused = true)]
async fn try_tell_returns_a_message_without_room() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let (worker, keeper) = busy_worker(&system, &log).await?;
    assert!(worker.try_tell(note("in")).is_ok());

    let back = worker.try_tell(note("full")).unwrap_err();
    assert!(
        matches!(back.reason(), AskError::Overloaded { retry_after } if !retry_after.is_zero())
    );
    assert!(back.reason().is_retryable());
    assert_eq!(back.into_message().0, "full");
    let back = worker.recipient().try_tell(note("full as well"));
    assert!(back.is_err_and(|back| matches!(back.reason(), AskError::Overloaded { .. })));

    keeper.open();
    within(worker.ask(Double { n: 0 })).await?;
    assert!(worker.recipient().try_tell(note("room again")).is_ok());
    worker.stop();
    let back = worker.try_tell(note("stopped")).unwrap_err();
    assert_eq!(back.into_parts(), (note("stopped"), AskError::ActorStopped));
    within(worker.stopped()).await;
    assert_eq!(log.entries(), ["in", "room again"]);
    Ok(())
}

/// Tries to tell itself notes, this many; the answer is the number of successes.
#[derive(ActorMessage)]
#[message(local, response = usize)]
struct TellSelf(usize);

#[derive(Actor)]
struct SelfTeller(Log);

#[handlers]
impl SelfTeller {
    #[handler]
    fn note(&mut self, Note(text): Note) {
        self.0.add(text);
    }

    #[handler]
    fn tell_self(&mut self, TellSelf(times): TellSelf, ctx: &mut Context<Self>) -> usize {
        let told = (0..times).map(|n| ctx.actor_ref().try_tell(note(n.to_string())));
        told.flatten().count()
    }
}

#[tokio::test(start_paused = true)]
async fn actor_always_has_room_for_itself() -> TestResult {
    let system = ActorSystem::new();
    let log = Log::default();
    let teller = system.spawn(SelfTeller(log.clone())).mailbox(1).await?;
    assert_eq!(teller.ask(TellSelf(3)).await?, 3);
    teller.stop();
    within(teller.stopped()).await;
    assert_eq!(log.entries(), ["0", "1", "2"]);
    Ok(())
}
