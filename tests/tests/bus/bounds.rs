//! Many requests at once, and large ones.

use conclib::AskError;
use conclib::prelude::*;
use conclib_tests::actors::Worker;
use conclib_tests::bus::BusFixture;
use conclib_tests::messages::{Carry, Double, Fill, Hold};
use futures_util::future::join_all;
use serde_bytes::ByteBuf;

pub(crate) async fn ten_thousand_asks_at_once(fixture: BusFixture) {
    let client = &fixture.client;
    let answers = join_all((0..10_000).map(|n| client.ask("worker", Double { n }))).await;
    for (n, answer) in (0..).zip(answers) {
        assert_eq!(answer, Ok(n * 2));
    }
    assert_eq!(client.in_flight(), 0);
}

pub(crate) async fn ten_thousand_asks_and_a_small_mailbox(fixture: BusFixture) {
    let client = &fixture.client;
    let small = Worker::default();
    fixture
        .system
        .spawn(small)
        .urn("small")
        .mailbox(16)
        .await
        .unwrap();
    let answers = join_all((0..10_000).map(|n| client.ask("small", Double { n }))).await;
    let mut answered = 0;
    for (n, answer) in (0..).zip(answers) {
        match answer {
            Ok(double) => {
                assert_eq!(double, n * 2);
                answered += 1;
            }
            Err(AskError::Overloaded { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(answered >= 16, "{answered}");
    assert_eq!(client.in_flight(), 0);
}

pub(crate) async fn client_has_a_bound(fixture: BusFixture) {
    let client = &fixture.client;
    let mut asks: Vec<_> = (0..16_384)
        .map(|_| Box::pin(client.ask("holder", Hold)))
        .collect();
    for ask in &mut asks {
        assert!(futures_util::poll!(ask).is_pending());
    }
    assert_eq!(client.in_flight(), 16_384);
    match client.ask("worker", Double { n: 1 }).await {
        Err(AskError::Overloaded { retry_after }) => assert!(!retry_after.is_zero()),
        other => panic!("{other:?}"),
    }
    drop(asks);
    assert_eq!(client.in_flight(), 0);
    assert_eq!(client.ask("worker", Double { n: 1 }).await, Ok(2));
}

/// The gardener's type of a colour.
#[derive(Serialize, Deserialize, Debug)]
enum Colour {
    Green,
}

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
struct Paint {
    colour: Colour,
}

/// A peer's version of the message.
#[derive(ActorMessage, Serialize, Deserialize)]
#[message(name = "Paint")]
struct PaintInWords {
    colour: String,
}

pub(crate) async fn text_of_a_peer_does_not_come_back_whole(fixture: BusFixture) {
    fixture.system.spawn(Gardener).await.unwrap();
    let colour = "ä".repeat(500_000);
    match fixture
        .client
        .ask("gardener", PaintInWords { colour })
        .await
    {
        Err(AskError::BadRequest { reason }) => {
            assert!(reason.contains("unknown variant `ä"), "{}", reason.len());
            assert!(reason.len() < 2_000, "{}", reason.len());
        }
        other => panic!("{other:?}"),
    }
    let colour = "Green".to_owned();
    assert_eq!(
        fixture
            .client
            .ask("gardener", PaintInWords { colour })
            .await,
        Ok(())
    );
}

/// A tree of any depth.
#[derive(Serialize, Deserialize, Debug)]
struct Nested(Vec<Nested>);

#[derive(ActorMessage, Serialize, Deserialize, Debug)]
#[message(response = u32)]
struct Depth {
    tree: Nested,
}

#[derive(Actor)]
#[actor(urn = "gardener")]
struct Gardener;

#[handlers]
impl Gardener {
    #[handler]
    fn paint(
        &mut self,
        Paint {
            colour: Colour::Green,
        }: Paint,
    ) {
    }

    #[handler]
    fn depth(&mut self, message: Depth) -> u32 {
        let (mut depth, mut tree) = (0, &message.tree);
        while let Some(next) = tree.0.first() {
            (depth, tree) = (depth + 1, next);
        }
        depth
    }
}

pub(crate) async fn deep_nesting_does_no_harm(fixture: BusFixture) {
    let client = &fixture.client;
    fixture.system.spawn(Gardener).await.unwrap();
    let nested = |depth| {
        let tree = (0..depth).fold(Nested(Vec::new()), |tree, _| Nested(vec![tree]));
        Depth { tree }
    };
    assert_eq!(client.ask("gardener", nested(50)).await, Ok(50));
    match client.ask("gardener", nested(200)).await {
        Err(AskError::BadRequest { reason }) => assert!(reason.contains("depth"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.ask("gardener", nested(3)).await, Ok(3));
}

pub(crate) async fn large_requests_and_responses(fixture: BusFixture) {
    const BYTES: usize = 3 * 1024 * 1024;
    let client = &fixture.client;
    let carried = join_all((0..12).map(|n| {
        let bytes = ByteBuf::from(vec![n; BYTES]);
        client.ask("worker", Carry { bytes })
    }));
    let filled = join_all((0..6).map(|_| client.ask("worker", Fill { bytes: BYTES })));
    let (carried, filled) = tokio::join!(carried, filled);
    assert!(carried.into_iter().all(|bytes| bytes == Ok(BYTES)));
    assert!(
        filled
            .into_iter()
            .all(|bytes| bytes.is_ok_and(|bytes| bytes.len() == BYTES))
    );
}
