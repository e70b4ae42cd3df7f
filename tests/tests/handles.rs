//! Handles go anywhere: into tasks, threads, sets and keys of maps, and over serde.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::Duration;

use conclib::actor::{Ask, Tell, Timer};
use conclib::bus::{AskService, ConfigError, ConnectionState, ProxyEnd, RemoteAsk, RemoteTell};
use conclib::durable::DeadLetters;
use conclib::envelope::Attributes;
use conclib::error::{Delivered, UrnError};
use conclib::prelude::*;
use conclib::reply::ReplyReceiver;
use conclib::snapshot::{Phase, Snapshot};
use conclib::supervision::{Backoff, Restart};
use conclib::supervisor::{Strategy, Supervisor};
use conclib::system::{ActorFailure, LookupError, Shutdown, Spawn};
use conclib::topic::Topic;
use conclib::{
    ConnectError, Proxy, SpawnError, TellError, Terminated, Urn, WeakActorRef, WeakRecipient,
};
use conclib_tests::messages::{Double, Note, note};
use conclib_tests::scripted::ScriptedActor;
use conclib_tests::{Log, TestResult};
use serde::de::DeserializeOwned;

const fn shared<T: Send + Sync + Unpin + 'static>() {}
const fn sent<T: Send + Unpin + 'static>() {}
const fn cloned<T: Clone + Debug>() {}
const fn key<T: Eq + Hash + Debug>() {}
const fn shown<T: Display + Debug>() {}
const fn saved<T: Serialize + DeserializeOwned>() {}

/// Checked by the compiler.
const _: () = {
    shared::<ActorSystem>();
    shared::<ActorRef<ScriptedActor>>();
    shared::<WeakActorRef<ScriptedActor>>();
    shared::<Recipient<Note>>();
    shared::<WeakRecipient<Note>>();
    shared::<Topic<Note>>();
    shared::<Timer>();
    shared::<Urn>();
    shared::<Config>();
    shared::<Proxy>();
    shared::<ProxyClient>();
    shared::<AskService<Double>>();
    shared::<DeadLetters>();
    shared::<RequestEnvelope>();
    shared::<Ticker>();
    shared::<StopReason>();
    shared::<Terminated>();
    shared::<Snapshot>();
    shared::<AskError>();
    shared::<TellError<Note>>();
    shared::<SpawnError>();
    shared::<LookupError>();
    shared::<ConnectError>();
    shared::<ConfigError>();
    shared::<UrnError>();
    shared::<ActorFailure>();

    // Futures, which one task at a time polls.
    sent::<Ask<Double>>();
    sent::<Tell<Double>>();
    sent::<RemoteAsk<Double>>();
    sent::<RemoteTell<Double>>();
    sent::<Spawn<ScriptedActor>>();
    sent::<Shutdown>();
    sent::<Reply<u32>>();
    sent::<ReplyReceiver<u32>>();

    cloned::<ActorSystem>();
    cloned::<ActorRef<ScriptedActor>>();
    cloned::<Recipient<Note>>();
    cloned::<ProxyClient>();
    cloned::<Proxy>();
    cloned::<Config>();
    cloned::<Schedule>();
    cloned::<Backoff>();

    key::<Urn>();
    key::<ActorRef<ScriptedActor>>();
    key::<ActorRef<Supervisor>>();
    key::<Recipient<Note>>();
    key::<Phase>();
    key::<Delivered>();

    shown::<Urn>();
    shown::<Phase>();
    shown::<ProxyEnd>();
    shown::<ConnectionState>();
    shown::<Restart>();
    shown::<Strategy>();
    shown::<Schedule>();
    shown::<StopReason>();
    shown::<Snapshot>();

    saved::<Urn>();
    saved::<AskError>();
    saved::<StopReason>();
    saved::<Terminated>();
    saved::<Snapshot>();
    saved::<Attributes>();
};

#[tokio::test]
#[expect(clippy::mutable_key_type, reason = "references are hashed by identity")]
async fn references_to_one_actor_are_one_key() -> TestResult {
    let system = ActorSystem::new();
    let a = system
        .spawn(ScriptedActor::new("a", &Log::default()))
        .urn("a")
        .await?;
    let b = system
        .spawn(ScriptedActor::new("a", &Log::default()))
        .urn("b")
        .await?;
    let actors = HashSet::from([a.clone(), b.clone(), a.clone()]);
    assert_eq!(actors.len(), 2);
    let recipients: HashSet<Recipient<Note>> = [a.recipient(), a.recipient(), b.recipient()].into();
    assert_eq!(recipients.len(), 2);
    a.tell(note("hello")).await?;
    Ok(())
}

/// A value after a journey through JSON.
fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(value)?)
}

#[tokio::test]
async fn values_come_back_from_json() -> TestResult {
    let urn: Urn = "user/42".parse()?;
    assert_eq!(through_json(&urn)?, urn);
    let wrong = serde_json::from_str::<Urn>("\"two words\"").unwrap_err();
    assert!(wrong.to_string().contains("it contains ' '"), "{wrong}");

    let delivered = Delivered::Accepted;
    let urn = urn.clone();
    for error in [
        AskError::Timeout { delivered },
        AskError::ActorNotFound { urn: urn.clone() },
        AskError::Overloaded {
            retry_after: Duration::from_millis(1500),
        },
        AskError::AskCycle {
            chain: vec![urn.clone(), urn],
        },
        AskError::NoReply,
    ] {
        assert_eq!(through_json(&error)?, error);
    }

    let failed = StopReason::Failed(Failure::msg("the disk is full"));
    let back = through_json(&failed)?;
    assert_eq!(back.to_string(), failed.to_string());
    assert!(back.failure().is_some_and(|failure| !failure.is_panic()));
    let back = through_json(&StopReason::ParentStopped)?;
    assert!(matches!(back, StopReason::ParentStopped));

    let system = ActorSystem::new();
    system
        .spawn(ScriptedActor::new("a", &Log::default()))
        .urn("a")
        .await?;
    let snapshot = system.snapshot();
    assert_eq!(through_json(&snapshot)?, snapshot);
    Ok(())
}

#[tokio::test]
async fn panic_comes_back_from_json_as_a_panic() -> TestResult {
    let system = ActorSystem::new();
    let actor = system.spawn(Panicking).await?;
    drop(actor.tell(note("go")).await);
    let reason = actor.stopped().await;
    let back = through_json(&reason)?;
    assert_eq!(back.to_string(), "it failed: panicked: oh");
    assert!(back.failure().is_some_and(Failure::is_panic));
    Ok(())
}

#[derive(Actor)]
struct Panicking;

#[handlers]
impl Panicking {
    #[handler]
    fn note(&mut self, _: Note) {
        panic!("oh");
    }
}
