//! Requests that cannot be answered are refused with a reason, and do not affect others.

use std::time::Duration;

use conclib::prelude::*;
use conclib::{AskError, Config, ProxyClient, start_proxy};
use conclib_tests::actors::{GatedActor, Worker};
use conclib_tests::bus::BusFixture;
use conclib_tests::eventually;
use conclib_tests::messages::{Carry, Double, Enter, Explode, Fill, Forget, Hold, Stranger};
use serde_bytes::ByteBuf;

/// Another program's versions of the messages.
pub(crate) mod other {
    use conclib::prelude::*;

    /// A number for the worker.
    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub(crate) struct Double {
        pub(crate) text: String,
    }

    /// The response of the worker is a number.
    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(name = "Double", response = Vec<String>)]
    pub(crate) struct DoubleToText {
        pub(crate) n: u32,
    }

    /// A local message for the worker.
    #[derive(ActorMessage, Serialize, Deserialize)]
    #[message(response = u32)]
    pub(crate) struct Secret;
}

async fn lives_on(fixture: &BusFixture) {
    assert_eq!(fixture.client.ask("worker", Double { n: 1 }).await, Ok(2));
    assert_eq!(fixture.client.in_flight(), 0);
}

pub(crate) async fn unknown_urn_is_actor_not_found(fixture: BusFixture) {
    match fixture.client.ask("absent", Double { n: 1 }).await {
        Err(AskError::ActorNotFound { urn }) => assert_eq!(urn.as_str(), "absent"),
        other => panic!("{other:?}"),
    }
    // A tell does not report its arrival.
    fixture
        .client
        .tell("absent", Double { n: 1 })
        .await
        .unwrap();
    lives_on(&fixture).await;
}

pub(crate) async fn urn_that_is_none(fixture: BusFixture) {
    for urn in ["", "with space", &"x".repeat(10_000)] {
        match fixture.client.ask(urn, Double { n: 1 }).await {
            Err(AskError::InvalidUrn { .. }) => {}
            other => panic!("{other:?}"),
        }
        let error = fixture.client.tell(urn, Double { n: 7 }).await.unwrap_err();
        assert!(matches!(error, AskError::InvalidUrn { .. }));
    }
}

pub(crate) async fn actor_has_no_handler(fixture: BusFixture) {
    match fixture.client.ask("worker", Stranger).await {
        Err(AskError::Unhandled { urn, message }) => {
            assert_eq!((urn.as_str(), &*message), ("worker", "Stranger"));
        }
        other => panic!("{other:?}"),
    }
    lives_on(&fixture).await;
}

