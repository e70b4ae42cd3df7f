//! Messages by their names alone, and pings.

use std::collections::BTreeMap;

use conclib::AskError;
use conclib::error::Delivered;
use conclib_tests::MS;
use conclib_tests::actors::GatedActor;
use conclib_tests::bus::BusFixture;
use conclib_tests::durable::{Order, open_shop};
use conclib_tests::messages::{Declined, Enter};
use conclib_tests::{Log, eventually};

fn message(n: u32) -> BTreeMap<&'static str, u32> {
    BTreeMap::from([("n", n)])
}

pub(crate) async fn message_is_known_by_its_name(bus: BusFixture) {
    let doubled = bus.client.ask_named("worker", "Double", &message(21)).await;
    assert_eq!(doubled, Ok(42));
    let told = bus.client.tell_named("worker", "Record", &message(7)).await;
    assert_eq!(told, Ok(()));
    // A message without fields is nothing.
    let recorded = bus.client.ask_named("worker", "Recorded", &()).await;
    assert_eq!(recorded, Ok(vec![7]));
    let declined = BTreeMap::from([("cents", 130)]);
    let declined = bus.client.ask_named("worker", "Withdraw", &declined).await;
    let missing = Declined { missing: 30 };
    assert_eq!(declined, Ok(Err::<u64, _>(missing)));
}

pub(crate) async fn wrong_names_and_shapes_are_told(bus: BusFixture) {
    let ask = |name, n| bus.client.ask_named::<u32>("worker", name, &message(n));
    let unhandled = ask("Triple", 1).await;
    let expected = AskError::Unhandled {
        urn: "worker".parse().unwrap(),
        message: "Triple".to_owned(),
    };
    assert_eq!(unhandled, Err(expected));
    let shape = bus.client.ask_named::<u32>("worker", "Double", &"21").await;
    assert!(
        matches!(shape, Err(AskError::BadRequest { .. })),
        "{shape:?}"
    );
    let response = bus
        .client
        .ask_named::<bool>("worker", "Double", &message(1));
    let AskError::BadResponse { reason } = response.await.unwrap_err() else {
        panic!("another error");
    };
    assert!(reason.contains("`worker` to `Double`"), "{reason}");
    // No name is a name that no actor has a handler for.
    let unnamed = ask("", 1).await;
    assert!(
        matches!(unnamed, Err(AskError::Unhandled { .. })),
        "{unnamed:?}"
    );
    let long = ask(&"x".repeat(100_000), 1).await;
    assert!(long.is_err_and(|error| error.delivered() == Delivered::No));
}

pub(crate) async fn durable_message_by_its_name_is_handled_once(bus: BusFixture) {
    let log = Log::default();
    open_shop(&bus.system, "shop", &log).await;
    for _ in 0..2 {
        let order = bus.client.ask_named("shop", "Order", &message(5));
        assert_eq!(order.idempotency_key("order-5").await, Ok(5));
    }
    // The type sends the same bytes: it is the same message.
    let order = bus.client.ask("shop", Order { n: 5 });
    assert_eq!(order.idempotency_key("order-5").await, Ok(5));
    assert_eq!(log.entries(), ["5"]);
}

pub(crate) async fn ping_is_answered_before_any_handler(bus: BusFixture) {
    assert_eq!(bus.client.ping("worker").await, Ok(()));
    // Its handler would refuse the message.
    assert_eq!(bus.client.ping("raw").await, Ok(()));
    let missing = bus.client.ping("missing").await;
    assert!(matches!(missing, Err(AskError::ActorNotFound { .. })));
}

pub(crate) async fn ping_waits_for_its_turn(bus: BusFixture) {
    let (gate, control) = GatedActor::closed();
    bus.system.spawn(gate).await.unwrap();
    let client = bus.client.clone();
    let entered = tokio::spawn(async move { client.ask("gate", Enter { n: 3 }).await });
    eventually("the handler runs", async || control.entered() == 1).await;
    let early = bus.client.ping("gate").timeout(100 * MS).await;
    assert_eq!(
        early,
        Err(AskError::Timeout {
            delivered: Delivered::Accepted
        })
    );
    control.admit(1);
    assert_eq!(bus.client.ping("gate").await, Ok(()));
    assert_eq!(entered.await.unwrap(), Ok(3));
}
