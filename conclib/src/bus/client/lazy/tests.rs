//! Lazy clients of a bus in memory that is cut.

use std::sync::Weak;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::*;
use crate::bus::ConnectionState;
use crate::bus::open::open_server;
use crate::bus::protocol::Received;
use crate::error::Delivered;
use crate::prelude::*;
use crate::test::Faults;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(ActorMessage, Serialize, Deserialize)]
#[message(response = u32)]
struct Count;

/// A client whose bus is cut, with its config and the first failed attempt behind it.
async fn cut_off() -> (ProxyClient, Config, Faults) {
    let faults = Faults::seeded(1);
    let config = Config::memory().faults(faults.clone());
    faults.cut();
    let client = ProxyClient::lazy(&config).unwrap();
    let mut state = client.connection_state();
    let is_cut = |state: &ConnectionState| *state == connecting("the bus is cut, on purpose");
    state.wait_for(is_cut).await.unwrap();
    (client, config, faults)
}

fn connecting(reason: &str) -> ConnectionState {
    let reason = reason.to_owned();
    ConnectionState::Connecting { reason }
}

async fn is_connected(client: &ProxyClient) {
    let mut state = client.connection_state();
    drop(state.wait_for(ConnectionState::is_connected).await.unwrap());
}

/// Waits until all tasks of a client have ended.
async fn has_ended(shared: Weak<ClientShared>) {
    let start = Instant::now();
    while shared.strong_count() > 0 {
        assert!(start.elapsed() < SECOND, "its tasks continue");
        sleep(SECOND / 1000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn plain_requests_are_refused_until_the_first_connection() {
    let (client, config, faults) = cut_off().await;
    for _ in 0..3 {
        let refused = client.ask("counter", Count).await.unwrap_err();
        let text = "the bus is unavailable: the bus is cut, on purpose";
        assert_eq!(refused.to_string(), text);
        assert_eq!(client.responder().await, Err(refused));
        sleep(2 * SECOND).await;
    }
    faults.calm();
    is_connected(&client).await;
    assert_eq!(
        client.ask("counter", Count).await,
        Err(AskError::NoResponder)
    );
    assert_eq!(client.responder().await, Err(AskError::NoResponder));
    let system = ActorSystem::new();
    start_proxy(&system, &config).await.unwrap();
    assert_eq!(client.responder().await, Ok(()));
    // The lease that the client knows is still the absent one.
    let asked = client.ask("counter", Count).await;
    assert!(
        matches!(asked, Err(AskError::ActorNotFound { .. })),
        "{asked:?}"
    );
    faults.cut();
    let refused = client.responder().await;
    assert!(matches!(refused, Err(AskError::Unavailable { .. })));
    client.shutdown().await;
    assert_eq!(client.state(), ConnectionState::Closed);
    assert_eq!(client.responder().await, Err(AskError::Closed));
}

#[tokio::test(start_paused = true)]
async fn durable_message_waits_and_has_its_deadline() {
    let (client, config, faults) = cut_off().await;
    let late = client.tell("counter", Count).durable().timeout(SECOND);
    let start = Instant::now();
    let delivered = Delivered::No;
    assert_eq!(late.await, Err(AskError::Timeout { delivered }));
    assert_eq!(start.elapsed(), SECOND);

    let told = client.tell("counter", Count).durable().timeout(HOUR);
    let told = tokio::spawn(told.into_future());
    sleep(60 * SECOND).await;
    assert!(!told.is_finished());
    faults.calm();
    assert_eq!(told.await.unwrap(), Ok(()));

    // Only this one was stored.
    let server = open_server(&config, &Arc::default()).await.unwrap();
    let consumer = server.consumer("").await.unwrap();
    consumer.create_group().await.unwrap();
    let entries = consumer.read(2, SECOND).await.unwrap();
    assert_eq!(entries.len(), 1);
    let request = Received::decode(&entries[0].frame).unwrap();
    let due = client
        .shared()
        .link
        .clock
        .to_bus(start + SECOND + HOUR)
        .unwrap();
    assert_eq!(request.deadline, due);
}

/// The due times of the messages on the bus, in the order in which they were stored.
async fn due_times(config: &Config) -> Vec<Option<ServerTime>> {
    let server = open_server(config, &Arc::default()).await.unwrap();
    let consumer = server.consumer("").await.unwrap();
    consumer.create_group().await.unwrap();
    let entries = consumer.read(10, SECOND).await.unwrap();
    entries.iter().map(|entry| entry.options.due).collect()
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_are_due_on_the_clock_of_the_bus() {
    let (client, config, faults) = cut_off().await;
    let (start, wall) = (Instant::now(), SystemTime::now());
    let tell = || client.tell("counter", Count).timeout(HOUR);
    let after = tokio::spawn(tell().after(HOUR).into_future());
    let at = tokio::spawn(tell().at(wall).into_future());
    let passed = tokio::spawn(tell().at(wall - HOUR).into_future());
    let far = tokio::spawn(tell().at(wall + 400 * 24 * HOUR).into_future());
    let too_long = tell().after(400 * 24 * HOUR).await;
    assert!(matches!(too_long, Err(AskError::BadRequest { .. })));
    // The clock of the bus begins now, and the paused one of this process has gone on since `start`: they
    // differ by a minute.
    sleep(60 * SECOND).await;
    faults.calm();
    assert_eq!(after.await.unwrap(), Ok(()));
    assert_eq!(at.await.unwrap(), Ok(()));
    assert_eq!(passed.await.unwrap(), Ok(()));
    let far = far.await.unwrap();
    assert!(matches!(far, Err(AskError::BadRequest { .. })), "{far:?}");

    let in_an_hour = client.shared().link.clock.to_bus(start + HOUR).unwrap();
    let wall = wall.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let wall = ServerTime(u64::try_from(wall).unwrap());
    assert!(
        in_an_hour.0.abs_diff(wall.0 + 3_600_000) > 30_000,
        "equal clocks"
    );
    let expected = [Some(in_an_hour), Some(wall), None];
    assert_eq!(due_times(&config).await, expected);
    assert_eq!(client.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn attempts_end_with_the_client() {
    let (client, _, _) = cut_off().await;
    let shared = Arc::downgrade(client.shared());
    client.shutdown().await;
    let refused = client.tell("counter", Count).await;
    assert_eq!(refused, Err(AskError::Closed));
    drop(client);
    has_ended(shared).await;

    let (client, _, _) = cut_off().await;
    let told = tokio::spawn(client.tell("counter", Count).durable().into_future());
    sleep(SECOND).await;
    let shared = Arc::downgrade(client.shared());
    client.shutdown().await;
    drop(client);
    assert_eq!(told.await.unwrap(), Err(AskError::Closed));
    has_ended(shared).await;

    let (client, _, _) = cut_off().await;
    let shared = Arc::downgrade(client.shared());
    drop(client);
    has_ended(shared).await;
}

#[tokio::test]
async fn wrong_setting_is_an_error_at_once() {
    let error = ProxyClient::lazy(&Config::memory().namespace("no name")).unwrap_err();
    assert!(matches!(error, ConnectError::Config(_)), "{error}");
}