pub(crate) async fn message_of_another_shape(fixture: BusFixture) {
    let text = "many".to_owned();
    match fixture.client.ask("worker", other::Double { text }).await {
        Err(AskError::BadRequest { reason }) => {
            // The text names the type and the mistake.
            assert!(reason.contains("messages::Double`"), "{reason}");
            assert!(reason.contains("missing field `n`"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    lives_on(&fixture).await;
}

pub(crate) async fn response_of_another_shape(fixture: BusFixture) {
    match fixture
        .client
        .ask("worker", other::DoubleToText { n: 2 })
        .await
    {
        Err(AskError::BadResponse { reason }) => {
            assert!(reason.contains("Vec<alloc::string::String>"), "{reason}");
            assert!(reason.contains("integer `4`"), "{reason}");
            assert!(reason.contains("that of `worker` to `Double"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    lives_on(&fixture).await;
}

pub(crate) async fn local_message_cannot_be_reached(fixture: BusFixture) {
    let local = conclib_tests::messages::Secret;
    assert_eq!(fixture.system.ask("worker", local).await, Ok(42));
    match fixture.client.ask("worker", other::Secret).await {
        Err(AskError::Unhandled { message, .. }) => assert_eq!(message, "Secret"),
        other => panic!("{other:?}"),
    }
    lives_on(&fixture).await;
}

/// An actor system and a client with limits in bytes, in a namespace of their own.
async fn narrow(fixture: &BusFixture, server: usize, client: usize) -> (ActorSystem, ProxyClient) {
    let config = |limit| -> Config {
        let config = fixture.bus.config.clone();
        config.namespace("narrow").max_message_size(limit)
    };
    let system = ActorSystem::new();
    start_proxy(&system, &config(server)).await.unwrap();
    system.spawn(Worker::default()).await.unwrap();
    system.spawn(conclib_tests::actors::Raw).await.unwrap();
    let client = ProxyClient::connect(&config(client)).await.unwrap();
    (system, client)
}

fn is_too_large<T: std::fmt::Debug>(outcome: &Result<T, AskError>, bytes: usize) {
    match outcome {
        Err(AskError::TooLarge { size, limit }) => {
            assert!((bytes..bytes + 100).contains(size), "{size}");
            assert_eq!(*limit, 1000);
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn request_is_too_large(fixture: BusFixture) {
    let carry = |bytes| Carry {
        bytes: ByteBuf::from(vec![1; bytes]),
    };
    // The limit of the client, and that of the actor system, which the client knows.
    for (namespace, limits) in [(1_000_000, 1000), (1000, 1_000_000)]
        .into_iter()
        .enumerate()
    {
        let (system, client) = narrow(&fixture, limits.0, limits.1).await;
        assert_eq!(
            client.ask("worker", carry(900)).await,
            Ok(900),
            "{namespace}"
        );
        is_too_large(&client.ask("worker", carry(1001)).await, 1001);
        let told = client.tell("worker", carry(1001)).await.unwrap_err();
        is_too_large::<()>(&Err(told), 1001);
        assert_eq!(client.in_flight(), 0);
        system.shutdown().await;
    }
}

pub(crate) async fn attributes_count_as_size(fixture: BusFixture) {
    let (_system, client) = narrow(&fixture, 1_000_000, 1000).await;
    let ask = |text: String| {
        client
            .ask("raw", conclib_tests::messages::Trace)
            .attribute("a", text)
    };
    assert_eq!(ask("x".repeat(900)).await.map(|text| text.len()), Ok(902));
    is_too_large(&ask("x".repeat(1000)).await, 1000);
}

pub(crate) async fn attributes_are_too_many(fixture: BusFixture) {
    let client = &fixture.client;
    let ask = |count: usize, bytes: usize| {
        let ask = client.ask("raw", conclib_tests::messages::Trace);
        (0..count).fold(ask, |ask, n| {
            ask.attribute(format!("{n:04}"), "x".repeat(bytes - 4))
        })
    };
    // With an `=` each, and commas between.
    let result = ask(64, 256).await.map(|text| text.len());
    assert_eq!(result, Ok(64 * 258 - 1));
    match ask(65, 5).await {
        Err(AskError::BadRequest { reason }) => {
            assert_eq!(reason, "65 attributes are more than 64");
        }
        other => panic!("{other:?}"),
    }
    let (size, limit) = (64 * 257, 16 * 1024);
    let refused = ask(64, 257).await;
    assert_eq!(refused, Err(AskError::TooLarge { size, limit }));
    let tell = client.tell("raw", Forget).attribute("a", "x".repeat(limit));
    let told = tell.await.unwrap_err();
    assert!(matches!(told, AskError::TooLarge { .. }));
    assert_eq!(client.in_flight(), 0);
}

/// An actor for its own process only.
#[derive(Actor)]
#[actor(private)]
struct Hermit {
    /// The bytes that it received.
    kept: u32,
}

#[handlers]
impl Hermit {
    #[handler]
    fn double(&mut self, message: Double) -> u32 {
        self.kept += 1;
        message.n * 2
    }

    #[handler]
    fn seen(&mut self, _: conclib_tests::messages::Fill) -> ByteBuf {
        ByteBuf::from(vec![0; self.kept as usize])
    }

    #[handler]
    fn explode(&mut self, _: Explode) {
        panic!("on purpose");
    }
}

pub(crate) async fn private_actor_is_not_found(fixture: BusFixture) {
    let BusFixture { system, client, .. } = &fixture;
    let hermit = system.spawn(Hermit { kept: 0 }).urn("hermit").mailbox(1);
    let hermit = hermit.await.unwrap();
    let again = || async { Hermit { kept: 0 } };
    system.supervise(again).urn("heir").await.unwrap();
    let pool = conclib::pool::Pool::new(2, again);
    system.spawn(pool).urn("hermits").await.unwrap();
    for urn in ["hermit", "heir", "hermits", "hermits/1"] {
        // The same for an unknown message, and for one of the wrong form.
        let stranger = client.ask(urn, Stranger).await;
        let misfit = client.ask(urn, other::DoubleToText { n: 1 }).await;
        let large = other::Double {
            text: "x".repeat(100_000),
        };
        let large = client.ask(urn, large).await;
        let outcomes = [
            client.ask(urn, Double { n: 1 }).await.map(drop),
            stranger.map(drop),
            misfit.map(drop),
            large.map(drop),
        ];
        let not_found = || AskError::ActorNotFound {
            urn: urn.try_into().unwrap(),
        };
        assert_eq!(outcomes, std::array::from_fn(|_| Err(not_found())));
        client.tell(urn, Double { n: 1 }).await.unwrap();
        // Within the process it is found.
        assert_eq!(system.ask(urn, Double { n: 2 }).await, Ok(4));
    }
    let seen = hermit.ask(Fill { bytes: 0 }).await.unwrap();
    assert_eq!(seen.len(), 1);
    // Its failure is not visible either.
    assert!(hermit.ask(Explode).await.is_err());
    hermit.stopped().await;
    let within = system.ask("hermit", Double { n: 1 }).await;
    assert!(matches!(within, Err(AskError::ActorFailed { .. })));
    let outside = client.ask("hermit", Double { n: 1 }).await;
    assert!(matches!(outside, Err(AskError::ActorNotFound { .. })));
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

pub(crate) async fn response_is_too_large(fixture: BusFixture) {
    let (_system, client) = narrow(&fixture, 1000, 1_000_000).await;
    let fill = |bytes| client.ask("worker", Fill { bytes });
    assert_eq!(fill(900).await.map(|bytes| bytes.len()), Ok(900));
    match fill(1001).await {
        Err(AskError::BadResponse { reason }) => {
            assert!(reason.contains("the limit of 1000 bytes"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

pub(crate) async fn mailbox_is_full(fixture: BusFixture) {
    let (gate, watch) = GatedActor::closed();
    fixture.system.spawn(gate).mailbox(2).await.unwrap();
    let client = &fixture.client;
    let ask = |n| client.ask("gate", Enter { n });
    let first = tokio::spawn(ask(0));
    eventually("it is in its handler", async || watch.entered() == 1).await;
    let waiting: Vec<_> = (1..=2).map(|n| tokio::spawn(ask(n))).collect();
    eventually("both are sent", async || client.in_flight() == 3).await;
    match ask(3).await {
        Err(AskError::Overloaded { retry_after }) => {
            assert!(!retry_after.is_zero() && retry_after < Duration::from_secs(1));
        }
        other => panic!("{other:?}"),
    }
    // Other requests are answered meanwhile.
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
    watch.admit(3);
    assert_eq!(first.await.unwrap(), Ok(0));
    for (n, waited) in (1..).zip(waiting) {
        assert_eq!(waited.await.unwrap(), Ok(n));
    }
}

pub(crate) async fn handler_panics(fixture: BusFixture) {
    let client = &fixture.client;
    fixture
        .system
        .spawn(Worker::default())
        .urn("other")
        .await
        .unwrap();
    assert!(matches!(
        client.ask("other", Explode).await,
        Err(AskError::Failed { .. })
    ));
    eventually("its URN is free", async || {
        let asked = client.ask("other", Double { n: 1 }).await;
        matches!(asked, Err(AskError::ActorFailed { urn }) if urn == "other")
    })
    .await;
    lives_on(&fixture).await;
    fixture
        .system
        .spawn(Worker::default())
        .urn("other")
        .await
        .unwrap();
    assert_eq!(client.ask("other", Double { n: 2 }).await, Ok(4));
}

pub(crate) async fn handler_lets_the_reply_go(fixture: BusFixture) {
    let asked = fixture.client.ask("holder", Forget).await;
    assert_eq!(asked, Err(AskError::NoReply));
    lives_on(&fixture).await;
}

pub(crate) async fn actor_stops(fixture: BusFixture) {
    let client = &fixture.client;
    let (gate, watch) = GatedActor::closed();
    let actor = fixture.system.spawn(gate).await.unwrap();
    let running = tokio::spawn(client.ask("gate", Enter { n: 1 }));
    eventually("it is in its handler", async || watch.entered() == 1).await;
    let waiting = tokio::spawn(client.ask("gate", Enter { n: 2 }));
    eventually("both are sent", async || client.in_flight() == 2).await;
    // The answer to a later request proves that this one is in the mailbox.
    lives_on_with(&fixture).await;
    actor.stop();
    let late = client.ask("gate", Enter { n: 3 }).await;
    assert_eq!(late, Err(AskError::ActorStopped));
    actor.kill();
    assert_eq!(waiting.await.unwrap(), Err(AskError::ActorStopped));
    // Its handler had started: "not delivered" would be wrong.
    assert_eq!(running.await.unwrap(), Err(AskError::ActorStopped));
    // A kept reply is dropped with its actor.
    let held = tokio::spawn(client.ask("holder", Hold));
    eventually("it is sent", async || client.in_flight() == 1).await;
    lives_on_with(&fixture).await;
    let keeper = fixture
        .system
        .actor::<conclib_tests::actors::ReplyHolder>("holder");
    keeper.unwrap().stop();
    assert_eq!(held.await.unwrap(), Err(AskError::NoReply));
    lives_on(&fixture).await;
}

async fn lives_on_with(fixture: &BusFixture) {
    assert_eq!(fixture.client.ask("worker", Double { n: 1 }).await, Ok(2));
}
