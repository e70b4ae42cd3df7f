//! Lookups of failed actors.

use conclib::error::Delivered;
use conclib::prelude::*;
use conclib::system::LookupError;
use conclib_tests::messages::note;
use conclib_tests::scripted::ScriptedActor;
use conclib_tests::{Log, TestResult, within};

use super::spent;

#[tokio::test(start_paused = true)]
async fn lookup_of_a_failed_actor_says_that_it_failed() -> TestResult {
    let system = ActorSystem::new();
    let actor = spent(&system, "desk").await?;
    let urn = actor.urn().clone();
    let says = AskError::ActorFailed { urn: urn.clone() };
    assert_eq!(
        says.to_string(),
        "the actor `desk` failed and will not start again"
    );
    assert_eq!(says.delivered(), Delivered::No);
    assert!(!says.is_retryable());

    assert_eq!(
        within(system.ask("desk", note("1"))).await,
        Err(says.clone())
    );
    let back = within(system.tell("desk", note("2"))).await.unwrap_err();
    assert_eq!(back.reason(), &says);
    let absent = system.actor::<ScriptedActor>("desk").unwrap_err();
    assert!(matches!(&absent, LookupError::Failed { urn: failed, .. } if *failed == urn));
    let sought = system.recipient::<conclib_tests::messages::Note>("desk");
    assert_eq!(sought, Err(absent.clone()));
    assert_eq!(AskError::from(absent), says);

    // The same by a reference.
    assert_eq!(within(actor.ask(note("3"))).await, Err(says.clone()));
    let back = within(actor.tell(note("4"))).await.unwrap_err();
    assert_eq!(back.reason(), &says);
    assert_eq!(actor.try_tell(note("5")).unwrap_err().reason(), &says);
    let blocking = actor.ask(note("6"));
    let blocking = tokio::task::spawn_blocking(move || blocking.blocking());
    assert_eq!(blocking.await?, Err(says));

    // A successor at that URN is another actor.
    within(
        system
            .spawn(ScriptedActor::new("a", &Log::default()))
            .urn("desk"),
    )
    .await?;
    assert_eq!(within(system.ask("desk", note("7"))).await, Ok(()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn lookup_of_a_stopped_actor_says_not_found() -> TestResult {
    let system = ActorSystem::new();
    let spawn = system.spawn(ScriptedActor::new("a", &Log::default()));
    let actor = within(spawn.urn("desk")).await?;
    actor.stop();
    within(actor.stopped()).await;
    assert_eq!(actor.ask(note("1")).await, Err(AskError::ActorStopped));
    let absent = system.ask("desk", note("2")).await;
    assert!(matches!(absent, Err(AskError::ActorNotFound { .. })));
    Ok(())
}
